"""Many correlations over the same items, from the same resamples and the same permutations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.stats import rankdata

from entangle_lens.statistics.bootstrap import draw_counts, fisher_intervals
from entangle_lens.statistics.correlation import Clusters, pearson
from entangle_lens.statistics.partial import covariate_basis, residuals
from entangle_lens.statistics.permutation import can_be_dealt, permuted_items, turned_signs

_CHUNK_ELEMENTS = 10_000_000
_NOTHING_LEFT = 1e-10


@dataclass(frozen=True, eq=False)
class Draws:
    """Bootstrap samples and permutations of scenarios, shared by many correlations.

    ``counts`` says how often each scenario was drawn, ``order`` which item's x stands at each
    item's place. Where scenarios of mixed sizes cannot be dealt out, ``signs`` are those of their
    shares in r, and there is no order.
    """

    clusters: Clusters
    counts: Int[np.ndarray, "resamples clusters"]
    order: Int[np.ndarray, "permutations items"] | None
    signs: Float[np.ndarray, "permutations clusters"] | None

    @classmethod
    def make(
        cls, clusters: Clusters, rng: np.random.Generator, n_resamples: int, n_permutations: int
    ) -> Draws:
        """Draw scenarios with replacement, and deal them out anew."""
        counts = draw_counts(clusters, rng, n_resamples)
        if can_be_dealt(clusters):
            return cls(clusters, counts, permuted_items(clusters, rng, n_permutations), None)
        return cls(clusters, counts, None, turned_signs(clusters, rng, n_permutations))

    def of_scenarios(self) -> Draws:
        """Return the same draws for scenario means: one row per scenario."""
        codes, order = self.clusters.codes, self.order
        _, first = np.unique(codes, return_index=True)
        alone = Clusters(np.arange(self.clusters.n_clusters))
        moved = None if order is None else codes[order[:, first]]
        return Draws(alone, self.counts, moved, self.signs)


@dataclass(frozen=True, eq=False)
class ManyCorrelations:
    """Correlations of many pairs: ``low`` and ``high`` end 95 % intervals, ``p`` is two-sided.

    ``null`` holds each pair's correlation under every permutation, so that statistics over pairs
    can be tested too. NaN where one of a pair is constant.
    """

    r: Float[np.ndarray, " pairs"]
    low: Float[np.ndarray, " pairs"]
    high: Float[np.ndarray, " pairs"]
    p: Float[np.ndarray, " pairs"]
    null: Float32[np.ndarray, "permutations pairs"]


def correlate_many(
    x: Float[np.ndarray, "pairs items"],
    y: Float[np.ndarray, "pairs items"],
    covariate_sets: Sequence[Float[np.ndarray, "_ items"]],
    draws: Draws,
    *,
    ranks: bool = False,
) -> list[ManyCorrelations]:
    """Estimate each pair's (partial) correlation under each set of covariates.

    The intervals are those of ``correlation_estimate`` and ``partial_correlation_estimate``
    (Fisher z, t at scenarios - 2 - covariates degrees of freedom), p their permutation p. With
    ``ranks`` it is Spearman's correlation: of ranks, taken anew in every resample, covariates
    included. No covariate is an array of no rows. Without resamples there are no intervals (NaN).
    """
    draws.clusters.check(x=x, y=y)
    for covariates in covariate_sets:
        draws.clusters.check(covariates=covariates)
    if ranks:
        spreads = _resampled_ranks(x, y, covariate_sets, draws)
        x, y, *covariate_sets = (rankdata(each, axis=-1) for each in (x, y, *covariate_sets))
    else:
        spreads = [_resampled_values(x, y, covariates, draws) for covariates in covariate_sets]
    return [
        _estimate(x, y, covariate_basis(covariates), spread, draws)
        for covariates, spread in zip(covariate_sets, spreads, strict=True)
    ]


def _estimate(
    x: Float[np.ndarray, "pairs items"],
    y: Float[np.ndarray, "pairs items"],
    basis: Float[np.ndarray, "rank items"],
    resampled: Float[np.ndarray, "resamples pairs"],
    draws: Draws,
) -> ManyCorrelations:
    x, y = residuals(x, basis), residuals(y, basis)
    r = pearson(x, y)
    known = np.isfinite(r)
    df = draws.clusters.n_clusters - 2 - len(basis)
    low, high = (np.where(known, each, np.nan) for each in fisher_intervals(r, resampled, df))
    null = _permuted(x, y, basis, draws)
    beyond = (np.abs(null) >= np.abs(r) - 1e-12).sum(0)
    p = np.where(known, (beyond + 1) / (len(null) + 1), np.nan)
    return ManyCorrelations(r, low, high, p, null.astype(np.float32))


def _resampled_values(
    x: Float[np.ndarray, "pairs items"],
    y: Float[np.ndarray, "pairs items"],
    covariates: Float[np.ndarray, "covariates items"],
    draws: Draws,
) -> Float[np.ndarray, "resamples pairs"]:
    """Return partial correlations with every scenario counted as often as it was drawn.

    All sums of products are made once per scenario and added up by the counts.
    """
    basis = covariate_basis(covariates)
    x, y = (_scaled(residuals(each, basis)) for each in (x, y))
    w = np.concatenate([np.ones((1, x.shape[1])), basis * np.sqrt(x.shape[1])])

    def total(products: Float[np.ndarray, "... items"]) -> Float[np.ndarray, "resamples ..."]:
        sums = draws.clusters.sums(products)
        return np.moveaxis(sums @ draws.counts.T.astype(float), -1, 0)

    return _partial(
        total(w[:, None] * w),
        total(w[:, None] * x),
        total(w[:, None] * y),
        (total(x * x), total(y * y), total(x * y)),
    )


def _resampled_ranks(
    x: Float[np.ndarray, "pairs items"],
    y: Float[np.ndarray, "pairs items"],
    covariate_sets: Sequence[Float[np.ndarray, "_ items"]],
    draws: Draws,
) -> list[Float[np.ndarray, "resamples pairs"]]:
    """Return partial rank correlations under each set of covariates, every resample ranked anew."""
    weights = draws.counts[:, draws.clusters.codes]
    one = np.ones((1, *weights.shape))
    designs = [
        np.concatenate([one, _centred_ranks(each, weights)]).swapaxes(0, 1)
        for each in covariate_sets
    ]
    counted = [design * weights[:, None] for design in designs]
    wholes = [some @ design.swapaxes(1, 2) for some, design in zip(counted, designs, strict=True)]
    found = [np.empty((len(weights), len(x))) for _ in covariate_sets]
    chunk = max(1, _CHUNK_ELEMENTS // (weights.shape[1] * max(weights.shape)))
    for start in range(0, len(x), chunk):
        part = slice(start, start + chunk)
        u, v = (_centred_ranks(each[part], weights) for each in (x, y))
        squares = tuple(
            (one * other * weights).sum(-1).T for one, other in ((u, u), (v, v), (u, v))
        )
        by_item = [each.transpose(1, 2, 0) for each in (u, v)]
        for r, some, whole in zip(found, counted, wholes, strict=True):
            r[:, part] = _partial(whole, some @ by_item[0], some @ by_item[1], squares)
    return found


def _centred_ranks(
    values: Float[np.ndarray, "pairs items"], weights: Int[np.ndarray, "resamples items"]
) -> Float[np.ndarray, "pairs resamples items"]:
    """Return each item's rank less the mean rank, when item j stands ``weights`` j times.

    That is sum_j weight_j sign(x_i - x_j) / 2, ties sharing their mean rank; divided by the number
    of items. The sums are of whole numbers, so single precision holds them exactly.
    """
    signs = np.sign(values[:, None, :] - values[:, :, None]).astype(np.float32)
    sums = weights.astype(np.float32) @ signs
    return np.asarray(sums / (2.0 * weights.sum(1)[:, None]))


def _partial(
    ww: Float[np.ndarray, "resamples columns columns"],
    wx: Float[np.ndarray, "resamples columns pairs"],
    wy: Float[np.ndarray, "resamples columns pairs"],
    squares: tuple[Float[np.ndarray, "resamples pairs"], ...],
) -> Float[np.ndarray, "resamples pairs"]:
    """Return correlations of what W = (1, covariates) leaves: V'V - V'W (W'W)^+ W'V."""
    inverse = np.linalg.pinv(ww, rcond=_NOTHING_LEFT, hermitian=True)
    bx, by = inverse @ wx, inverse @ wy
    xx, yy, xy = squares
    left = (
        xx - np.einsum("rkp,rkp->rp", wx, bx),
        yy - np.einsum("rkp,rkp->rp", wy, by),
        xy - np.einsum("rkp,rkp->rp", wx, by),
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        r = left[2] / np.sqrt(left[0] * left[1])
    return np.asarray(np.clip(r, -1.0, 1.0))


def _permuted(
    x: Float[np.ndarray, "pairs items"],
    y: Float[np.ndarray, "pairs items"],
    basis: Float[np.ndarray, "rank items"],
    draws: Draws,
) -> Float[np.ndarray, "permutations pairs"]:
    """Return correlations of residuals, x dealt out anew and freed of the covariates again.

    Freedman & Lane (1983). y is free of the covariates already, so that only the length of the
    permuted x changes.
    """
    sizes = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    sizes[sizes == 0] = np.nan
    if draws.order is None:
        assert draws.signs is not None
        return np.asarray(draws.signs @ draws.clusters.sums(x * y).T / sizes)
    null = np.empty((len(draws.order), len(x)))
    for pair, (one, other) in enumerate(zip(x, y, strict=True)):
        moved = one[draws.order]
        taken = ((moved @ basis.T) ** 2).sum(1) / max(one @ one, _NOTHING_LEFT)
        null[:, pair] = moved @ other / np.sqrt(np.maximum(1 - taken, _NOTHING_LEFT))
    return null / sizes


def _scaled(x: Float[np.ndarray, "pairs items"]) -> Float[np.ndarray, "pairs items"]:
    """Return rows of variance 1, those that are zero left alone: sums then share one size."""
    size = x.std(-1, keepdims=True)
    return np.asarray(x / np.where(size > 0, size, 1.0))
