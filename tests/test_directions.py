"""Directions: planted ones are found, absent ones are not, and the algebra holds."""

import numpy as np
import pytest
import torch

import entangle_lens as el
from entangle_lens.directions import (
    disentangled,
    fit_difference_of_means,
    random_units,
    removed_variance,
    unit,
    validate,
)


@pytest.fixture
def planted():
    """Pairs at three layers; a direction is planted at layer 1 only."""
    generator = torch.Generator().manual_seed(0)
    truth = unit(torch.randn(32, generator=generator))

    def draw(n):
        positive, negative = torch.randn(2, n, 3, 32, generator=generator)
        positive[:, 1] += 3 * truth
        return positive, negative

    return truth, draw


def fitted(draw):
    return validate(fit_difference_of_means("moral", "grammar", (4, 5, 6), *draw(60)), *draw(60))


def test_planted_direction_is_found_and_an_absent_one_is_not(planted):
    truth, draw = planted
    found = fitted(draw)
    cosine = unit(found.vectors) @ truth
    assert cosine[1] > 0.9
    assert cosine[[0, 2]].abs().max() < 0.6
    assert found.auc[1] > 0.95
    assert (found.auc[[0, 2]] < 0.75).all()
    assert found.split_half_cosine[1] > 0.8
    assert (found.split_half_cosine[[0, 2]] < 0.5).all()


def test_difference_of_means_is_summed_in_float64():
    """Around a large common offset, float32 sums lose what float64 sums keep."""
    generator = torch.Generator().manual_seed(0)
    n = 4000
    positive = 4096 + torch.randn(n, 1, 8, generator=generator)
    negative = 4096 + torch.randn(n, 1, 8, generator=generator)
    exact = torch.tensor(
        positive.numpy().astype(np.longdouble).mean(0).astype(float)
        - negative.numpy().astype(np.longdouble).mean(0).astype(float)
    )
    found = fit_difference_of_means("moral", "moral", (0,), positive, negative).vectors
    assert found.dtype == torch.float64
    assert (found - exact).abs().max() < 1e-9
    assert ((positive.sum(0) / n - negative.sum(0) / n) - exact).abs().max() > 1e-7


def test_projection_is_centred_and_in_residual_units(planted):
    _, draw = planted
    direction = fitted(draw).at(5)
    along = direction.project(direction.mean + 2.5 * direction.unit)
    assert float(along) == pytest.approx(2.5)
    assert float(direction.project(direction.mean)) == pytest.approx(0)
    assert float(direction.unit.norm()) == pytest.approx(1)


def test_layer_that_was_not_fitted_is_refused(planted):
    with pytest.raises(el.EntangleError, match=r"layer 0; the fitted layers are \(4, 5, 6\)"):
        fitted(planted[1]).at(0)


def test_disentangled_direction_is_orthogonal_to_the_others(planted):
    generator = torch.Generator().manual_seed(1)
    vector, others = torch.randn(32, generator=generator), torch.randn(2, 32, generator=generator)
    apart = disentangled(vector, others)
    assert (others.double() @ apart).abs().max() < 1e-10
    assert (others.double() @ vector.double()).abs().max() > 0.1
    assert disentangled(others[0] + others[1], others).norm() < 1e-6


def test_random_directions_remove_as_much_variance_as_the_matched_one():
    generator = torch.Generator().manual_seed(2)
    resid = torch.randn(300, 32, generator=generator) * torch.logspace(0, 1.5, 32)
    matched = torch.zeros(32)
    matched[16] = 1.0
    units = random_units(resid, matched, 100, np.random.default_rng(0))
    ratio = removed_variance(resid, units) / removed_variance(resid, unit(matched)[None])
    assert units.shape == (100, 32)
    assert 0.5 < ratio.median() < 2
    torch.testing.assert_close(units.norm(dim=-1), torch.ones(100, dtype=torch.float64))
    assert (units @ unit(matched)).abs().max() < 1e-10
    assert (units @ units.T - torch.eye(100)).abs().max() < 1 - 1e-6
    careless = unit(torch.randn(100, 32, generator=generator) * torch.logspace(0, 1.5, 32) ** 2)
    worse = removed_variance(resid, careless) / removed_variance(resid, unit(matched)[None])
    assert (worse.log().abs().median()) > ratio.log().abs().median()


def test_random_directions_are_the_same_for_the_same_seed():
    resid = torch.randn(50, 8, generator=torch.Generator().manual_seed(3))
    one, two, other = (
        random_units(resid, torch.ones(8), 5, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert one.equal(two)
    assert not one.equal(other)
