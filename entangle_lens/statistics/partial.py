"""Correlations with covariates (length, word frequency, price) taken out."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from entangle_lens.errors import EntangleError
from entangle_lens.statistics.bootstrap import draw_counts, interval_method, scenario_interval
from entangle_lens.statistics.correlation import Clusters, centred, pearson
from entangle_lens.statistics.estimate import Estimate
from entangle_lens.statistics.intervals import N_RESAMPLES
from entangle_lens.statistics.permutation import can_be_dealt, permuted_items, turned_signs

_NOTHING_LEFT = 1e-10
_CHUNK_ELEMENTS = 20_000_000


def partial_correlation(
    x: Float[np.ndarray, " items"],
    y: Float[np.ndarray, " items"],
    covariates: Float[np.ndarray, "covariates items"],
) -> float:
    """Return the correlation of x and y with the covariates taken out of both.

    r(x - Z b_x, y - Z b_y), where Z holds an intercept and the covariates and b are the least
    squares coefficients; equal to -P_xy / sqrt(P_xx P_yy) with P the inverse of the covariance
    matrix of x, y and the covariates (Yule 1907). Constant and collinear covariates take out
    what they span and no more. NaN where nothing is left of x or y. Missing values in a
    covariate, and covariates that leave fewer than two items over, are errors.
    """
    basis = covariate_basis(covariates)
    return float(pearson(residuals(x, basis), residuals(y, basis)))


def semipartial_correlation(
    x: Float[np.ndarray, " items"],
    y: Float[np.ndarray, " items"],
    covariates: Float[np.ndarray, "covariates items"],
) -> float:
    """Return the correlation of y, as it is, with x less what the covariates explain of it.

    r(x - Z b_x, y); its square is what x adds to the R^2 of a regression of y on the covariates
    (Cohen & Cohen 1983). Covariates are treated as in ``partial_correlation``.
    """
    return float(pearson(residuals(x, covariate_basis(covariates)), y))


def partial_correlation_estimate(
    x: Float[np.ndarray, " items"],
    y: Float[np.ndarray, " items"],
    covariates: Float[np.ndarray, "covariates items"],
    clusters: Clusters,
    rng: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
    interval: str = "fisher",
) -> Estimate:
    """Estimate the partial correlation with a scenario-clustered 95 % interval and p.

    Every resample of scenarios takes the covariates out anew. The interval is that of
    ``correlation_estimate``, with one degree of freedom less for each independent covariate. p
    permutes what is left of x by whole scenarios and takes the covariates out again (Freedman &
    Lane 1983). NaN throughout where nothing is left of x or y.
    """
    clusters.check(x=x, y=y, covariates=covariates)
    basis = covariate_basis(covariates)
    method = f"partial, {interval_method(interval)}"
    df = clusters.n_clusters - 2 - len(basis)
    if df < 1:
        raise EntangleError(
            f"{len(basis)} independent covariates were given, and {clusters.n_clusters} "
            f"scenarios carry at most {clusters.n_clusters - 3}"
        )
    x, y = residuals(x, basis), residuals(y, basis)
    r = float(pearson(x, y))
    if not np.isfinite(r):
        return Estimate(r, r, r, r, clusters.n_items, clusters.n_clusters, method)
    sums = _cross_products(x, y, basis, clusters)
    counts = draw_counts(clusters, rng, n_resamples)
    low, high = scenario_interval(
        r, lambda rows: _partials_of_counts(rows, sums), counts, clusters, interval, df
    )
    p = _permutation_p(x, y, basis, clusters, rng, n_resamples)
    n_items, n_scenarios = clusters.n_items, clusters.n_clusters
    return Estimate(r, low, high, p, n_items, n_scenarios, method, n_resamples)


def partial_p(
    x: Float[np.ndarray, " items"],
    y: Float[np.ndarray, " items"],
    covariates: Float[np.ndarray, "covariates items"],
    clusters: Clusters,
    rng: np.random.Generator,
    n_permutations: int = N_RESAMPLES,
) -> float:
    """Return the scenario-permutation p of the partial correlation; NaN where there is none."""
    basis = covariate_basis(covariates)
    x, y = residuals(x, basis), residuals(y, basis)
    if not (x.any() and y.any()):
        return float("nan")
    return _permutation_p(x, y, basis, clusters, rng, n_permutations)


def covariate_basis(
    covariates: Float[np.ndarray, "covariates items"],
) -> Float[np.ndarray, "rank items"]:
    """Return orthonormal rows that span the covariates less their means.

    Their number is that of independent covariates: one that is constant, or a combination of
    others, adds no row.
    """
    missing = np.flatnonzero(~np.isfinite(covariates).all(1))
    if len(missing):
        raise EntangleError(
            f"covariate {missing[0] + 1} of {len(covariates)} holds missing values; "
            "leave out those items or that covariate"
        )
    rows = centred(covariates)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(length > 0, length, 1)
    _, sizes, axes = np.linalg.svd(rows, full_matrices=False)
    basis = axes[sizes > _NOTHING_LEFT * max(rows.shape)]
    if covariates.shape[1] - len(basis) < 3:
        raise EntangleError(
            f"{len(basis)} independent covariates leave nothing to correlate in "
            f"{covariates.shape[1]} items; give at most {max(covariates.shape[1] - 3, 0)}"
        )
    return np.asarray(basis)


def residuals(
    x: Float[np.ndarray, "... items"], basis: Float[np.ndarray, "rank items"]
) -> Float[np.ndarray, "... items"]:
    """Return x less its mean and its projection on ``basis``; exactly zero where nothing is left.

    Rounding leaves a trace of what was taken out, and that trace would correlate.
    """
    whole = centred(x)
    left = whole - (whole @ basis.T) @ basis
    left -= (left @ basis.T) @ basis
    length, was = (np.linalg.norm(each, axis=-1, keepdims=True) for each in (left, whole))
    return np.where(length <= _NOTHING_LEFT * was, 0.0, left)


def _cross_products(
    x: Float[np.ndarray, " items"],
    y: Float[np.ndarray, " items"],
    basis: Float[np.ndarray, "rank items"],
    clusters: Clusters,
) -> Float[np.ndarray, "clusters columns columns"]:
    """Return each scenario's sums of products of all pairs of intercept, covariates, x and y."""
    scale = np.sqrt(len(x))
    rows = np.stack([np.ones_like(x), *(basis * scale), x / x.std(), y / y.std()])
    return np.asarray(np.moveaxis(clusters.sums(rows[:, None] * rows[None]), -1, 0))


