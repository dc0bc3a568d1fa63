"""Scenario bootstrap intervals: against loops, in simulation, and where there is nothing to see."""

import numpy as np
import pytest
from scipy.stats import pearsonr, t

import entangle_lens as el
from entangle_lens.statistics import Clusters, change_estimate, correlation_estimate, pearson

N_SCENARIOS, PER = 17, 4
CLUSTERS = Clusters.of([f"s{k}" for k in range(N_SCENARIOS) for _ in range(PER)])
ITEMS = Clusters(np.arange(CLUSTERS.n_items))


def clustered(rng, n_measures, within, clusters=CLUSTERS):
    """Draw unrelated measures, each alike inside a scenario, of variance one."""
    shared = rng.standard_normal((n_measures, clusters.n_clusters))[:, clusters.codes]
    own = rng.standard_normal((n_measures, clusters.n_items))
    return np.sqrt(within) * shared + np.sqrt(1 - within) * own


def related(x, noise, rho):
    return rho * x + np.sqrt(1 - rho**2) * noise


def looped(measures, seed, n_resamples):
    """Return one row of correlations a resample of whole scenarios, by concatenating items."""
    counts = np.random.default_rng(seed).multinomial(
        N_SCENARIOS, np.full(N_SCENARIOS, 1 / N_SCENARIOS), size=n_resamples
    )
    out = []
    for count in counts:
        drawn = [k for k in range(N_SCENARIOS) for _ in range(count[k])]
        rows = np.concatenate([np.flatnonzero(CLUSTERS.codes == k) for k in drawn])
        out.append([pearsonr(x[rows], y[rows]).statistic for x, y in measures])
    return np.array(out)


def test_scenarios_are_numbered_as_they_appear():
    clusters = Clusters.of(list("bacadefghb"))
    assert clusters.codes.tolist() == [0, 1, 2, 1, 3, 4, 5, 6, 7, 0]
    assert (clusters.n_items, clusters.n_clusters) == (10, 8)
    values = np.arange(20.0).reshape(2, 10)
    slow = [[row[clusters.codes == k].sum() for k in range(8)] for row in values]
    np.testing.assert_array_equal(clusters.sums(values), slow)


def test_eight_scenarios_are_enough_and_seven_are_not():
    assert Clusters.of([f"s{k}" for k in range(8)] * 2).n_clusters == 8
    with pytest.raises(el.EntangleError, match="7 scenarios were given"):
        Clusters.of([f"s{k}" for k in range(7)] * 20)


def test_correlation_interval_equals_a_loop(rng):
    x, noise = clustered(rng, 2, 0.3)
    y = related(x, noise, 0.5)
    found = correlation_estimate(x, y, CLUSTERS, np.random.default_rng(4), 60)
    z = np.arctanh(looped([(x, y)], 4, 60)[:, 0])
    half = t.ppf(0.975, N_SCENARIOS - 2) * z.std(ddof=1)
    centre = np.arctanh(pearsonr(x, y).statistic)
    assert found.value == pytest.approx(pearsonr(x, y).statistic)
    assert (found.low, found.high) == pytest.approx(
        (np.tanh(centre - half), np.tanh(centre + half))
    )


def test_change_interval_equals_a_loop(rng):
    x, y, x_after, y_after = clustered(rng, 4, 0.3)
    y = related(x, y, 0.6)
    found = change_estimate((x, y), (x_after, y_after), CLUSTERS, np.random.default_rng(4), 60)
    r = looped([(x, y), (x_after, y_after)], 4, 60)
    half = t.ppf(0.975, N_SCENARIOS - 2) * (r[:, 1] - r[:, 0]).std(ddof=1)
    change = pearsonr(x_after, y_after).statistic - pearsonr(x, y).statistic
    expected = (change, change - half, change + half)
    assert (found.value, found.low, found.high) == pytest.approx(expected)
    assert np.isnan(found.p)


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_interval_covers_where_scenarios_are_resampled_and_not_where_items_are(rho):
    """The control: the same interval over items, as if they were independent, is too narrow."""
    rng = np.random.default_rng(31)
    whole = single = 0
    for _ in range(400):
        x, noise = clustered(rng, 2, 0.6)
        y = related(x, noise, rho)
        by_scenario = correlation_estimate(x, y, CLUSTERS, rng, 150)
        by_item = correlation_estimate(x, y, ITEMS, rng, 150)
        whole += by_scenario.low <= rho <= by_scenario.high
        single += by_item.low <= rho <= by_item.high
    assert 0.91 <= whole / 400 <= 0.985
    assert single / 400 < 0.88


