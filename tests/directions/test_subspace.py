"""Subspaces: two planted axes need two, removal removes, and noise has none."""

import numpy as np
import pytest
import torch

from entangle_lens.directions import (
    SUBSPACE_METHODS,
    ContrastResid,
    fit_direction,
    fit_subspace,
    unit,
)
from entangle_lens.errors import EntangleError


def fitted(fit, select, k, method="class means", n_resamples=0):
    return fit_subspace(
        fit, select, k, method, rng=np.random.default_rng(0), n_resamples=n_resamples
    )


@pytest.fixture
def two_axes(world):
    """The value lies along one axis in the first context and along another in the second."""
    truth = torch.zeros(2, 16)
    truth[0, 0], truth[1, 1] = 4.0, 3.0
    draws = world(truth)
    return draws.pairs(100, 2), draws.pairs(100, 2)


def removed(subspace, contrast, context):
    """Return one context of ``contrast`` with the subspace taken away."""
    return ContrastResid(
        contrast.value,
        contrast.question,
        contrast.layer,
        subspace.remove(contrast.positive[context : context + 1]),
        subspace.remove(contrast.negative[context : context + 1]),
        contrast.scenario_ids,
    )


def left_over(subspace, fit, select, context):
    """Return the held-out AUC of a fresh direction where the subspace was taken away."""
    return fit_direction(
        "difference of means",
        removed(subspace, fit, context),
        removed(subspace, select, context),
        rng=np.random.default_rng(0),
        n_resamples=0,
    ).quality.auc


def test_two_planted_axes_need_two(two_axes):
    one, two = fitted(*two_axes, 1), fitted(*two_axes, 2)
    inside = torch.eye(16)[:2].double()
    assert (two.basis @ inside.T).square().sum() / 2 > 0.95
    assert abs(one.basis[0, 0]) > 0.9
    assert left_over(one, *two_axes, 1) > 0.9
    assert max(left_over(two, *two_axes, context) for context in (0, 1)) < 0.65
    assert two.quality.auc > 0.85
    assert two.quality.split_half_cosine > 0.85
    assert fitted(*two_axes, 2, n_resamples=20).quality.cone_degrees < 25


@pytest.mark.parametrize("method", SUBSPACE_METHODS)
def test_subspace_of_noise_is_not_found_again(method, world):
    draws = world(torch.zeros(16))
    found = fitted(draws.pairs(100, 2), draws.pairs(100, 2), 2, method, n_resamples=20)
    assert found.quality.auc == pytest.approx(0.5, abs=0.12)
    assert found.quality.split_half_cosine < 0.5
    assert found.quality.cone_degrees > 30


@pytest.mark.parametrize("method", SUBSPACE_METHODS)
def test_removal_leaves_no_projection_and_is_idempotent(method, two_axes):
    fit, select = two_axes
    found = fitted(fit, select, 2, method)
    resid = select.positive.double()
    once = found.remove(resid)
    assert (once @ found.basis.T).abs().max() < 1e-12
    assert (resid @ found.basis.T).abs().max() > 1
    torch.testing.assert_close(found.remove(once), once)
    torch.testing.assert_close(found.basis @ found.basis.T, torch.eye(2).double())
    outside = torch.linalg.svd(found.basis).Vh[2:]
    torch.testing.assert_close(once @ outside.T, resid @ outside.T)
    assert found.remove(select.positive.bfloat16()).dtype == torch.bfloat16


def test_projection_is_centred_and_axes_point_to_the_positive_pole(two_axes):
    fit, select = two_axes
    found = fitted(fit, select, 2)
    torch.testing.assert_close(found.project(found.mean), torch.zeros(2).double())
    torch.testing.assert_close(
        found.project(found.mean + 2 * found.basis[0] - found.basis[1]),
        torch.tensor([2.0, -1.0]).double(),
    )
    gap = found.project(fit.positive).mean((0, 1)) - found.project(fit.negative).mean((0, 1))
    assert (gap > 0).all()


def test_directions_of_a_subspace_are_its_axes(two_axes):
    found = fitted(*two_axes, 2)
    first, second = found.directions
    assert torch.stack([first.vector, second.vector]).equal(found.basis)
    assert (first.method, second.layer) == ("class means, axis 1 of 2", 3)
    assert np.isnan(second.quality.auc)


def test_explained_is_the_share_of_the_squared_differences(two_axes):
    fit, select = two_axes
    for method, by_hand in (
        ("class means", (fit.positive - fit.negative).double().mean(1)),
        ("pair differences", (fit.positive - fit.negative).double().reshape(-1, 16)),
    ):
        found = fitted(fit, select, 2, method)
        shares = [
            float((by_hand @ axis).square().sum() / by_hand.square().sum()) for axis in found.basis
        ]
        np.testing.assert_allclose(found.explained, shares)
        assert shares[0] >= shares[1]
    assert fitted(fit, select, 2).explained.sum() == pytest.approx(1)


def test_first_axis_of_the_pair_differences_is_their_pca_direction(two_axes):
    direction = fit_direction(
        "PCA of pair differences", *two_axes, rng=np.random.default_rng(0), n_resamples=0
    )
    torch.testing.assert_close(
        fitted(*two_axes, 3, "pair differences").basis[0], unit(direction.vector)
    )


def test_axes_beyond_the_rank_and_unknown_methods_are_refused(two_axes):
    for k in (0, 3):
        with pytest.raises(EntangleError, match=f"{k} axes .* rank 2; k must be from 1 to 2"):
            fitted(*two_axes, k)
    with pytest.raises(EntangleError, match="'means' is not known; choose one of: class means, "):
        fitted(*two_axes, 1, "means")