def _partials_of_counts(
    counts: Int[np.ndarray, "rows clusters"],
    sums: Float[np.ndarray, "clusters columns columns"],
) -> Float[np.ndarray, " rows"]:
    """Return the partial correlation with every scenario counted as often as a row says.

    With W the intercept and covariates and V = (x, y), the products of the residuals are
    V'V - V'W (W'W)^+ W'V. A covariate that is constant in a resample takes out nothing there.
    """
    total = np.einsum("rc,cij->rij", counts, sums, optimize=True)
    ww, wv, vv = total[:, :-2, :-2], total[:, :-2, -2:], total[:, -2:, -2:]
    inverse = np.linalg.pinv(ww, rcond=_NOTHING_LEFT, hermitian=True)
    left = vv - np.swapaxes(wv, 1, 2) @ inverse @ wv
    with np.errstate(invalid="ignore", divide="ignore"):
        r = left[:, 0, 1] / np.sqrt(left[:, 0, 0] * left[:, 1, 1])
    return np.asarray(np.clip(r, -1.0, 1.0))


def _permutation_p(
    x: Float[np.ndarray, " items"],
    y: Float[np.ndarray, " items"],
    basis: Float[np.ndarray, "rank items"],
    clusters: Clusters,
    rng: np.random.Generator,
    n_permutations: int,
) -> float:
    """Return (b + 1) / (B + 1) for residuals x and y, x permuted and freed of the basis again.

    y is free of the basis already, so that only the length of the permuted x changes. Scenarios of
    mixed sizes have the signs of their shares turned instead.
    """
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    if not can_be_dealt(clusters):
        turned = turned_signs(clusters, rng, n_permutations) @ clusters.sums(x * y)
        return (int(np.sum(np.abs(turned) >= abs(x @ y) - 1e-12)) + 1) / (n_permutations + 1)
    beyond, chunk = 0, max(1, _CHUNK_ELEMENTS // len(x))
    for start in range(0, n_permutations, chunk):
        moved = x[permuted_items(clusters, rng, min(chunk, n_permutations - start))]
        length = np.sqrt(np.maximum(1 - ((moved @ basis.T) ** 2).sum(1), _NOTHING_LEFT))
        beyond += int(np.sum(np.abs(moved @ y) / length >= abs(x @ y) - 1e-12))
    return (beyond + 1) / (n_permutations + 1)
