"""Scenario-cluster bootstrap intervals for correlations and for their changes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from entangle_lens.statistics.bootstrap import (
    draw_counts,
    interval_method,
    scenario_interval,
    t_quantile,
)
from entangle_lens.statistics.correlation import Clusters, centred, pearson
from entangle_lens.statistics.estimate import Estimate
from entangle_lens.statistics.permutation import permutation_p

N_RESAMPLES = 10_000


def resampled_correlations(
    x: Float[np.ndarray, "pairs items"],
    y: Float[np.ndarray, "pairs items"],
    clusters: Clusters,
    rng: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
) -> Float[np.ndarray, "resamples pairs"]:
    """Return each pair's correlation in bootstrap samples of whole scenarios.

    Every pair sees the same resamples, so differences between columns are paired. A resample
    draws as many scenarios as there are, with replacement; its correlation follows from
    per-scenario sums alone: counts @ (n, sum x, sum y, sum xx, sum yy, sum xy).
    """
    clusters.check(x=x, y=y)
    return correlations_of_counts(x, y, clusters, draw_counts(clusters, rng, n_resamples))


def correlation_estimate(
    x: Float[np.ndarray, " items"],
    y: Float[np.ndarray, " items"],
    clusters: Clusters,
    rng: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
    interval: str = "fisher",
) -> Estimate:
    """Estimate Pearson's r with a scenario-clustered 95 % interval and permutation p.

    ``interval`` is "fisher" (the default), "percentile" or "bca" (Efron 1987, the acceleration
    by leaving out one scenario at a time). "fisher" is tanh(z +- t se): z = atanh(r), se the
    standard deviation of z over scenario bootstrap samples, t the .975 quantile of Student's t
    with (scenarios - 2) degrees of freedom; in simulation it covers better than the percentile
    interval at 17 scenarios. A correlation that does not exist (a constant rating) is NaN
    throughout. Arrays of another length than ``clusters`` and an unknown ``interval`` are errors.
    """
    clusters.check(x=x, y=y)
    method = interval_method(interval)
    r = float(pearson(x, y))
    n_items, n_scenarios = clusters.n_items, clusters.n_clusters
    if not np.isfinite(r):
        return Estimate(r, r, r, r, n_items, n_scenarios, method)

    def of_counts(counts: Int[np.ndarray, "rows clusters"]) -> Float[np.ndarray, " rows"]:
        return correlations_of_counts(x[None], y[None], clusters, counts)[:, 0]

    counts = draw_counts(clusters, rng, n_resamples)
    low, high = scenario_interval(r, of_counts, counts, clusters, interval, n_scenarios - 2)
    p = permutation_p(x, y, clusters, rng, n_resamples)
    return Estimate(r, low, high, p, n_items, n_scenarios, method, n_resamples)


def change_estimate(
    before: tuple[Float[np.ndarray, " items"], Float[np.ndarray, " items"]],
    after: tuple[Float[np.ndarray, " items"], Float[np.ndarray, " items"]],
    clusters: Clusters,
    rng: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
) -> Estimate:
    """Estimate the paired change r(after) - r(before), each an (x, y) pair over the same items.

    Both correlations are computed in the same scenario bootstrap samples; the interval is
    change +- t se with (scenarios - 2) degrees of freedom. ``p`` is NaN: the interval is the
    test.
    """
    for values in (*before, *after):
        clusters.check(values=values)
    x, y = (np.stack(side) for side in zip(before, after, strict=True))
    r_before, r_after = pearson(x, y)
    change = float(r_after - r_before)
    half = float("nan")
    if np.isfinite(change):
        resampled = resampled_correlations(x, y, clusters, rng, n_resamples)
        spread = np.nanstd(resampled[:, 1] - resampled[:, 0], ddof=1)
        half = float(t_quantile(clusters.n_clusters - 2) * spread)
    return Estimate(
        change,
        change - half,
        change + half,
        float("nan"),
        clusters.n_items,
        clusters.n_clusters,
        "paired scenario bootstrap, t",
    )


def correlations_of_counts(
    x: Float[np.ndarray, "pairs items"],
    y: Float[np.ndarray, "pairs items"],
    clusters: Clusters,
    counts: Int[np.ndarray, "rows clusters"],
) -> Float[np.ndarray, "rows pairs"]:
    """Return each pair's correlation with every scenario counted as often as a row says."""
    x, y = centred(x), centred(y)
    sums = np.stack([clusters.sums(v) for v in (x, y, x * x, y * y, x * y)])
    sx, sy, sxx, syy, sxy = np.einsum("rc,kpc->krp", counts, sums, optimize=True)
    n = (counts @ clusters.sums(np.ones(clusters.n_items)))[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (sxy - sx * sy / n) / np.sqrt((sxx - sx * sx / n) * (syy - sy * sy / n))
    return np.asarray(np.clip(r, -1.0, 1.0))
