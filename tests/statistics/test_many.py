"""Many correlations at once are those of one at a time, in the same resamples."""

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr

from entangle_lens.statistics import Clusters, correlation_estimate, partial_correlation_estimate
from entangle_lens.statistics.bootstrap import fisher_interval
from entangle_lens.statistics.many import Draws, correlate_many

EVEN = Clusters(np.repeat(np.arange(17), 4))
UNEVEN = Clusters(np.sort(np.random.default_rng(3).integers(0, 17, 68)))
MIXED = Clusters(np.repeat(np.arange(11), [1, *range(2, 11), 13]))
ALL = pytest.mark.parametrize("clusters", [EVEN, UNEVEN, MIXED], ids=["even", "uneven", "mixed"])
NONE = np.zeros((0, 68))


def scores(rng, clusters=EVEN):
    """Three pairs that share scenarios, the second with ties, and two covariates of theirs."""
    shared = rng.standard_normal((3, clusters.n_clusters))[:, clusters.codes]
    x = shared + rng.standard_normal((3, 68))
    y = 0.6 * shared + rng.standard_normal((3, 68))
    x[1], y[1] = np.round(x[1]), np.round(y[1])
    return x, y, 0.5 * shared[:2] + rng.standard_normal((2, 68))


def drawn(clusters, n_resamples=60, n_permutations=60):
    return Draws.make(clusters, np.random.default_rng(5), n_resamples, n_permutations)


def four(found, pair):
    return [float(each[pair]) for each in (found.r, found.low, found.high, found.p)]


@ALL
def test_each_is_the_estimate_of_one_pair(rng, clusters):
    x, y, z = scores(rng, clusters)
    plain, partial = correlate_many(x, y, [NONE, z], drawn(clusters))
    for pair in range(3):
        one = correlation_estimate(x[pair], y[pair], clusters, np.random.default_rng(5), 60)
        assert four(plain, pair) == pytest.approx([one.value, one.low, one.high, one.p], abs=1e-9)
        one = partial_correlation_estimate(
            x[pair], y[pair], z, clusters, np.random.default_rng(5), 60
        )
        assert four(partial, pair) == pytest.approx([one.value, one.low, one.high, one.p], abs=1e-9)
    assert np.abs(plain.r - partial.r).max() > 0.01


def left_of(x, z):
    design = np.column_stack([np.ones(len(x)), *z])
    return x - design @ np.linalg.lstsq(design, x, rcond=None)[0]


def spearman(x, y, z):
    if not len(z):
        return spearmanr(x, y).statistic
    x, y, *z = (rankdata(each) for each in (x, y, *z))
    return pearsonr(left_of(x, z), left_of(y, z)).statistic


@ALL
def test_ranks_are_taken_anew_in_every_resample(rng, clusters):
    x, y, z = scores(rng, clusters)
    draws = drawn(clusters)
    for covariates, found in zip(
        (NONE, z), correlate_many(x, y, [NONE, z], draws, ranks=True), strict=True
    ):
        df = clusters.n_clusters - 2 - len(covariates)
        for pair in range(3):
            looped = []
            for counts in draws.counts:
                rows = np.repeat(np.arange(68), counts[clusters.codes])
                looped.append(spearman(x[pair][rows], y[pair][rows], covariates[:, rows]))
            r = spearman(x[pair], y[pair], covariates)
            expected = [r, *fisher_interval(r, np.array(looped), df)]
            assert four(found, pair)[:3] == pytest.approx(expected, abs=1e-9)


def test_null_is_the_correlation_of_every_permutation(rng):
    x, y, z = scores(rng)
    draws = drawn(EVEN)
    (found,) = correlate_many(x, y, [z], draws, ranks=True)
    ranks = [rankdata(each, axis=-1) for each in (x, y, z)]
    left, other = (left_of(each[2], ranks[2]) for each in ranks[:2])
    expected = [pearsonr(left_of(left[order], ranks[2]), other).statistic for order in draws.order]
    np.testing.assert_allclose(found.null[:, 2], expected, atol=1e-6)
    beyond = np.sum(np.abs(expected) >= abs(found.r[2]) - 1e-12)
    assert found.p[2] == pytest.approx((beyond + 1) / 61)


def test_mixed_scenarios_have_the_signs_of_their_shares_turned(rng):
    x, y, z = scores(rng, MIXED)
    draws = drawn(MIXED)
    assert draws.order is None
    (found,) = correlate_many(x, y, [z], draws)
    left, other = left_of(x[2], z), left_of(y[2], z)
    shares = np.array([left[MIXED.codes == k] @ other[MIXED.codes == k] for k in range(11)])
    expected = draws.signs @ shares / np.sqrt(left @ left * (other @ other))
    np.testing.assert_allclose(found.null[:, 2], expected, atol=1e-6)
    assert draws.of_scenarios().signs is draws.signs


def test_scenario_means_have_the_same_draws(rng):
    x, y, _ = scores(rng)
    draws = drawn(EVEN).of_scenarios()
    means = [each.reshape(3, 17, 4).mean(-1) for each in (x, y)]
    (found,) = correlate_many(*means, [np.zeros((0, 17))], draws)
    looped = [
        pearsonr(*(np.repeat(each[0], counts) for each in means)).statistic
        for counts in draws.counts
    ]
    low, high = fisher_interval(float(found.r[0]), np.array(looped), 15)
    assert (found.low[0], found.high[0]) == pytest.approx((low, high), abs=1e-9)


def test_a_constant_score_has_no_correlation_and_spoils_no_other(rng):
    x, y, z = scores(rng)
    whole = correlate_many(x, y, [z], drawn(EVEN))[0]
    x[1] = 0.1
    for ranks in (False, True):
        (found,) = correlate_many(x, y, [z], drawn(EVEN), ranks=ranks)
        assert np.isnan(four(found, 1)).all()
        assert np.isfinite([four(found, 0), four(found, 2)]).all()
    assert four(correlate_many(x, y, [z], drawn(EVEN))[0], 2) == four(whole, 2)


def test_without_resamples_there_are_no_intervals_and_the_same_p(rng):
    x, y, _ = scores(rng)
    for ranks in (False, True):
        (found,) = correlate_many(x, y, [NONE], drawn(EVEN, n_resamples=0), ranks=ranks)
        assert np.isnan([found.low, found.high]).all()
        assert np.isfinite([found.r, found.p]).all()
        assert found.null.shape == (60, 3)
