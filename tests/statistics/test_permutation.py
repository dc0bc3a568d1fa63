"""Permutation of whole scenarios: against loops, against all permutations, and in simulation."""

from itertools import permutations

import numpy as np
import pytest

from entangle_lens.statistics import (
    Clusters,
    max_band,
    pearson,
    permutation_p,
    permuted_correlations,
)
from entangle_lens.statistics.permutation import can_be_dealt, permuted_items, turned_signs

EVEN = Clusters.of([f"s{k}" for k in range(17) for _ in range(4)])
UNEVEN = Clusters.of([f"s{k}" for k in range(20) for _ in range(3 if k % 4 else 2)])
MIXED = Clusters.of([f"s{k}" for k in range(16) for _ in range(3 + k)])


def clustered(rng, clusters, within):
    """Draw x and y that know nothing of each other, each alike inside a scenario."""
    shared = rng.standard_normal((2, clusters.n_clusters))[:, clusters.codes]
    own = rng.standard_normal((2, clusters.n_items))
    return np.sqrt(within) * shared + np.sqrt(1 - within) * own


def keeps_scenarios_whole(order, clusters):
    moved = clusters.codes[order]
    return all(len(set(moved[clusters.codes == k])) == 1 for k in range(clusters.n_clusters))


@pytest.mark.parametrize("clusters", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_scenarios_move_whole_and_are_shuffled_within(clusters, rng):
    orders = permuted_items(clusters, rng, 200)
    for order in orders:
        assert sorted(order) == list(range(clusters.n_items))
        assert keeps_scenarios_whole(order, clusters)
    assert len({tuple(order) for order in orders}) == 200
    assert not keeps_scenarios_whole(rng.permutation(clusters.n_items), clusters)


def test_scenarios_trade_places_with_their_equals_only(rng):
    sizes = np.bincount(UNEVEN.codes)
    assert set(sizes) == {2, 3}
    for order in permuted_items(UNEVEN, rng, 50):
        assert (sizes[UNEVEN.codes[order]] == sizes[UNEVEN.codes]).all()


def test_every_item_comes_to_every_place_equally_often(rng):
    n = 8000
    clusters = Clusters.of([f"s{k}" for k in range(8) for _ in range(2)])
    counts = np.zeros((16, 16))
    for order in permuted_items(clusters, rng, n):
        counts[np.arange(16), order] += 1
    expected = n / 16
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_scenarios_need_not_stand_together(rng):
    """Items of a scenario may lie anywhere in the table."""
    scattered = Clusters.of([f"s{k}" for _ in range(4) for k in range(9)])
    assert all(
        keeps_scenarios_whole(order, scattered) for order in permuted_items(scattered, rng, 20)
    )


@pytest.mark.parametrize("clusters", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_permuted_correlations_equal_a_loop(clusters, rng):
    x, y = rng.standard_normal((2, 3, clusters.n_items))
    fast = permuted_correlations(x, y, clusters, np.random.default_rng(5), 40)
    orders = permuted_items(clusters, np.random.default_rng(5), 40)
    slow = [[np.corrcoef(a[o], b)[0, 1] for a, b in zip(x, y, strict=True)] for o in orders]
    np.testing.assert_allclose(fast, slow, atol=1e-12)


@pytest.mark.parametrize(
    ("sizes", "dealt"),
    [([4] * 17, True), ([4] * 9 + [3] * 8, True), ([60] + [4] * 16, True), (range(1, 9), False),
     ([1, 1, 1, 1, *range(2, 9)], False), ([1, 1, 1, 1, 1, 1, *range(2, 7)], True)],
)  # fmt: skip
def test_scenarios_are_dealt_where_half_have_their_equals(sizes, dealt):
    clusters = Clusters(np.repeat(np.arange(len(sizes)), sizes))
    assert can_be_dealt(clusters) == dealt


def test_of_mixed_sizes_each_share_in_r_has_its_sign_turned(rng):
    x, y = rng.standard_normal((2, 3, MIXED.n_items))
    fast = permuted_correlations(x, y, MIXED, np.random.default_rng(5), 40)
    signs = turned_signs(MIXED, np.random.default_rng(5), 40)
    assert set(signs.ravel()) == {-1.0, 1.0}
    for pair in range(3):
        a, b = (each[pair] - each[pair].mean() for each in (x, y))
        for row, sign in enumerate(signs):
            turned = sum(a[i] * b[i] * sign[MIXED.codes[i]] for i in range(MIXED.n_items))
            assert fast[row, pair] == pytest.approx(turned / np.sqrt(a @ a * (b @ b)))


def test_dealing_scenarios_of_mixed_sizes_would_see_nothing(rng):
    """The control of turning signs: what belongs to scenarios alone is never dealt anywhere."""
    x = rng.standard_normal(16)[MIXED.codes]
    dealt = np.abs([pearson(x[order], x) for order in permuted_items(MIXED, rng, 99)])
    assert dealt.min() == pytest.approx(1)
    assert permutation_p(x, x, MIXED, rng, 999) < 0.01


def test_p_equals_the_share_of_all_permutations(rng):
    """Eight scenarios of one item: all 40,320 permutations can be listed."""
    clusters = Clusters.of([f"s{k}" for k in range(8)])
    x = rng.standard_normal(8)
    y = x + 1.2 * rng.standard_normal(8)
    every = np.abs(pearson(x[np.array(list(permutations(range(8))))], y))
    exact = (every >= abs(float(pearson(x, y))) - 1e-12).mean()
    assert 0.005 < exact < 0.5
    p = permutation_p(x, y, clusters, rng, 20_000)
    assert abs(p - exact) < 4 * np.sqrt(exact * (1 - exact) / 20_000)


def test_p_counts_itself_among_the_permutations(rng):
    x, y = clustered(rng, EVEN, 0.2)
    null = permuted_correlations(x[None], y[None], EVEN, np.random.default_rng(1), 99)[:, 0]
    beyond = sum(abs(r) >= abs(float(pearson(x, y))) for r in null)
    assert permutation_p(x, y, EVEN, np.random.default_rng(1), 99) == (beyond + 1) / 100
    assert permutation_p(x, -3 * x + 1, EVEN, rng, 99) == 1 / 100


@pytest.mark.parametrize("clusters", [EVEN, UNEVEN, MIXED], ids=["even", "uneven", "mixed"])
def test_null_is_rejected_five_times_in_a_hundred(clusters):
    """Controls: permuting items one by one rejects far too often; a true effect is seen."""
    rng = np.random.default_rng(21)
    alone = Clusters(np.arange(clusters.n_items))
    whole = single = seen = 0
    for _ in range(400):
        x, y = clustered(rng, clusters, 0.6)
        whole += permutation_p(x, y, clusters, rng, 99) <= 0.05
        single += permutation_p(x, y, alone, rng, 99) <= 0.05
        seen += permutation_p(x, y + x, clusters, rng, 99) <= 0.05
    assert 0.02 <= whole / 400 <= 0.085
    assert single / 400 > 0.12
    assert seen / 400 > 0.8


def test_band_and_p_equal_a_loop(rng):
    x, y = rng.standard_normal((2, 5, 68))
    y[2] += 0.5 * x[2]
    band, p = max_band(x, y, EVEN, np.random.default_rng(2), 199)
    null = permuted_correlations(x, y, EVEN, np.random.default_rng(2), 199)
    largest = [max(abs(r) for r in row) for row in null]
    assert band == pytest.approx(np.quantile(largest, 0.95))
    for layer in range(5):
        observed = abs(np.corrcoef(x[layer], y[layer])[0, 1])
        assert p[layer] == (sum(each >= observed for each in largest) + 1) / 200


def test_band_widens_with_the_number_of_layers(rng):
    x, y = rng.standard_normal((2, 24, 68))
    narrow = max_band(x[:1], y[:1], EVEN, np.random.default_rng(2), 499)[0]
    wide = max_band(x, y, EVEN, np.random.default_rng(2), 499)[0]
    assert narrow == pytest.approx(1.96 / np.sqrt(68), rel=0.15)
    assert wide > 1.3 * narrow


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, -5.3])
def test_constant_layer_is_left_out_of_the_band(rng, constant):
    x, y = rng.standard_normal((2, 3, 68))
    x[1] = constant
    band, p = max_band(x, y, EVEN, np.random.default_rng(2), 199)
    without, _ = max_band(x[[0, 2]], y[[0, 2]], EVEN, np.random.default_rng(2), 199)
    assert np.isnan(p).tolist() == [False, True, False]
    assert band == pytest.approx(without)


def test_no_band_where_every_layer_is_constant(rng):
    band, p = max_band(np.ones((2, 68)), rng.standard_normal((2, 68)), EVEN, rng, 19)
    assert np.isnan(band)
    assert np.isnan(p).all()


def test_same_seed_gives_the_same_permutations(rng):
    x, y = rng.standard_normal((2, 2, 68))
    one, two, other = (
        permuted_correlations(x, y, EVEN, np.random.default_rng(seed), 50) for seed in (0, 0, 1)
    )
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != other.tobytes()


@pytest.mark.parametrize("constant", [1.0, 0.1])
def test_constant_rating_has_no_p(rng, constant):
    """Nothing was measured, so the smallest p there is would be the worst answer."""
    p = permutation_p(np.full(68, constant), rng.standard_normal(68), EVEN, rng, 99)
    assert np.isnan(p)
