"""Partial and semipartial correlations: against regressions, in simulation, and at their ends."""

import time

import numpy as np
import pytest
from scipy.stats import pearsonr
from scipy.stats import t as student_t

import entangle_lens as el
from entangle_lens.statistics import (
    Clusters,
    correlation_estimate,
    partial_correlation,
    partial_correlation_estimate,
    permutation_p,
    semipartial_correlation,
)
from entangle_lens.statistics.bootstrap import draw_counts
from entangle_lens.statistics.permutation import permuted_items, turned_signs

CLUSTERS = Clusters.of([f"s{k}" for k in range(17) for _ in range(4)])
UNEVEN = Clusters.of([f"s{k}" for k in range(20) for _ in range(3 if k % 4 else 2)])


def confounded(rng, clusters=CLUSTERS, rho=0.0, within=0.4):
    """Draw x and y with a partial correlation rho, and two covariates that drive both."""
    n, codes = clusters.n_items, clusters.codes
    z = np.stack([rng.standard_normal(clusters.n_clusters)[codes], rng.standard_normal(n)])
    shared = rng.standard_normal((2, clusters.n_clusters))[:, codes]
    u, v = np.sqrt(within) * shared + np.sqrt(1 - within) * rng.standard_normal((2, n))
    return u + z.sum(0), rho * u + np.sqrt(1 - rho**2) * v + z.sum(0), z


def regressed(x, z):
    """Return what a regression on an intercept and z leaves of x, the plain way."""
    design = np.column_stack([np.ones(len(x)), *z])
    return x - design @ np.linalg.lstsq(design, x, rcond=None)[0]


def plain_partial(x, y, z):
    return pearsonr(regressed(x, z), regressed(y, z)).statistic


def r_squared(y, columns):
    return 1 - regressed(y, columns).var() / y.var()


@pytest.mark.parametrize("n_covariates", [0, 1, 2, 5])
def test_partial_equals_regressions_and_the_inverse_covariance(rng, n_covariates):
    for _ in range(20):
        z = rng.standard_normal((n_covariates, 40))
        x, y = rng.standard_normal((2, 40)) + z.sum(0)
        found = partial_correlation(x, y, z)
        precision = np.linalg.inv(np.cov(np.stack([x, y, *z])))
        inverse = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
        assert found == pytest.approx(plain_partial(x, y, z), abs=1e-12)
        assert found == pytest.approx(inverse, abs=1e-10)


def test_partial_of_one_covariate_equals_the_formula_of_three_correlations(rng):
    x, y, z = confounded(rng)
    xy, xz, yz = (pearsonr(a, b).statistic for a, b in ((x, y), (x, z[0]), (y, z[0])))
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_correlation(x, y, z[:1]) == pytest.approx(expected, abs=1e-12)


def test_partial_takes_out_what_the_plain_correlation_shows():
    x, y, z = confounded(np.random.default_rng(2), Clusters(np.arange(5000)))
    assert pearsonr(x, y).statistic > 0.6
    assert abs(partial_correlation(x, y, z)) < 0.05


def test_squared_semipartial_is_what_x_adds_to_r_squared(rng):
    x, y, z = confounded(rng, rho=0.4)
    added = r_squared(y, [*z, x]) - r_squared(y, z)
    found = semipartial_correlation(x, y, z)
    assert found**2 == pytest.approx(added, abs=1e-12)
    assert found == pytest.approx(pearsonr(regressed(x, z), y).statistic)
    assert 0 < found < partial_correlation(x, y, z)
    assert semipartial_correlation(y, x, z) != pytest.approx(found, abs=1e-3)


def test_partial_is_the_same_in_other_units(rng):
    x, y, z = confounded(rng, rho=0.4)
    scaled = np.stack([1e6 + 1e-3 * z[0], 1e-8 * z[1]])
    assert partial_correlation(1e6 + x, -3 * y, scaled) == pytest.approx(
        -partial_correlation(x, y, z), abs=1e-6
    )


@pytest.mark.parametrize("more", ["constant", "copy", "sum"])
def test_constant_and_collinear_covariates_change_nothing(rng, more):
    x, y, z = confounded(rng, rho=0.4)
    extra = {"constant": np.full(68, 0.1), "copy": 3 * z[0] + 1, "sum": z[0] - 2 * z[1]}[more]
    longer = np.stack([*z, extra])
    assert partial_correlation(x, y, longer) == pytest.approx(partial_correlation(x, y, z))
    assert semipartial_correlation(x, y, longer) == pytest.approx(semipartial_correlation(x, y, z))
    plain, same = (
        partial_correlation_estimate(x, y, each, CLUSTERS, np.random.default_rng(1), 200)
        for each in (z, longer)
    )
    assert (plain.low, plain.high, plain.p) == pytest.approx((same.low, same.high, same.p))
    independent = np.stack([*z, rng.standard_normal(68)])
    assert partial_correlation(x, y, independent) != pytest.approx(
        partial_correlation(x, y, z), abs=1e-4
    )


def test_nothing_left_of_x_is_no_correlation(rng):
    x, y, z = confounded(rng)
    for gone in (z[0], 2 * z[0] - z[1] + 5, np.full(68, 0.1)):
        assert np.isnan(partial_correlation(gone, y, z))
        assert np.isnan(semipartial_correlation(gone, y, z))
        found = partial_correlation_estimate(gone, y, z, CLUSTERS, rng, 50)
        assert np.isnan([found.value, found.low, found.high, found.p]).all()
    assert np.isfinite(partial_correlation(z[0] + 1e-4 * x, y, z))


