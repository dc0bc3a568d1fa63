"""Intervals and tests against the plain way, and in simulation against the truth."""

import time

import numpy as np
import pytest
from scipy.stats import pearsonr

import entangle_lens as el
from entangle_lens.statistics import (
    Clusters,
    auc,
    change_estimate,
    correlation_estimate,
    d_prime,
    max_band,
    pearson,
    permutation_p,
    resampled_correlations,
)

SCENARIOS = [f"s{k}" for k in range(17) for _ in range(4)]
CLUSTERS = Clusters.of(SCENARIOS)


def draw(rng, rho=0.0, within=0.0, n_scenarios=17, per=4):
    """Draw x, y with correlation rho, and with correlated items inside a scenario."""
    n = n_scenarios * per
    shared = np.repeat(rng.standard_normal((2, n_scenarios)), per, axis=1)
    u, v = np.sqrt(within) * shared + np.sqrt(1 - within) * rng.standard_normal((2, n))
    return u, rho * u + np.sqrt(1 - rho**2) * v


def test_pearson_equals_scipy(rng):
    x, y = rng.standard_normal((2, 5, 68))
    assert pearson(x, y) == pytest.approx(
        [pearsonr(a, b).statistic for a, b in zip(x, y, strict=True)]
    )
    assert np.isnan(pearson(np.ones(68), y[0]))


def test_resampled_correlations_equal_resampled_items(rng):
    """The slow, obvious way: concatenate the items of the drawn scenarios and correlate."""
    x, y = draw(rng, 0.4)
    fast = resampled_correlations(x[None], y[None], CLUSTERS, np.random.default_rng(3), 50)[:, 0]
    counts = np.random.default_rng(3).multinomial(17, np.full(17, 1 / 17), size=50)
    blocks = [np.flatnonzero(CLUSTERS.codes == code) for code in range(17)]
    for r, count in zip(fast, counts, strict=True):
        rows = np.concatenate([np.tile(blocks[code], count[code]) for code in range(17)])
        assert r == pytest.approx(np.corrcoef(x[rows], y[rows])[0, 1], abs=1e-10)


def test_unequal_scenarios_are_resampled_whole(rng):
    clusters = Clusters.of([f"s{k}" for k in range(12) for _ in range(1 + k % 3)])
    x, y = rng.standard_normal((2, clusters.n_items))
    fast = resampled_correlations(x[None], y[None], clusters, np.random.default_rng(3), 20)[:, 0]
    counts = np.random.default_rng(3).multinomial(12, np.full(12, 1 / 12), size=20)
    for r, count in zip(fast, counts, strict=True):
        rows = np.repeat(np.arange(clusters.n_items), count[clusters.codes])
        assert r == pytest.approx(np.corrcoef(x[rows], y[rows])[0, 1], abs=1e-10)


def test_estimate_is_the_same_for_the_same_seed(rng):
    x, y = draw(rng, 0.4)
    one, two, other = (
        correlation_estimate(x, y, CLUSTERS, np.random.default_rng(s), 500) for s in (0, 0, 1)
    )
    assert one == two
    assert (one.value, one.n_items, one.n_scenarios) == (other.value, 68, 17)
    assert one.low != other.low


@pytest.mark.parametrize(("rho", "within"), [(0.0, 0.3), (0.5, 0.3)])
def test_intervals_cover_the_truth(rho, within):
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(400):
        x, y = draw(rng, rho, within)
        estimate = correlation_estimate(x, y, CLUSTERS, rng, 200)
        covered += estimate.low <= rho <= estimate.high
    assert 0.90 <= covered / 400 <= 0.985


def test_scenario_permutation_keeps_its_level_where_the_item_test_does_not():
    rng = np.random.default_rng(12)
    by_scenario = by_item = 0
    for _ in range(400):
        x, y = draw(rng, 0.0, within=0.5)
        by_scenario += permutation_p(x, y, CLUSTERS, rng, 199) < 0.05
        by_item += pearsonr(x, y).pvalue < 0.05
    assert by_scenario / 400 < 0.085
    assert by_item / 400 > 0.13


def test_permutation_p_counts_the_observed_one(rng):
    x, _ = draw(rng)
    assert permutation_p(x, x, CLUSTERS, rng, 199) == pytest.approx(1 / 200)
    x, y = draw(rng)
    assert 0.01 < permutation_p(x, y, CLUSTERS, rng, 199) <= 1


def test_band_holds_over_all_layers_at_once():
    rng = np.random.default_rng(13)
    beyond = picked = 0
    for _ in range(200):
        x, y = rng.standard_normal((2, 12, 68))
        band, p = max_band(x, y, CLUSTERS, rng, 199)
        r = np.abs(pearson(x, y))
        beyond += (r > band).any()
        picked += (r > 1.96 / np.sqrt(68)).any()
        assert ((p < 0.05) == (r > band)).mean() > 0.9
    assert beyond / 200 < 0.10
    assert picked / 200 > 0.30


def test_band_is_passed_by_a_layer_that_carries_a_correlation(rng):
    x = rng.standard_normal((6, 68))
    y = rng.standard_normal((6, 68))
    y[3] += 2 * x[3]
    band, p = max_band(x, y, CLUSTERS, rng, 999)
    assert np.flatnonzero(np.abs(pearson(x, y)) > band).tolist() == [3]
    assert p[3] == pytest.approx(1 / 1000)


def test_change_is_paired(rng):
    """Two measures that share their noise: the paired interval is far narrower than unpaired."""
    x, y = draw(rng, 0.6)
    after = y + 0.05 * rng.standard_normal(68)
    change = change_estimate((x, y), (x, after), CLUSTERS, np.random.default_rng(0), 2000)
    single = correlation_estimate(x, y, CLUSTERS, np.random.default_rng(0), 2000)
    assert change.value == pytest.approx(float(pearson(x, after) - pearson(x, y)))
    assert change.high - change.low < 0.3 * (single.high - single.low)
    gone = change_estimate((x, y), (x, y - 0.6 * x), CLUSTERS, np.random.default_rng(0), 2000)
    assert gone.high < 0


def test_constant_ratings_give_nan_and_few_scenarios_are_refused(rng):
    estimate = correlation_estimate(np.ones(68), rng.standard_normal(68), CLUSTERS, rng, 100)
    assert np.isnan([estimate.value, estimate.low, estimate.high, estimate.p]).all()
    with pytest.raises(el.EntangleError, match=r"7 scenarios were given.*at least 8"):
        Clusters.of([f"s{k}" for k in range(7)] * 4)


def test_ten_thousand_resamples_take_less_than_a_second(rng):
    x, y = draw(rng, 0.3)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        correlation_estimate(x, y, CLUSTERS, rng, 10_000)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0


def test_auc_and_d_prime_equal_their_definitions(rng):
    high, low = rng.standard_normal(40) + 1, rng.standard_normal(30)
    high[:5] = low[:5]
    pairs = (high[:, None] > low[None]).mean() + 0.5 * (high[:, None] == low[None]).mean()
    assert float(auc(high, low)) == pytest.approx(pairs)
    pooled = np.sqrt((high.var(ddof=1) + low.var(ddof=1)) / 2)
    assert float(d_prime(high, low)) == pytest.approx((high.mean() - low.mean()) / pooled)
