"""What every interval here is made of: resampled scenarios, and the ways to read an interval."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, ndtri
from scipy.stats import t as student_t

from entangle_lens.errors import EntangleError, choices
from entangle_lens.statistics.correlation import Clusters

INTERVALS = {
    "fisher": "scenario bootstrap, Fisher z, t",
    "percentile": "scenario bootstrap, percentile",
    "bca": "scenario bootstrap, BCa",
}
_NEARLY_ONE = 1 - 1e-12
_TAILS = np.array([0.025, 0.975])


def draw_counts(
    clusters: Clusters, rng: np.random.Generator, n_resamples: int
) -> Int[np.ndarray, "resamples clusters"]:
    """Return how often each scenario was drawn: as many draws as scenarios, with replacement."""
    n = clusters.n_clusters
    return np.asarray(rng.multinomial(n, np.full(n, 1 / n), size=n_resamples))


def leave_one_out(clusters: Clusters) -> Int[np.ndarray, "clusters clusters"]:
    """Return the counts of the jackknife: every scenario once, but for one in turn."""
    return np.asarray(1 - np.eye(clusters.n_clusters, dtype=np.int64))


def interval_method(interval: str) -> str:
    """Return the name of the method behind ``interval``; an unknown word is an error."""
    if interval not in INTERVALS:
        raise EntangleError(
            f"the interval {interval!r} is not known; choose one of: {choices(INTERVALS)}"
        )
    return INTERVALS[interval]


def scenario_interval(
    r: float,
    of_counts: Callable[[Int[np.ndarray, "rows clusters"]], Float[np.ndarray, " rows"]],
    counts: Int[np.ndarray, "resamples clusters"],
    clusters: Clusters,
    interval: str,
    df: int,
) -> tuple[float, float]:
    """Return the 95 % interval of a statistic that follows from how often each scenario counts.

    ``of_counts`` gives the statistic for each row of ``counts``; ``df`` are the degrees of
    freedom of the "fisher" interval.
    """
    resampled = of_counts(counts)
    if interval == "fisher":
        return fisher_interval(r, resampled, df)
    if interval == "percentile":
        return percentile_interval(resampled)
    return bca_interval(r, resampled, of_counts(leave_one_out(clusters)))


def fisher_interval(
    r: float, resampled: Float[np.ndarray, " resamples"], df: int
) -> tuple[float, float]:
    """Return tanh(z +- t se): z = atanh(r), se that of the resampled z, t at ``df`` degrees."""
    low, high = fisher_intervals(np.asarray(r), resampled, df)
    return float(low), float(high)


def fisher_intervals(
    r: Float[np.ndarray, "..."], resampled: Float[np.ndarray, "resamples ..."], df: int
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Return the intervals of many correlations; NaN where one does not exist."""
    half = t_quantile(df) * _spread(fisher_z(resampled))
    z = fisher_z(r)
    low, high = np.tanh(z - half), np.tanh(z + half)
    # The z of a perfect r is cut off, and would leave r outside.
    return np.asarray(np.minimum(low, r)), np.asarray(np.maximum(high, r))


def _spread(z: Float[np.ndarray, "resamples ..."]) -> Float[np.ndarray, "..."]:
    """Return the standard deviation over the resamples in which there is a z; NaN below two."""
    known = np.isfinite(z)
    n = known.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, z, 0).sum(0) / n
        squares = (np.where(known, z - mean, 0) ** 2).sum(0)
        return np.asarray(np.sqrt(squares / np.where(n > 1, n - 1, np.nan)))


def percentile_interval(resampled: Float[np.ndarray, " resamples"]) -> tuple[float, float]:
    """Return the 2.5th and the 97.5th percentile of the resampled values (Efron 1979)."""
    low, high = np.nanquantile(resampled, _TAILS)
    return float(low), float(high)


def bca_interval(
    r: float,
    resampled: Float[np.ndarray, " resamples"],
    jackknife: Float[np.ndarray, " clusters"],
) -> tuple[float, float]:
    """Return the bias-corrected and accelerated interval (Efron 1987).

    Equations 14.10, 14.14 and 14.15 of Efron & Tibshirani (1993): the percentiles read are
    Phi(z0 + (z0 + z) / (1 - a (z0 + z))) at z = -1.96 and 1.96; z0 = Phi^-1 of the share of
    resampled values below ``r`` (ties half), a = sum d^3 / (6 (sum d^2)^1.5) with d the mean of
    ``jackknife`` less each value. A value beyond all resamples counts as half a resample away
    from them, so that z0 is finite.
    """
    resampled = resampled[np.isfinite(resampled)]
    below = (np.mean(resampled < r) + np.mean(resampled <= r)) / 2
    z0 = ndtri(np.clip(below, 0.5 / len(resampled), 1 - 0.5 / len(resampled)))
    d = np.nanmean(jackknife) - jackknife[np.isfinite(jackknife)]
    squares = np.sum(d**2)
    acceleration = np.sum(d**3) / (6 * squares**1.5) if squares > 0 else 0.0
    z = z0 + ndtri(_TAILS)
    low, high = np.quantile(resampled, ndtr(z0 + z / (1 - acceleration * z)))
    return float(low), float(high)


def t_quantile(df: int) -> float:
    """Return the .975 quantile of Student's t."""
    return float(student_t.ppf(0.975, df))


def fisher_z(r: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return atanh(r), finite at -1 and 1."""
    return np.asarray(np.arctanh(np.clip(r, -_NEARLY_ONE, _NEARLY_ONE)))
