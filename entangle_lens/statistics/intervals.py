"""Scenario-cluster bootstrap intervals for correlations and for their changes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student_t

from entangle_lens.statistics.correlation import Clusters, centred, pearson
from entangle_lens.statistics.estimate import Estimate
from entangle_lens.statistics.permutation import permutation_p

N_RESAMPLES = 10_000
_NEARLY_ONE = 1 - 1e-12


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
    x, y = centred(x), centred(y)
    n_clusters = clusters.n_clusters
    counts = rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=n_resamples)
    sums = np.stack([clusters.sums(v) for v in (x, y, x * x, y * y, x * y)])
    sx, sy, sxx, syy, sxy = np.einsum("rc,kpc->krp", counts, sums, optimize=True)
    n = (counts @ clusters.sums(np.ones(clusters.n_items)))[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (sxy - sx * sy / n) / np.sqrt((sxx - sx * sx / n) * (syy - sy * sy / n))
    return np.asarray(np.clip(r, -1.0, 1.0))


def correlation_estimate(
    x: Float[np.ndarray, " items"],
    y: Float[np.ndarray, " items"],
    clusters: Clusters,
    rng: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
) -> Estimate:
    """Estimate Pearson's r with a scenario-clustered 95 % interval and permutation p.

    The interval is tanh(z +- t se): z = atanh(r), se the standard deviation of z over scenario
    bootstrap samples, t the .975 quantile of Student's t with (scenarios - 2) degrees of
    freedom. In simulation it covers better than the percentile interval at 17 scenarios. A
    correlation that does not exist (a constant rating) is NaN throughout.
    """
    r = float(pearson(x, y))
    n_items, n_scenarios = clusters.n_items, clusters.n_clusters
    method = "scenario bootstrap, Fisher z, t"
    if not np.isfinite(r):
        return Estimate(r, r, r, r, n_items, n_scenarios, method)
    resampled = resampled_correlations(x[None], y[None], clusters, rng, n_resamples)[:, 0]
    half = _t_quantile(n_scenarios) * np.nanstd(_fisher_z(resampled), ddof=1)
    z = _fisher_z(np.asarray(r))
    p = permutation_p(x, y, clusters, rng, n_resamples)
    return Estimate(
        r, float(np.tanh(z - half)), float(np.tanh(z + half)), p, n_items, n_scenarios, method
    )


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
    x, y = (np.stack(side) for side in zip(before, after, strict=True))
    r_before, r_after = pearson(x, y)
    change = float(r_after - r_before)
    half = float("nan")
    if np.isfinite(change):
        resampled = resampled_correlations(x, y, clusters, rng, n_resamples)
        spread = np.nanstd(resampled[:, 1] - resampled[:, 0], ddof=1)
        half = float(_t_quantile(clusters.n_clusters) * spread)
    return Estimate(
        change,
        change - half,
        change + half,
        float("nan"),
        clusters.n_items,
        clusters.n_clusters,
        "paired scenario bootstrap, t",
    )


def _t_quantile(n_scenarios: int) -> float:
    return float(student_t.ppf(0.975, n_scenarios - 2))


def _fisher_z(r: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.asarray(np.arctanh(np.clip(r, -_NEARLY_ONE, _NEARLY_ONE)))
