"""AUC and d': against counting pairs, and at their ends."""

import numpy as np
import pytest

from entangle_lens.statistics import auc, d_prime


def counted(high, low):
    wins = sum((a > b) + (a == b) / 2 for a in high for b in low)
    return wins / (len(high) * len(low))


def test_auc_counts_pairs_and_halves_ties_in_every_column(rng):
    high, low = rng.integers(2, 9, (20, 3)), rng.integers(0, 7, (30, 3))
    expected = [counted(a, b) for a, b in zip(high.T, low.T, strict=True)]
    assert auc(high.astype(float), low.astype(float)) == pytest.approx(expected)
    assert min(expected) > 0.6


def test_auc_ends_at_zero_and_one_and_rests_at_half(rng):
    low = rng.standard_normal(12)
    assert auc(low + 100, low) == 1
    assert auc(low - 100, low) == 0
    assert auc(low, low) == 0.5
    assert auc(np.zeros(5), np.zeros(7)) == 0.5


def test_auc_does_not_change_with_a_rising_scale_and_mirrors_with_the_sign(rng):
    high, low = rng.standard_normal(40) + 0.5, rng.standard_normal(30)
    assert auc(np.exp(high), np.exp(low)) == auc(high, low)
    assert auc(-high, -low) == pytest.approx(1 - float(auc(high, low)))


def test_d_prime_is_the_planted_separation(rng):
    low = rng.standard_normal((20_000, 2))
    high = rng.standard_normal((20_000, 2)) + np.array([0.0, 1.5])
    assert d_prime(high, low) == pytest.approx([0, 1.5], abs=0.05)
    assert d_prime(5 * high + 3, 5 * low + 3) == pytest.approx(d_prime(high, low))


def test_d_prime_of_groups_without_spread_is_no_number():
    assert np.isnan(d_prime(np.ones(4), np.ones(4)))
    assert d_prime(np.full(4, 2.0), np.ones(4)) == np.inf
