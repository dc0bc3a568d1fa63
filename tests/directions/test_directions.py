"""Directions: planted ones are found, absent ones are not, and the algebra holds."""

import dataclasses

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

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


def test_shuffled_labels_give_no_direction(planted):
    """The null: the same prompts with the poles dealt at random tell nothing apart."""
    _, draw = planted
    swap = torch.rand(60, 1, 1, generator=torch.Generator().manual_seed(1)) < 0.5

    def dealt(positive, negative):
        return torch.where(swap, negative, positive), torch.where(swap, positive, negative)

    found = validate(
        fit_difference_of_means("moral", "moral", (4, 5, 6), *dealt(*draw(60))), *dealt(*draw(60))
    )
    assert np.abs(found.auc - 0.5).max() < 0.2
    assert np.abs(found.d_prime).max() < 0.8
    assert fitted(draw).d_prime[1] > 2


def test_fit_is_the_difference_and_the_middle_of_the_class_means(planted):
    positive, negative = planted[1](30)
    found = fit_difference_of_means("moral", "moral", (4, 5, 6), positive, negative)
    high, low = positive.numpy().astype(float), negative.numpy().astype(float)
    np.testing.assert_allclose(found.vectors, high.mean(0) - low.mean(0), atol=1e-12)
    np.testing.assert_allclose(found.means, (high.mean(0) + low.mean(0)) / 2, atol=1e-12)
    odd = (high[0::2] - low[0::2]).mean(0)
    even = (high[1::2] - low[1::2]).mean(0)
    for layer, cosine in enumerate(found.split_half_cosine):
        length = np.linalg.norm(odd[layer]) * np.linalg.norm(even[layer])
        assert cosine == pytest.approx(odd[layer] @ even[layer] / length)


def test_quality_is_counted_on_the_held_out_prompts(planted):
    """AUC and d' against counting every pair of projections."""
    _, draw = planted
    found = fit_difference_of_means("moral", "moral", (4, 5, 6), *draw(30))
    positive, negative = draw(25)
    judged = validate(found, positive, negative)
    for row, layer in enumerate(found.layers):
        direction = judged.at(layer)
        high, low = direction.project(positive[:, row]), direction.project(negative[:, row])
        wins = sum(float(a > b) for a in high for b in low) / (25 * 25)
        pooled = ((high.var() + low.var()) / 2).sqrt()
        assert direction.quality.auc == pytest.approx(wins)
        assert direction.quality.d_prime == pytest.approx(
            float((high.mean() - low.mean()) / pooled)
        )
    assert np.isnan(found.auc).all()
    assert judged.vectors.equal(found.vectors)


def test_all_layers_project_as_each_layer_does(planted):
    _, draw = planted
    found = fitted(draw)
    resid, _ = draw(7)
    for row, layer in enumerate(found.layers):
        one = found.at(layer).project(resid[:, row]).numpy()
        np.testing.assert_allclose(found.project(resid)[row], one, atol=1e-12)
    assert found.at(5).layer == 5
    assert found.at(5, {"model": "tiny"}).provenance == {"model": "tiny"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.at(5).layer = 6


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


def test_disentangled_direction_and_what_was_removed_make_up_the_whole():
    generator = torch.Generator().manual_seed(4)
    vector, others = torch.randn(16, generator=generator), torch.randn(2, 16, generator=generator)
    apart = disentangled(vector, others)
    removed = vector.double() - apart
    weights = torch.linalg.lstsq(others.double().T, removed).solution
    torch.testing.assert_close(others.double().T @ weights, removed)
    torch.testing.assert_close(disentangled(apart, others), apart)
    assert removed.norm() > 0.1


@pytest.mark.parametrize("second", [1.0, -2.5, 0.0])
def test_disentangled_direction_loses_nothing_to_an_other_that_adds_nothing(second):
    """Two others on one line, or one of no length, span what the first one spans."""
    generator = torch.Generator().manual_seed(5)
    vector, other = torch.randn(2, 16, generator=generator)
    from_one = disentangled(vector, other[None])
    from_two = disentangled(vector, torch.stack([other, second * other]))
    torch.testing.assert_close(from_two, from_one)


@pytest.mark.parametrize("shape", [(6, 3, 32), (5, 2, 32), (5, 3, 31)])
def test_poles_of_unlike_shape_are_refused(shape):
    with pytest.raises(TypeCheckError):
        fit_difference_of_means("moral", "moral", range(3), torch.ones(5, 3, 32), torch.ones(shape))


@pytest.mark.parametrize("n_layers", [2, 4])
def test_layers_that_are_not_those_of_the_residuals_are_refused(n_layers):
    resid = torch.ones(5, 3, 32)
    with pytest.raises(el.EntangleError, match=f"3 layers were given for {n_layers} layers"):
        fit_difference_of_means("moral", "moral", range(n_layers), resid, resid)


def test_residuals_of_another_width_are_refused(planted):
    found = fitted(planted[1])
    with pytest.raises(RuntimeError, match="31"):
        found.project(torch.zeros(4, 3, 31))
    with pytest.raises(TypeCheckError):
        random_units(torch.zeros(9, 8), torch.ones(7), 3, np.random.default_rng(0))


@pytest.mark.parametrize("axis", [8, 16, 24])
def test_random_directions_match_a_small_and_a_large_variance(axis):
    """The control: directions drawn alike on all sides miss both."""
    generator = torch.Generator().manual_seed(2)
    resid = torch.randn(300, 32, generator=generator) * torch.logspace(0, 1.5, 32)
    matched = torch.eye(32)[axis]
    target = removed_variance(resid, matched[None])
    ratio = (
        removed_variance(resid, random_units(resid, matched, 50, np.random.default_rng(0))) / target
    )
    assert ratio.log().abs().max() < 0.1
    anyhow = removed_variance(resid, torch.randn(50, 32, generator=generator)) / target
    assert anyhow.log().abs().max() > 0.5


def test_random_directions_match_with_fewer_prompts_than_dimensions():
    generator = torch.Generator().manual_seed(7)
    resid = torch.randn(20, 64, generator=generator) * torch.logspace(0, 1, 64)
    matched = resid[0] - resid.mean(0)
    units = random_units(resid, matched, 10, np.random.default_rng(0))
    assert torch.isfinite(units).all()
    torch.testing.assert_close(units.norm(dim=-1), torch.ones(10, dtype=torch.float64))
    assert (units @ unit(matched)).abs().max() < 1e-10


def test_random_directions_differ_from_one_another():
    """Also where the matched one outweighs all else: a hundred of one direction are one control."""
    generator = torch.Generator().manual_seed(2)
    matched = unit(torch.randn(64, generator=generator))
    label = torch.arange(300)[:, None] % 2 * 2 - 1
    resid = torch.randn(300, 64, generator=generator) * torch.logspace(0, -1, 64)
    for strength in (0.0, 8.0):
        units = random_units(
            resid + strength * label * matched, matched, 100, np.random.default_rng(0)
        )
        assert (units @ units.T - torch.eye(100)).abs().mean() < 0.4


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