def test_change_interval_covers_the_true_change_and_sees_it():
    rng = np.random.default_rng(32)
    covered = false_alarms = seen = 0
    for _ in range(400):
        x, noise, other = clustered(rng, 3, 0.3)
        before, after = related(x, noise, 0.6), related(x, noise, 0.2)
        same = related(x, other, 0.6)
        change = change_estimate((x, before), (x, after), CLUSTERS, rng, 150)
        none = change_estimate((x, before), (x, same), CLUSTERS, rng, 150)
        covered += change.low <= -0.4 <= change.high
        false_alarms += not none.low <= 0 <= none.high
        seen += change.high < 0
    assert 0.91 <= covered / 400 <= 0.985
    assert 0.02 <= false_alarms / 400 <= 0.09
    assert seen / 400 > 0.9


def test_interval_is_the_same_in_other_units_and_mirrored_with_the_sign(rng):
    x, noise = clustered(rng, 2, 0.3)
    y = related(x, noise, 0.5)

    def interval(u, v):
        found = correlation_estimate(u, v, CLUSTERS, np.random.default_rng(0), 200)
        return found.value, found.low, found.high, found.p

    plain = interval(x, y)
    assert interval(1e6 + 3 * x, 0.01 * y - 4) == pytest.approx(plain, abs=1e-6)
    value, low, high, p = interval(x, -y)
    assert (-value, -high, -low, p) == pytest.approx(plain)
    assert -1 < plain[1] < plain[0] < plain[2] < 1


def test_change_is_the_same_for_the_same_seed(rng):
    x, y, other = clustered(rng, 3, 0.3)
    one, two, third = (
        change_estimate((x, y), (x, other), CLUSTERS, np.random.default_rng(seed), 200).low
        for seed in (0, 0, 1)
    )
    assert one == two != third


def test_perfect_correlation_has_an_interval_of_no_width(rng):
    x = rng.standard_normal(68)
    found = correlation_estimate(x, 2 * x + 1, CLUSTERS, rng, 200)
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))
    assert found.p == pytest.approx(1 / 201)


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, 5.3, -2.7])
def test_constant_rating_has_no_correlation_and_no_change(rng, constant):
    """Whatever the number: the mean of 68 times 0.1 is not 0.1 to the last bit."""
    flat, y = np.full(68, constant), rng.standard_normal(68)
    assert np.isnan(pearson(flat, y))
    assert np.isnan(pearson(y, flat))
    found = correlation_estimate(flat, y, CLUSTERS, rng, 100)
    assert np.isnan([found.value, found.low, found.high, found.p]).all()
    change = change_estimate((flat, y), (y, y), CLUSTERS, rng, 100)
    assert np.isnan([change.value, change.low, change.high]).all()


def test_rating_that_varies_little_is_no_constant(rng):
    """The control: a small spread around a large mean still correlates."""
    y = rng.standard_normal(68)
    assert float(pearson(5.3 + 1e-6 * y, y)) == pytest.approx(1, abs=1e-6)


def test_missing_rating_gives_nan_and_no_number(rng):
    x, y = clustered(rng, 2, 0.3)
    x[3] = np.nan
    found = correlation_estimate(x, y, CLUSTERS, rng, 100)
    assert np.isnan([found.value, found.low, found.high, found.p]).all()


def test_estimate_says_what_it_rests_on(rng):
    x, y = clustered(rng, 2, 0.3)
    found = correlation_estimate(x, y, CLUSTERS, rng, 100)
    assert found.as_dict()["n_scenarios"] == 17
    assert (found.n_items, found.method) == (68, "scenario bootstrap, Fisher z, t")
    assert str(found) == f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
