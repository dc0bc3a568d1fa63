"""Semipartial correlations: equal to a regression by hand, to the plain r in crossed designs."""

import numpy as np
import pytest

from entangle_lens.statistics import (
    Clusters,
    change_estimate,
    correlation_estimate,
    pearson,
    semipartial,
    semipartial_change_estimate,
    semipartial_correlation,
    semipartial_estimate,
)

N_SCENARIOS = 24


@pytest.fixture
def clusters():
    return Clusters.of([f"s{i // 4}" for i in range(4 * N_SCENARIOS)])


def crossed():
    """One moral level per scenario, all four levels of the other factor in each."""
    x = np.repeat(np.resize([-1.0, 0.0, 1.0], N_SCENARIOS), 4)
    z = np.tile([-2.0, -1.0, 1.0, 2.0], N_SCENARIOS)
    return x, z


def confounded(rng):
    x, z = crossed()
    return x, x + 0.4 * z + 0.1 * rng.standard_normal(len(x))


def by_regression(x, y, z):
    left = x - np.polyval(np.polyfit(z, x, 1), z)
    return np.corrcoef(left, y)[0, 1]


def test_semipartial_is_that_of_a_regression_by_hand(rng):
    x, z = confounded(rng)
    y = rng.standard_normal((5, len(x))) + x + z
    found = semipartial(x, y, z)
    assert found == pytest.approx([by_regression(x, row, z) for row in y], abs=1e-12)
    assert found[0] == pytest.approx(semipartial_correlation(x, y[0], z[None]), abs=1e-12)
    assert abs(found[0] - pearson(x, y[0])) > 0.1


def test_what_the_covariate_explains_is_no_correlation(rng, clusters):
    """The trap: y follows z alone, and correlates with x because the design does."""
    x, z = confounded(rng)
    y = z + 0.05 * rng.standard_normal(len(z))
    plain = correlation_estimate(x, y, clusters, rng, 1_000)
    found = semipartial_estimate(x, y, z, clusters, rng, 1_000)
    assert plain.low > 0.7
    assert abs(found.value) < 0.05
    assert found.low < 0 < found.high
    assert found.p > 0.05


def test_what_the_covariate_does_not_explain_is_found(rng, clusters):
    x, z = confounded(rng)
    y = z + 0.5 * x + 0.05 * rng.standard_normal(len(z))
    found = semipartial_estimate(x, y, z, clusters, rng, 1_000)
    assert found.low > 0.03
    assert found.p < 0.01


def test_crossed_factors_give_the_plain_estimates_to_the_last_bit(clusters):
    x, z = crossed()
    noise = np.random.default_rng(1).standard_normal((2, len(x)))
    y, after = z + 0.5 * x + 0.1 * noise[0], z + 0.1 * noise[1]

    def rng():
        return np.random.default_rng(0)

    assert float(semipartial(x, y, z)) == float(pearson(x, y))
    assert semipartial_estimate(x, y, z, clusters, rng(), 200) == correlation_estimate(
        x, y, clusters, rng(), 200
    )
    changed = semipartial_change_estimate(x, y, after, z, clusters, rng(), 200)
    expected = change_estimate((x, y), (x, after), clusters, rng(), 200)
    assert (changed.value, changed.low, changed.high) == (
        expected.value, expected.low, expected.high,
    )  # fmt: skip


def test_change_is_paired_and_refits_every_resample(rng, clusters):
    x, z = confounded(rng)
    before = z + 0.5 * x + 0.05 * rng.standard_normal(len(z))
    after = z + 0.05 * rng.standard_normal(len(z))
    found = semipartial_change_estimate(x, before, after, z, clusters, rng, 1_000)
    assert found.value == pytest.approx(by_regression(x, after, z) - by_regression(x, before, z))
    assert found.high < 0
    draws = np.random.default_rng(0)
    changes = []
    for _ in range(400):
        drawn = draws.integers(N_SCENARIOS, size=N_SCENARIOS)
        rows = np.concatenate([np.flatnonzero(clusters.codes == code) for code in drawn])
        one, other = (by_regression(x[rows], y[rows], z[rows]) for y in (before, after))
        changes.append(other - one)
    width = (found.high - found.low) / 2
    assert width == pytest.approx(2.08 * np.std(changes), rel=0.15)


def test_level_of_the_test_holds_where_the_design_is_confounded(clusters):
    rng = np.random.default_rng(5)
    x, z = confounded(rng)
    wrong = 0
    for _ in range(200):
        y = z + np.repeat(0.3 * rng.standard_normal(N_SCENARIOS), 4)
        y = y + 0.3 * rng.standard_normal(len(z))
        found = semipartial_estimate(x, y, z, clusters, rng, 200)
        wrong += found.p < 0.05 and not found.low <= 0 <= found.high
    assert wrong <= 22


@pytest.mark.parametrize("constant", ["x is z", "y"])
def test_what_does_not_exist_is_nan(rng, clusters, constant):
    x, z = confounded(rng)
    y = np.ones_like(x) if constant == "y" else rng.standard_normal(len(x))
    found = semipartial_estimate(z if constant != "y" else x, y, z, clusters, rng, 100)
    assert np.isnan([found.value, found.low, found.high, found.p]).all()
