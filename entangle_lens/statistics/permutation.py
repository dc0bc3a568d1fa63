"""Scenario-level permutation: p-values, and bands that hold over all layers at once.

Scenarios are dealt out anew, each to a place of its own size. Where their sizes are so mixed that
most have no such place, the sign of each scenario's share in r is turned at random instead: every
share has mean zero where nothing correlates, whatever its size (the score form of the wild cluster
bootstrap; Cameron, Gelbach & Miller 2008, Kline & Santos 2012).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from entangle_lens.statistics.correlation import Clusters, centred, pearson

N_PERMUTATIONS = 10_000
_CHUNK_ELEMENTS = 20_000_000
_LEAST_DEALT = 0.5  # of the scenarios but one, how many can change places


def permuted_correlations(
    x: Float[np.ndarray, "pairs items"],
    y: Float[np.ndarray, "pairs items"],
    clusters: Clusters,
    rng: np.random.Generator,
    n_permutations: int = N_PERMUTATIONS,
) -> Float[np.ndarray, "permutations pairs"]:
    """Return each pair's correlation after dealing x's scenarios out anew.

    A scenario's block of x values moves as a whole to another scenario and is shuffled within
    it, so items are never treated as independent draws. Every pair sees the same permutations.
    Scenarios trade places only with scenarios of the same number of items. Where fewer than half
    could (:func:`can_be_dealt`), r = sum over scenarios of what each adds to it is given with
    signs drawn at random.
    """
    clusters.check(x=x, y=y)
    x, y = _standardised(x), _standardised(y)
    n_pairs, n_items = x.shape
    if not can_be_dealt(clusters):
        return (
            np.asarray(turned_signs(clusters, rng, n_permutations) @ clusters.sums(x * y).T)
            / n_items
        )
    out = np.empty((n_permutations, n_pairs))
    chunk = max(1, _CHUNK_ELEMENTS // (n_items * n_pairs))
    for start in range(0, n_permutations, chunk):
        rows = min(chunk, n_permutations - start)
        order = permuted_items(clusters, rng, rows)
        out[start : start + rows] = np.einsum("pri,pi->rp", x[:, order], y) / n_items
    return out


def can_be_dealt(clusters: Clusters) -> bool:
    """Say whether at least half of the scenarios have others of their size to change places with.

    Counted is every scenario but one of its size, of all scenarios but one.
    """
    n_sizes = len(np.unique(np.bincount(clusters.codes)))
    return clusters.n_clusters - n_sizes >= _LEAST_DEALT * (clusters.n_clusters - 1)


def turned_signs(
    clusters: Clusters, rng: np.random.Generator, n_permutations: int
) -> Float[np.ndarray, "permutations clusters"]:
    """Return a sign for each scenario's share in r, 1 or -1 at random."""
    return rng.choice([-1.0, 1.0], size=(n_permutations, clusters.n_clusters))


def permutation_p(
    x: Float[np.ndarray, " items"],
    y: Float[np.ndarray, " items"],
    clusters: Clusters,
    rng: np.random.Generator,
    n_permutations: int = N_PERMUTATIONS,
) -> float:
    """Return the two-sided scenario-permutation p-value of r(x, y): (b + 1) / (B + 1).

    NaN where there is no correlation, since a rating is constant.
    """
    clusters.check(x=x, y=y)
    observed = abs(float(pearson(x, y)))
    if not np.isfinite(observed):
        return float("nan")
    null = np.abs(permuted_correlations(x[None], y[None], clusters, rng, n_permutations)[:, 0])
    return float((np.sum(null >= observed - 1e-12) + 1) / (n_permutations + 1))


def max_band(
    x: Float[np.ndarray, "layers items"],
    y: Float[np.ndarray, "layers items"],
    clusters: Clusters,
    rng: np.random.Generator,
    n_permutations: int = N_PERMUTATIONS,
) -> tuple[float, Float[np.ndarray, " layers"]]:
    """Return the |r| that 95 % of permutations stay below at every layer, and p per layer.

    Both come from the null of max over layers of |r| (max-statistic), so they hold however the
    layer is picked. Layers where a projection is constant are left out of the maximum; where all
    are, there is no band (NaN).
    """
    clusters.check(x=x, y=y)
    null = np.abs(permuted_correlations(x, y, clusters, rng, n_permutations))
    observed = np.abs(pearson(x, y))
    known = np.isfinite(observed)
    if not known.any():
        return float("nan"), observed
    largest = null[:, known].max(1)
    exceed = (largest[:, None] >= observed[None] - 1e-12).sum(0)
    p = np.where(known, (exceed + 1) / (n_permutations + 1), np.nan)
    return float(np.quantile(largest, 0.95)), p


def _standardised(x: Float[np.ndarray, "... items"]) -> Float[np.ndarray, "... items"]:
    """Return x with mean 0 and variance 1 over the last axis; NaN where it is constant."""
    x = centred(x)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(x / x.std(-1, keepdims=True))


def permuted_items(
    clusters: Clusters, rng: np.random.Generator, n_permutations: int
) -> Int[np.ndarray, "permutations items"]:
    """Return for each permutation which item's x stands at each item's place."""
    order = np.empty((n_permutations, clusters.n_items), dtype=np.intp)
    sizes = np.bincount(clusters.codes)
    for size in np.unique(sizes):
        blocks = np.stack(
            [np.flatnonzero(clusters.codes == code) for code in np.flatnonzero(sizes == size)]
        )
        dealt = rng.permuted(
            np.broadcast_to(np.arange(len(blocks)), (n_permutations, len(blocks))), axis=1
        )
        moved = rng.permuted(blocks[dealt], axis=2)
        order[:, blocks] = moved
    return order
