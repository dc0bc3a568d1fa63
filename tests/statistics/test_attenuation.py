"""Reliabilities against their definition in simulation, and corrections that undo the noise."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import pearsonr

import entangle_lens as el
from entangle_lens.statistics import (
    disattenuated_correlation,
    mean_rating_reliability,
    split_half_reliability,
)


def panel(rng, n_items, n_raters, noise, truth=None):
    """Draw true scores and the mean and standard error of noisy ratings of them."""
    truth = rng.standard_normal(n_items) if truth is None else truth
    ratings = truth + noise * rng.standard_normal((n_raters, n_items))
    return truth, ratings.mean(0), ratings.std(0, ddof=1) / np.sqrt(n_raters)


def test_correction_is_the_formula():
    assert disattenuated_correlation(0.3, 0.5, 0.8) == pytest.approx(0.3 / np.sqrt(0.4))
    assert disattenuated_correlation(-0.3, 0.5) == pytest.approx(-0.3 / np.sqrt(0.5))
    assert disattenuated_correlation(0.3) == 0.3


def test_corrected_value_beyond_one_is_returned_as_it_is():
    assert disattenuated_correlation(0.9, 0.5, 0.5) == pytest.approx(1.8)


@pytest.mark.parametrize("reliability", [0.0, -0.2, 1.01, float("nan")])
def test_reliability_outside_zero_to_one_is_an_error(reliability):
    with pytest.raises(el.EntangleError, match=r"reliability of x .* above 0 and at most 1"):
        disattenuated_correlation(0.3, reliability)
    with pytest.raises(el.EntangleError, match="reliability of y"):
        disattenuated_correlation(0.3, 0.5, reliability)


def test_reliability_of_means_is_the_squared_correlation_with_the_truth(rng):
    truth, means, errors = panel(rng, 4000, 5, noise=2.0)
    found = mean_rating_reliability(means, errors)
    assert found == pytest.approx(pearsonr(truth, means).statistic ** 2, abs=0.02)
    assert found == pytest.approx(1 / (1 + 4 / 5), abs=0.02)
    assert found == pytest.approx(1 - np.mean(errors**2) / np.var(means, ddof=1))


def test_correction_recovers_the_correlation_of_the_truths():
    rng = np.random.default_rng(61)
    u, v = rng.standard_normal((2, 4000))
    _, x, x_error = panel(rng, 4000, 4, 2.0, truth=u)
    _, y, y_error = panel(rng, 4000, 6, 1.5, truth=0.6 * u + 0.8 * v)
    plain = pearsonr(x, y).statistic
    corrected = disattenuated_correlation(
        plain, mean_rating_reliability(x, x_error), mean_rating_reliability(y, y_error)
    )
    assert plain < 0.42
    assert corrected == pytest.approx(0.6, abs=0.04)


def test_noiseless_ratings_are_fully_reliable_and_pure_noise_is_not(rng):
    assert mean_rating_reliability(rng.standard_normal(68), np.zeros(68)) == 1
    _, means, errors = panel(rng, 4000, 5, 1.0, truth=np.zeros(4000))
    assert mean_rating_reliability(means, errors) == pytest.approx(0, abs=0.05)
    assert mean_rating_reliability(rng.standard_normal(68), np.full(68, 3.0)) < 0


def test_means_without_reliability_are_errors(rng):
    means, errors = rng.standard_normal(10), np.ones(10)
    with pytest.raises(el.EntangleError, match=r"mean ratings are all the same"):
        mean_rating_reliability(np.ones(10), errors)
    with pytest.raises(el.EntangleError, match="for at least two items"):
        mean_rating_reliability(means[:1], errors[:1])
    errors[4] = np.nan
    with pytest.raises(el.EntangleError, match=r"item 5 has mean .* and standard error nan"):
        mean_rating_reliability(means, errors)
    errors[4], errors[2] = 1, -1
    with pytest.raises(el.EntangleError, match=r"item 3 has .* standard error -1"):
        mean_rating_reliability(means, errors)


def prompts(rng, n_prompts, n_items, noise):
    return rng.standard_normal(n_items) + noise * rng.standard_normal((n_prompts, n_items))


def test_two_prompts_have_one_split(rng):
    ratings = prompts(rng, 2, 68, 1.0)
    r = pearsonr(*ratings).statistic
    assert split_half_reliability(ratings, rng) == pytest.approx(2 * r / (1 + r))


def test_random_splits_come_to_the_mean_of_all_splits(rng):
    """Six prompts have ten splits: list them all."""
    ratings = prompts(rng, 6, 40, 2.0)
    every = [
        pearsonr(
            ratings[list(half)].mean(0), ratings[[k for k in range(6) if k not in half]].mean(0)
        )
        for half in combinations(range(6), 3)
    ]
    r = np.mean([each.statistic for each in every])
    found = split_half_reliability(ratings, rng, n_splits=4000)
    assert found == pytest.approx(2 * r / (1 + r), abs=0.01)


@pytest.mark.parametrize("n_prompts", [2, 3, 5, 8])
def test_stepped_up_reliability_is_that_of_the_mean_of_all_prompts(n_prompts):
    """Controls: one prompt alone and half the prompts are less reliable."""
    rng = np.random.default_rng(62)
    ratings = prompts(rng, n_prompts, 6000, 1.5)
    found = split_half_reliability(ratings, rng, n_splits=50)
    assert found == pytest.approx(n_prompts / (n_prompts + 1.5**2), abs=0.02)
    assert found > 1 / (1 + 1.5**2) + 0.1


def test_prompts_that_disagree_have_no_reliability(rng):
    ratings = rng.standard_normal((6, 2000))
    assert split_half_reliability(ratings, rng) == pytest.approx(0, abs=0.1)
    assert split_half_reliability(np.stack([ratings[0], -ratings[0] + ratings[1]]), rng) < 0


def test_split_halves_are_the_same_for_the_same_seed(rng):
    ratings = prompts(rng, 7, 68, 1.0)
    one, two, other = (
        split_half_reliability(ratings, np.random.default_rng(seed), 20) for seed in (0, 0, 1)
    )
    assert one == two != other


def test_one_prompt_missing_and_constant_ratings_have_no_split_half(rng):
    ratings = prompts(rng, 4, 20, 1.0)
    with pytest.raises(el.EntangleError, match="1 prompt was given"):
        split_half_reliability(ratings[:1], rng)
    assert np.isnan(split_half_reliability(np.ones((4, 20)), rng))
    ratings[2, 7] = np.nan
    with pytest.raises(el.EntangleError, match="item 8 under prompt 3 is missing"):
        split_half_reliability(ratings, rng)
