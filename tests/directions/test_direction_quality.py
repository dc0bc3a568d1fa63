"""The quality of a fit against slow, obvious loops, and what selectivity tells apart."""

import dataclasses

import numpy as np
import pytest
import torch

from entangle_lens.directions import fit_direction, fit_subspace, unit


@pytest.fixture
def drawn(world):
    """Twelve scenarios of two pairs each, in two wordings; and held-out pairs."""
    draws = world(2.0)
    fit = draws.pairs(24, 2)
    names = tuple(f"scenario {number // 2}" for number in range(24))
    return dataclasses.replace(fit, scenario_ids=names), draws.pairs(15, 2)


def mean_difference(contrast, pairs):
    """Take the difference of class means of some pairs, one residual at a time."""
    total = torch.zeros(contrast.positive.shape[-1]).double()
    for context in range(len(contrast.positive)):
        for pair in pairs:
            total += contrast.positive[context, pair].double()
            total -= contrast.negative[context, pair].double()
    return unit(total)


def test_held_out_measures_are_counted_over_all_prompts(drawn):
    fit, select = drawn
    found = fit_direction("difference of means", fit, select, rng=np.random.default_rng(0))
    high = [float(found.project(row)) for row in select.positive.reshape(-1, 16)]
    low = [float(found.project(row)) for row in select.negative.reshape(-1, 16)]
    wins = sum((a > b) + (a == b) / 2 for a in high for b in low) / (len(high) * len(low))
    pooled = np.sqrt((np.var(high, ddof=1) + np.var(low, ddof=1)) / 2)
    right = (sum(a > 0 for a in high) + sum(b < 0 for b in low)) / (len(high) + len(low))
    assert found.quality.auc == pytest.approx(wins)
    assert found.quality.d_prime == pytest.approx((np.mean(high) - np.mean(low)) / pooled)
    assert found.quality.accuracy == pytest.approx(right)
    assert 0.5 < right < 1


def test_split_halves_are_scenarios_and_not_pairs(drawn):
    fit, select = drawn
    found = fit_direction("difference of means", fit, select, rng=np.random.default_rng(0))
    odd = [pair for pair in range(24) if (pair // 2) % 2 == 0]
    even = [pair for pair in range(24) if (pair // 2) % 2 == 1]
    cosine = mean_difference(fit, odd) @ mean_difference(fit, even)
    by_pair = mean_difference(fit, range(0, 24, 2)) @ mean_difference(fit, range(1, 24, 2))
    assert found.quality.split_half_cosine == pytest.approx(float(cosine))
    assert abs(float(cosine - by_pair)) > 1e-3


def test_cone_holds_95_percent_of_refits_on_resampled_scenarios(drawn):
    fit, select = drawn
    found = fit_direction(
        "difference of means", fit, select, rng=np.random.default_rng(7), n_resamples=50
    )
    rng, angles = np.random.default_rng(7), []
    for _ in range(50):
        pairs = [2 * one + k for one in rng.integers(12, size=12) for k in (0, 1)]
        cosine = float(mean_difference(fit, range(24)) @ mean_difference(fit, pairs))
        angles.append(np.degrees(np.arccos(cosine)))
    assert found.quality.cone_degrees == pytest.approx(np.quantile(angles, 0.95))


def test_cone_narrows_with_scenarios_and_is_nan_when_skipped(world):
    draws = world(2.0)
    select = draws.pairs(10)
    few, many = (
        fit_direction("difference of means", draws.pairs(n), select, rng=np.random.default_rng(0))
        for n in (10, 160)
    )
    assert many.quality.cone_degrees < few.quality.cone_degrees / 2
    skipped = fit_direction(
        "whitened", draws.pairs(10), select, rng=np.random.default_rng(0), n_resamples=0
    )
    assert np.isnan(skipped.quality.cone_degrees)
    assert np.isfinite(skipped.quality.selectivity)


@pytest.mark.parametrize("n_contexts", [1, 4])
def test_selectivity_tells_a_value_from_what_can_be_learnt_by_heart(n_contexts, world):
    """Many pairs in few dimensions cannot be learnt by heart; few pairs in many can."""
    narrow, wide = world(3.0, width=8), world(3.0, width=256)
    hard, easy = (
        fit_direction(
            "difference of means",
            draws.pairs(n_pairs, n_contexts),
            draws.pairs(50, n_contexts),
            rng=np.random.default_rng(0),
            n_resamples=0,
        ).quality
        for draws, n_pairs in ((narrow, 200), (wide, 8))
    )
    assert hard.selectivity > 0.3
    assert easy.selectivity < hard.selectivity - 0.15


def test_selectivity_is_accuracy_less_that_of_random_labels(drawn):
    """Against dealing the poles by hand: taught in the first wording, asked in the second."""
    fit, select = drawn
    found = fit_direction(
        "difference of means", fit, select, rng=np.random.default_rng(5), n_resamples=0
    )
    rng, shares = np.random.default_rng(5), []
    for _ in range(10):
        swap = rng.random(24) < 0.5
        poles = {False: fit.positive.double(), True: fit.negative.double()}
        high = torch.stack([poles[bool(s)][:, i] for i, s in enumerate(swap)])
        low = torch.stack([poles[not s][:, i] for i, s in enumerate(swap)])
        along = high[:, 0].mean(0) - low[:, 0].mean(0)
        middle = (high[:, 0].mean(0) + low[:, 0].mean(0)) / 2
        right = [*((high[:, 1] - middle) @ along > 0), *((low[:, 1] - middle) @ along < 0)]
        shares.append(sum(map(float, right)) / len(right))
    assert found.quality.selectivity == pytest.approx(found.quality.accuracy - np.mean(shares))


def test_quality_is_the_same_for_the_same_seed(drawn):
    one, two, other = (
        fit_direction("whitened", *drawn, rng=np.random.default_rng(seed), n_resamples=20)
        for seed in (0, 0, 1)
    )
    assert one.quality == two.quality
    assert one.quality != other.quality
    assert one.vector.equal(other.vector)


def test_subspace_halves_are_compared_by_their_principal_angles(drawn):
    fit, select = drawn
    found = fit_subspace(fit, select, 2, rng=np.random.default_rng(0), n_resamples=0)
    spans = []
    for side in (0, 1):
        pairs = [pair for pair in range(24) if (pair // 2) % 2 == side]
        difference = (fit.positive - fit.negative)[:, pairs].double().mean(1)
        spans.append(np.linalg.qr(difference.numpy().T)[0])
    cosines = np.linalg.svd(spans[0].T @ spans[1], compute_uv=False)
    assert found.quality.split_half_cosine == pytest.approx((cosines**2).mean())
