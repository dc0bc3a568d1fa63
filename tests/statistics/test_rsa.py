"""Representational similarity: against scipy and loops, in simulation, and without a value."""

import time

import numpy as np
import pytest
from scipy.stats import spearmanr

import entangle_lens as el
from entangle_lens.statistics import Clusters, dissimilarity, rsa
from entangle_lens.statistics.permutation import permuted_items

EVEN = Clusters.of([f"s{k}" for k in range(10) for _ in range(3)])
UNEVEN = Clusters.of([f"s{k}" for k in range(12) for _ in range(3 if k % 4 else 2)])


def spaces(rng, clusters, shared=0.0, within=0.5, d=8):
    """Draw two spaces of items, alike inside scenarios, the second with a share of the first."""

    def space():
        own = rng.standard_normal((clusters.n_items, d))
        return np.sqrt(within) * rng.standard_normal((clusters.n_clusters, d))[clusters.codes] + (
            np.sqrt(1 - within) * own
        )

    a, b = space(), space()
    return a, np.sqrt(shared) * a + np.sqrt(1 - shared) * b


def triangle(matrix):
    return matrix[np.triu_indices(len(matrix), 1)]


def test_dissimilarity_equals_its_definition(rng):
    x = rng.standard_normal((6, 5))
    plain = {
        "correlation": lambda a, b: 1 - np.corrcoef(a, b)[0, 1],
        "cosine": lambda a, b: 1 - a @ b / np.sqrt((a @ a) * (b @ b)),
        "euclidean": lambda a, b: np.sqrt(((a - b) ** 2).sum()),
        "cityblock": lambda a, b: np.abs(a - b).sum(),
    }
    for metric, formula in plain.items():
        expected = [[0 if a is b else formula(a, b) for b in x] for a in x]
        np.testing.assert_allclose(dissimilarity(x, metric), expected, atol=1e-12)
    assert dissimilarity(x) == pytest.approx(dissimilarity(x, "correlation"))


@pytest.mark.parametrize("clusters", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("metric", ["correlation", "euclidean"])
def test_value_equals_scipys_spearman_of_the_triangles(rng, clusters, metric):
    a, b = spaces(rng, clusters, shared=0.4)
    found = rsa(a, b, clusters, rng, metric, 19)
    sides = (triangle(dissimilarity(each, metric)) for each in (a, b))
    assert found.value == pytest.approx(spearmanr(*sides).statistic)
    assert found.value > 0.1
    assert found.n_items == clusters.n_items
    assert np.isnan([found.low, found.high]).all()


def test_ties_are_ranked_as_scipy_ranks_them(rng):
    a, b = (rng.integers(0, 4, (30, 1)).astype(float) for _ in range(2))
    found = rsa(a, b, EVEN, rng, "euclidean", 19)
    sides = (triangle(np.abs(each - each.T)) for each in (a, b))
    assert found.value == pytest.approx(spearmanr(*sides).statistic)


@pytest.mark.parametrize("clusters", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_p_equals_a_loop_that_ranks_every_permutation(rng, clusters):
    a, b = spaces(rng, clusters)
    first, second = dissimilarity(a), dissimilarity(b)
    observed = spearmanr(triangle(first), triangle(second)).statistic
    null = [
        spearmanr(triangle(first[np.ix_(order, order)]), triangle(second)).statistic
        for order in permuted_items(clusters, np.random.default_rng(8), 60)
    ]
    beyond = sum(each >= observed - 1e-12 for each in null)
    found = rsa(a, b, clusters, np.random.default_rng(8), n_permutations=60)
    assert found.p == (beyond + 1) / 61
    assert 0 < beyond < 60


def test_ready_matrices_give_the_same_as_their_features(rng):
    a, b = spaces(rng, EVEN, shared=0.3)
    plain = rsa(a, b, EVEN, np.random.default_rng(1), "euclidean", 99)
    ready = rsa(
        dissimilarity(a, "euclidean"),
        dissimilarity(b, "euclidean"),
        EVEN,
        np.random.default_rng(1),
        "precomputed",
        99,
    )
    assert (ready.value, ready.p) == (plain.value, plain.p)
    assert "precomputed" in ready.method
    mixed = rsa(dissimilarity(a), dissimilarity(b, "euclidean"), EVEN, rng, "precomputed", 9)
    assert mixed.value != pytest.approx(plain.value, abs=1e-3)


def test_value_does_not_change_with_rotation_and_scale(rng):
    a, b = spaces(rng, EVEN, shared=0.3)
    rotation = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    plain = rsa(a, b, EVEN, np.random.default_rng(1), "euclidean", 99)
    turned = rsa(5 * a @ rotation + 3, b, EVEN, np.random.default_rng(1), "euclidean", 99)
    assert (turned.value, turned.p) == pytest.approx((plain.value, plain.p))
    assert rsa(a, a, EVEN, rng, n_permutations=99).value == pytest.approx(1)


def test_shared_scenarios_alone_are_no_evidence():
    """Controls: permuting items one by one finds the scenarios; a shared space is found."""
    rng = np.random.default_rng(81)
    alone = Clusters(np.arange(EVEN.n_items))
    whole = single = seen = 0
    for _ in range(300):
        a, b = spaces(rng, EVEN)
        whole += rsa(a, b, EVEN, rng, n_permutations=99).p <= 0.05
        single += rsa(a, b, alone, rng, n_permutations=99).p <= 0.05
        _, b = spaces(rng, EVEN)
        seen += rsa(a, 0.8 * a + b, EVEN, rng, n_permutations=99).p <= 0.05
    assert 0.02 <= whole / 300 <= 0.085
    assert single / 300 > 0.3
    assert seen / 300 > 0.8


def test_same_seed_gives_the_same_p(rng):
    a, b = spaces(rng, EVEN, shared=0.1)
    one, two, other = (
        rsa(a, b, EVEN, np.random.default_rng(seed), n_permutations=200).p for seed in (0, 0, 1)
    )
    assert one == two != other


def test_ten_thousand_permutations_of_68_items_take_seconds_at_most(rng):
    clusters = Clusters.of([f"s{k}" for k in range(17) for _ in range(4)])
    a, b = spaces(rng, clusters, shared=0.1)
    start = time.perf_counter()
    rsa(a, b, clusters, rng, n_permutations=10_000)
    assert time.perf_counter() - start < 5


def test_equal_dissimilarities_have_no_correlation(rng):
    a, _ = spaces(rng, EVEN)
    same = 1 - np.eye(30)
    found = rsa(dissimilarity(a), same, EVEN, rng, "precomputed", 19)
    assert np.isnan([found.value, found.p]).all()


def test_unknown_metric_bad_rows_and_bad_matrices_are_errors(rng):
    a, b = spaces(rng, EVEN)
    with pytest.raises(el.EntangleError, match=r"'manhattan' is not known.*cityblock"):
        dissimilarity(a, "manhattan")
    with pytest.raises(el.EntangleError, match=r"'manhattan' is not known.*precomputed"):
        rsa(a, b, EVEN, rng, "manhattan")
    a[4] = 2.0
    with pytest.raises(el.EntangleError, match="item 5 has no correlation dissimilarity"):
        rsa(a, b, EVEN, rng)
    with pytest.raises(el.EntangleError, match=r"square and symmetric.*shape \(30, 8\)"):
        rsa(a, b, EVEN, rng, "precomputed")
    lopsided = dissimilarity(b)
    lopsided[0, 1] += 1
    with pytest.raises(el.EntangleError, match="square and symmetric"):
        rsa(lopsided, lopsided, EVEN, rng, "precomputed")
