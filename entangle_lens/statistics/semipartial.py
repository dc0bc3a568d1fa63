"""Semipartial correlations with one covariate: r of y with what z does not explain of x.

Where the levels of two factors of a design go together, the plain correlation of a rating with one
factor holds part of the other's effect. The semipartial correlation takes the other factor out of
the first, and equals the plain correlation where the two factors are crossed.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from entangle_lens.statistics.bootstrap import draw_counts, fisher_interval, t_quantile
from entangle_lens.statistics.correlation import Clusters, pearson
from entangle_lens.statistics.estimate import Estimate
from entangle_lens.statistics.intervals import (
    N_RESAMPLES,
    change_estimate,
    correlation_estimate,
    correlations_of_counts,
)
from entangle_lens.statistics.partial import partial_p

CROSSED = 1e-9
"""Two factors whose correlation is smaller than this differ from crossed ones by rounding only."""


def semipartial(
    x: Float[np.ndarray, " items"],
    y: Float[np.ndarray, "... items"],
    z: Float[np.ndarray, " items"],
) -> Float[np.ndarray, "..."]:
    """Return r(x - b z, y) for one or many y, b being the slope of x on z.

    (r_xy - r_xz r_zy) / sqrt(1 - r_xz^2), as in Cohen & Cohen (1983), equation 3.3.8. It is r_xy
    where x and z are crossed, and NaN where z explains all of x or y is constant.

    >>> x, z = np.array([-1.0, -1, 1, 1]), np.array([-1.0, 1, -1, 1])
    >>> semipartial(x, x + z, z).round(3), semipartial(x + z, z, z).round(3)
    (array(0.707), array(-0.))
    """
    return _semipartial(pearson(x, y), pearson(z, y), pearson(x, z))


def semipartial_estimate(
    x: Float[np.ndarray, " items"],
    y: Float[np.ndarray, " items"],
    z: Float[np.ndarray, " items"],
    clusters: Clusters,
    rng: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
) -> Estimate:
    """Estimate r(x - b z, y) with a scenario-clustered 95 % interval and p.

    Every resample of scenarios takes z out of x anew. The interval is that of
    :func:`correlation_estimate`, with one degree of freedom less. p is that of the partial
    correlation (Freedman & Lane 1983), from which this one differs by a factor that no permutation
    of x changes. Where x and z are crossed it is the estimate of the plain correlation. NaN
    throughout where z explains all of x or y is constant.
    """
    if _crossed(x, z):
        return correlation_estimate(x, y, clusters, rng, n_resamples)
    clusters.check(x=x, y=y, z=z)
    r, method = float(semipartial(x, y, z)), "semipartial, scenario bootstrap, Fisher z, t"
    if not np.isfinite(r):
        return Estimate(r, r, r, r, clusters.n_items, clusters.n_clusters, method)
    counts = draw_counts(clusters, rng, n_resamples)
    resampled = _of_counts(x, y, z, clusters, counts)
    low, high = fisher_interval(r, resampled, clusters.n_clusters - 3)
    p = partial_p(x, y, z[None], clusters, rng, n_resamples)
    n_items, n_scenarios = clusters.n_items, clusters.n_clusters
    return Estimate(r, low, high, p, n_items, n_scenarios, method, n_resamples)


def semipartial_change_estimate(
    x: Float[np.ndarray, " items"],
    before: Float[np.ndarray, " items"],
    after: Float[np.ndarray, " items"],
    z: Float[np.ndarray, " items"],
    clusters: Clusters,
    rng: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
) -> Estimate:
    """Estimate the paired change r(x - b z, after) - r(x - b z, before) over the same items.

    As :func:`change_estimate`, to which it is equal where x and z are crossed.
    """
    if _crossed(x, z):
        return change_estimate((x, before), (x, after), clusters, rng, n_resamples)
    clusters.check(x=x, before=before, after=after, z=z)
    change = float(semipartial(x, after, z) - semipartial(x, before, z))
    half = float("nan")
    if np.isfinite(change):
        counts = draw_counts(clusters, rng, n_resamples)
        one, other = (_of_counts(x, y, z, clusters, counts) for y in (before, after))
        half = float(t_quantile(clusters.n_clusters - 3) * np.nanstd(other - one, ddof=1))
    return Estimate(
        change,
        change - half,
        change + half,
        float("nan"),
        clusters.n_items,
        clusters.n_clusters,
        "semipartial, paired scenario bootstrap, t",
    )


def _crossed(x: Float[np.ndarray, " items"], z: Float[np.ndarray, " items"]) -> bool:
    return bool(abs(float(pearson(x, z))) < CROSSED)


def _of_counts(
    x: Float[np.ndarray, " items"],
    y: Float[np.ndarray, " items"],
    z: Float[np.ndarray, " items"],
    clusters: Clusters,
    counts: np.ndarray,
) -> Float[np.ndarray, " rows"]:
    """Return the semipartial correlation with every scenario counted as often as a row says."""
    pairs = np.stack([x, z, x]), np.stack([y, y, z])
    return _semipartial(*correlations_of_counts(*pairs, clusters, counts).T)


def _semipartial(
    r_xy: Float[np.ndarray, "..."], r_zy: Float[np.ndarray, "..."], r_xz: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (r_xy - r_xz * r_zy) / np.sqrt(1 - r_xz**2)
    r = np.where(np.isfinite(r), np.clip(r, -1.0, 1.0), np.nan)
    return np.asarray(np.where(np.abs(r_xz) < CROSSED, r_xy, r))
