"""Percentile and BCa intervals: against scipy, in simulation, and at their ends."""

import numpy as np
import pytest
from scipy.stats import BootstrapMethod, bootstrap, pearsonr

import entangle_lens as el
from entangle_lens.statistics import Clusters, correlation_estimate
from entangle_lens.statistics.bootstrap import bca_interval, draw_counts, percentile_interval
from entangle_lens.statistics.intervals import resampled_correlations

CLUSTERS = Clusters.of([f"s{k}" for k in range(17) for _ in range(4)])
UNEVEN = Clusters.of([f"s{k}" for k in range(20) for _ in range(3 if k % 4 else 2)])
ITEMS = Clusters(np.arange(60))
FIRST_RELEASE = (0.47684811203877187, 0.2639167652891474, 0.6454616340999171, 0.0006664445184938354)
SCIPY_NAMES = {"percentile": "percentile", "bca": "BCa"}


def skewed(rng, clusters, rho=0.8):
    """Draw a strong correlation of skewed measures, where the intervals differ."""
    x, noise = rng.standard_normal((2, clusters.n_items))
    x = np.exp(x + rng.standard_normal(clusters.n_clusters)[clusters.codes] / 2)
    return x, rho * x + noise


def scipy_interval(x, y, clusters, interval, resampled):
    """Return scipy's interval over scenario numbers, read from the resamples given."""
    blocks = [np.flatnonzero(clusters.codes == code) for code in range(clusters.n_clusters)]

    def r_of(drawn):
        rows = np.concatenate([blocks[int(code)] for code in drawn])
        return pearsonr(x[rows], y[rows]).statistic

    scenarios = (np.arange(clusters.n_clusters),)
    known = bootstrap(scenarios, r_of, vectorized=False, n_resamples=2, method="percentile")
    known.bootstrap_distribution = resampled
    found = bootstrap(
        scenarios,
        r_of,
        vectorized=False,
        n_resamples=0,
        bootstrap_result=known,
        method=SCIPY_NAMES[interval],
    )
    return tuple(found.confidence_interval)


@pytest.mark.parametrize("interval", SCIPY_NAMES)
@pytest.mark.parametrize("clusters", [ITEMS, CLUSTERS, UNEVEN], ids=["items", "even", "uneven"])
def test_interval_equals_scipy_on_the_same_resamples(rng, clusters, interval):
    x, y = skewed(rng, clusters)
    found = correlation_estimate(x, y, clusters, np.random.default_rng(5), 999, interval)
    same = resampled_correlations(x[None], y[None], clusters, np.random.default_rng(5), 999)[:, 0]
    expected = scipy_interval(x, y, clusters, interval, same)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-10)
    assert found.value == pytest.approx(pearsonr(x, y).statistic)


@pytest.mark.parametrize("interval", SCIPY_NAMES)
def test_interval_equals_scipys_own_resamples_where_items_are_independent(rng, interval):
    """Nothing shared: scipy resamples the pairs itself; 20,000 draws differ in the third digit."""
    x, y = skewed(rng, ITEMS)
    own = pearsonr(x, y).confidence_interval(
        method=BootstrapMethod(n_resamples=20_000, method=SCIPY_NAMES[interval], rng=rng)
    )
    found = correlation_estimate(x, y, ITEMS, rng, 20_000, interval)
    assert (found.low, found.high) == pytest.approx(tuple(own), abs=0.015)


def test_the_three_intervals_differ_and_say_their_name(rng):
    x, y = skewed(rng, CLUSTERS)
    found = {
        name: correlation_estimate(x, y, CLUSTERS, np.random.default_rng(5), 999, name)
        for name in ("fisher", "percentile", "bca")
    }
    assert {each.method for each in found.values()} == {
        "scenario bootstrap, Fisher z, t",
        "scenario bootstrap, percentile",
        "scenario bootstrap, BCa",
    }
    assert len({round(each.low, 6) for each in found.values()}) == 3
    assert len({each.p for each in found.values()}) == 1
    assert len({each.value for each in found.values()}) == 1