def looped(x, y, z, clusters, counts):
    out = []
    for count in counts:
        rows = np.repeat(np.arange(clusters.n_items), count[clusters.codes])
        out.append(plain_partial(x[rows], y[rows], z[:, rows]))
    return np.array(out)


@pytest.mark.parametrize("clusters", [CLUSTERS, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("interval", ["fisher", "percentile"])
def test_interval_equals_a_loop_that_regresses_anew(rng, clusters, interval):
    x, y, z = confounded(rng, clusters, rho=0.4)
    found = partial_correlation_estimate(
        x, y, z, clusters, np.random.default_rng(4), 80, interval=interval
    )
    resampled = looped(x, y, z, clusters, draw_counts(clusters, np.random.default_rng(4), 80))
    expected = tuple(np.quantile(resampled, [0.025, 0.975]))
    if interval == "fisher":
        half = student_t.ppf(0.975, clusters.n_clusters - 4) * np.arctanh(resampled).std(ddof=1)
        centre = np.arctanh(plain_partial(x, y, z))
        expected = np.tanh(centre - half), np.tanh(centre + half)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)
    assert found.method.startswith("partial, scenario bootstrap")


def test_without_covariates_the_interval_is_that_of_the_correlation(rng):
    x, y, _ = confounded(rng)
    none = np.zeros((0, 68))
    partial, plain = (
        make(np.random.default_rng(3))
        for make in (
            lambda seed: partial_correlation_estimate(x, y, none, CLUSTERS, seed, 300),
            lambda seed: correlation_estimate(x, y, CLUSTERS, seed, 300),
        )
    )
    assert (partial.value, partial.low, partial.high, partial.p) == pytest.approx(
        (plain.value, plain.low, plain.high, plain.p)
    )


def test_p_equals_a_loop_that_regresses_every_permutation(rng):
    x, y, z = confounded(rng, rho=0.3)
    left, other = regressed(x, z), regressed(y, z)
    seed = np.random.default_rng(6)
    draw_counts(CLUSTERS, seed, 99)
    observed = abs(plain_partial(x, y, z))
    beyond = sum(
        abs(pearsonr(regressed(left[order], z), other).statistic) >= observed
        for order in permuted_items(CLUSTERS, seed, 99)
    )
    found = partial_correlation_estimate(x, y, z, CLUSTERS, np.random.default_rng(6), 99)
    assert found.p == (beyond + 1) / 100


def test_p_of_mixed_scenarios_turns_the_signs_of_what_is_left(rng):
    clusters = Clusters(np.repeat(np.arange(11), [1, *range(2, 11), 13]))
    x, y, z = confounded(rng, clusters, rho=0.3)
    left, other = regressed(x, z), regressed(y, z)
    seed = np.random.default_rng(6)
    draw_counts(clusters, seed, 99)
    shares = np.array([left[clusters.codes == k] @ other[clusters.codes == k] for k in range(11)])
    beyond = np.sum(np.abs(turned_signs(clusters, seed, 99) @ shares) >= abs(shares.sum()))
    found = partial_correlation_estimate(x, y, z, clusters, np.random.default_rng(6), 99)
    assert found.p == (beyond + 1) / 100


def test_null_is_kept_where_the_plain_correlation_is_all_confound():
    """Controls: the plain permutation sees the confound, and a true effect is seen."""
    rng = np.random.default_rng(41)
    partial = plain = seen = covered = 0
    for _ in range(300):
        x, y, z = confounded(rng)
        found = partial_correlation_estimate(x, y, z, CLUSTERS, rng, 199)
        partial += found.p <= 0.05
        covered += found.low <= 0 <= found.high
        plain += permutation_p(x, y, CLUSTERS, rng, 99) <= 0.05
        x, y, z = confounded(rng, rho=0.6)
        seen += partial_correlation_estimate(x, y, z, CLUSTERS, rng, 99).p <= 0.05
    assert 0.02 <= partial / 300 <= 0.085
    assert 0.91 <= covered / 300 <= 0.985
    assert plain / 300 > 0.8
    assert seen / 300 > 0.8


def test_ten_thousand_resamples_take_well_under_a_second(rng):
    x, y, z = confounded(rng)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        partial_correlation_estimate(x, y, z, CLUSTERS, rng, 10_000)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.8


def test_same_seed_gives_the_same_estimate(rng):
    x, y, z = confounded(rng)
    one, two, other = (
        partial_correlation_estimate(x, y, z, CLUSTERS, np.random.default_rng(seed), 200)
        for seed in (0, 0, 1)
    )
    assert one == two
    assert one.low != other.low


def test_missing_and_too_many_covariates_are_errors(rng):
    x, y, z = confounded(rng)
    z[1, 5] = np.nan
    with pytest.raises(el.EntangleError, match="covariate 2 of 2 holds missing values"):
        partial_correlation(x, y, z)
    many = rng.standard_normal((66, 68))
    with pytest.raises(el.EntangleError, match="66 independent covariates leave nothing"):
        partial_correlation(x, y, many)
    with pytest.raises(el.EntangleError, match="17 scenarios carry at most 14"):
        partial_correlation_estimate(x, y, many[:15], CLUSTERS, rng, 50)
    assert partial_correlation_estimate(x, y, many[:14], CLUSTERS, rng, 50).n_items == 68
