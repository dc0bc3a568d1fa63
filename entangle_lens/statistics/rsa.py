"""Representational similarity: do two spaces put the same items far apart?"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata

from entangle_lens.errors import EntangleError, choices
from entangle_lens.statistics.correlation import Clusters, centred
from entangle_lens.statistics.estimate import Estimate
from entangle_lens.statistics.permutation import N_PERMUTATIONS, permuted_items

Metric = Literal["correlation", "cosine", "euclidean", "cityblock"]
METRICS: tuple[Metric, ...] = ("correlation", "cosine", "euclidean", "cityblock")
PRECOMPUTED = "precomputed"
_CHUNK_ELEMENTS = 4_000_000


def dissimilarity(
    x: Float[np.ndarray, "items d"], metric: str = "correlation"
) -> Float[np.ndarray, "items items"]:
    """Return the dissimilarity of every two items: symmetric, zeros on the diagonal.

    ``metric`` is "correlation" (1 - r, the usual one for activations), "cosine", "euclidean" or
    "cityblock"; one rating an item is ``rating[:, None]`` and needs one of the last two. An item
    without a dissimilarity (a constant row under "correlation") is an error.
    """
    known = next((name for name in METRICS if name == metric), None)
    if known is None:
        raise EntangleError(
            f"the metric {metric!r} is not known; choose one of: {choices(METRICS)}"
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix = squareform(pdist(x, known))
    lost = np.flatnonzero(np.isnan(matrix).any(1))
    if len(lost):
        worst = int(np.argmax(np.isnan(matrix).sum(1)))
        raise EntangleError(
            f"item {worst + 1} has no {metric} dissimilarity: its row is constant, zero or missing"
        )
    return np.asarray(matrix)


def rsa(
    a: Float[np.ndarray, "items d_a"],
    b: Float[np.ndarray, "items d_b"],
    clusters: Clusters,
    rng: np.random.Generator,
    metric: str = "correlation",
    n_permutations: int = N_PERMUTATIONS,
) -> Estimate:
    """Return how alike two spaces arrange the same items, with a scenario-permutation p.

    The value is Spearman's correlation of the upper triangles of the two dissimilarity matrices
    (Kriegeskorte, Mur & Bandettini 2008). With ``metric`` "precomputed", a and b are such
    matrices. p = (b + 1) / (B + 1) is one-sided (more alike than chance), permuting rows and
    columns of one matrix together by whole scenarios: pairs of items of one scenario stay such
    pairs, so that what both spaces owe to shared scenarios is no evidence. Scenarios trade places
    with those of their own size only, so p sees little where sizes are mixed. There is no interval
    (NaN). A matrix whose dissimilarities are all the same gives NaN.
    """
    first, second = (_matrix(each, metric, clusters) for each in (a, b))
    rows, columns = np.triu_indices(clusters.n_items, 1)
    ranks = _unit_ranks(first[rows, columns]), _unit_ranks(second[rows, columns])
    value = float(ranks[0] @ ranks[1])
    p = float("nan")
    if np.isfinite(value):
        moving = np.zeros_like(first)
        moving[rows, columns] = moving[columns, rows] = ranks[0]
        beyond = _count_beyond(value, moving, ranks[1], clusters, rng, n_permutations)
        p = (beyond + 1) / (n_permutations + 1)
    method = f"RSA ({metric}), Spearman, scenario permutation, one-sided"
    nan, n_items, n_scenarios = float("nan"), clusters.n_items, clusters.n_clusters
    return Estimate(value, nan, nan, p, n_items, n_scenarios, method, n_permutations)


def _matrix(
    x: Float[np.ndarray, "items d"], metric: str, clusters: Clusters
) -> Float[np.ndarray, "items items"]:
    clusters.check(rows=x[:, 0])
    if metric != PRECOMPUTED:
        if metric not in METRICS:
            known = choices((*METRICS, PRECOMPUTED))
            raise EntangleError(f"the metric {metric!r} is not known; choose one of: {known}")
        return dissimilarity(x, metric)
    if x.shape[0] != x.shape[1] or not np.allclose(x, x.T, equal_nan=False):
        raise EntangleError(
            f"a precomputed dissimilarity matrix is square and symmetric without missing values; "
            f"this one has shape {x.shape}"
        )
    return x


def _unit_ranks(values: Float[np.ndarray, " pairs"]) -> Float[np.ndarray, " pairs"]:
    """Return ranks less their mean, of length one; NaN where all values are tied."""
    ranks = centred(rankdata(values))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(ranks / np.linalg.norm(ranks))


def _count_beyond(
    value: float,
    moving: Float[np.ndarray, "items items"],
    fixed: Float[np.ndarray, " pairs"],
    clusters: Clusters,
    rng: np.random.Generator,
    n_permutations: int,
) -> int:
    """Return how many permutations of ``moving`` are at least as alike ``fixed`` as ``value``.

    Permuting items permutes ranks, so nothing is ranked again.
    """
    rows, columns = np.triu_indices(clusters.n_items, 1)
    beyond, chunk = 0, max(1, _CHUNK_ELEMENTS // len(rows))
    for start in range(0, n_permutations, chunk):
        order = permuted_items(clusters, rng, min(chunk, n_permutations - start))
        places = order[:, rows] * clusters.n_items + order[:, columns]
        beyond += int(np.sum(moving.ravel()[places] @ fixed >= value - 1e-12))
    return beyond