def test_default_interval_is_fisher(rng):
    x, y = skewed(rng, CLUSTERS)
    plain = correlation_estimate(x, y, CLUSTERS, np.random.default_rng(5), 99)
    named = correlation_estimate(x, y, CLUSTERS, np.random.default_rng(5), 99, interval="fisher")
    assert plain == named


def test_default_numbers_are_those_of_the_first_release():
    """Frozen: results that were published with the default must come out again."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal(68)
    y = 0.4 * x + rng.standard_normal(68)
    found = correlation_estimate(x, y, CLUSTERS, rng, 3000)
    # The last bit belongs to the machine's linear algebra, the rest to the method.
    assert (found.value, found.low, found.high) == pytest.approx(FIRST_RELEASE[:3], rel=1e-13)
    assert found.p == FIRST_RELEASE[3]


def test_unknown_interval_is_an_error_that_names_the_choices(rng):
    x, y = skewed(rng, CLUSTERS)
    with pytest.raises(el.EntangleError, match=r"'basic' is not known.*fisher, percentile, bca"):
        correlation_estimate(x, y, CLUSTERS, rng, 99, "basic")


def test_bca_corrects_for_bias_and_skew(rng):
    """Where resamples sit too low, BCa moves up; without bias and skew it is the percentile."""
    resampled = np.sort(rng.standard_normal(20_001))
    symmetric = np.array([-1.0, 0.0, 1.0])
    assert bca_interval(float(np.median(resampled)), resampled, symmetric) == pytest.approx(
        percentile_interval(resampled), abs=1e-3
    )
    plain, biased = percentile_interval(resampled), bca_interval(0.5, resampled, symmetric)
    assert biased[0] > plain[0] + 0.4
    assert biased[1] > plain[1] + 0.4
    low, high = bca_interval(float(np.median(resampled)), resampled, np.array([0.0, 0, 0, -1]))
    assert (low + high) / 2 > 0.05


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_perfect_correlation_has_an_interval_of_no_width(rng, interval):
    x = rng.standard_normal(68)
    found = correlation_estimate(x, 2 * x + 1, CLUSTERS, rng, 200, interval)
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_interval_of_a_constant_rating_is_nan(rng, interval):
    found = correlation_estimate(np.ones(68), rng.standard_normal(68), CLUSTERS, rng, 50, interval)
    assert np.isnan([found.value, found.low, found.high, found.p]).all()


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_value_beyond_all_resamples_still_has_an_interval(rng, interval):
    resampled = rng.uniform(0.1, 0.2, 500)
    jackknife = rng.uniform(0.1, 0.2, 17)
    made = {
        "percentile": lambda: percentile_interval(resampled),
        "bca": lambda: bca_interval(0.5, resampled, jackknife),
    }[interval]()
    assert resampled.min() <= made[0] <= made[1] <= resampled.max()


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_interval_covers_where_scenarios_are_resampled_and_not_where_items_are(interval):
    rng = np.random.default_rng(33)
    clusters = Clusters.of([f"s{k}" for k in range(36) for _ in range(4)])
    alone = Clusters(np.arange(144))
    covered = [0, 0]
    for _ in range(300):
        shared = rng.standard_normal((2, 36))[:, clusters.codes]
        u, v = np.sqrt(0.6) * shared + np.sqrt(0.4) * rng.standard_normal((2, 144))
        y = 0.5 * u + np.sqrt(0.75) * v
        for number, by in enumerate((clusters, alone)):
            found = correlation_estimate(u, y, by, rng, 250, interval)
            covered[number] += found.low <= 0.5 <= found.high
    assert 0.90 <= covered[0] / 300 <= 0.985
    assert covered[1] / 300 < 0.88


def test_as_many_scenarios_are_drawn_as_there_are(rng):
    counts = draw_counts(CLUSTERS, rng, 500)
    assert (counts.sum(1) == 17).all()
    assert counts.mean(0) == pytest.approx(np.ones(17), abs=0.2)
    assert counts.max() > 2
