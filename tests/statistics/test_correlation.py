"""Pearson's r against pandas, and arrays that do not fit their scenarios."""

import numpy as np
import pandas as pd
import pytest

import entangle_lens as el
from entangle_lens.statistics import (
    Clusters,
    change_estimate,
    correlation_estimate,
    leakage_slope,
    max_band,
    partial_correlation_estimate,
    pearson,
    permutation_p,
    permuted_correlations,
    resampled_correlations,
    rsa,
    variance_components,
)

CLUSTERS = Clusters.of([f"s{k}" for k in range(17) for _ in range(4)])

COLUMNS = {
    "plain": lambda x: x,
    "far from zero": lambda x: 1e6 + x,
    "far and narrow": lambda x: 1e6 + 1e-3 * x,
    "farther and narrow": lambda x: -1e9 + 1e-3 * x,
    "narrow": lambda x: 1 + 1e-9 * x,
    "huge": lambda x: 1e150 * x,
    "tiny": lambda x: 1e-120 * x,
    "skewed": lambda x: np.exp(5 * x),
    "one outlier": lambda x: np.where(np.arange(len(x)) == 3, 1e8, x),
    "whole numbers": lambda x: np.round(3 * x),
    "two values": lambda x: (x > 0).astype(float),
}


@pytest.mark.parametrize("scaled", COLUMNS.values(), ids=COLUMNS)
def test_pearson_equals_pandas_to_twelve_decimals(rng, scaled):
    for size in (5, 68, 1001):
        for rho in (0.0, 0.3, -0.99):
            u, v = rng.standard_normal((2, size))
            frame = pd.DataFrame({"x": scaled(u), "y": rho * u + v})
            theirs = frame["x"].corr(frame["y"])
            ours = float(pearson(frame["x"].to_numpy(), frame["y"].to_numpy()))
            assert abs(ours - theirs) < 5e-13
            assert abs(theirs) > 1e-6


def test_textbook_one_pass_formula_would_not_do(rng):
    """The control: the scales above are bad enough to break a careless formula."""
    x, y = 1e9 + 1e-3 * rng.standard_normal(68), rng.standard_normal(68)
    n = len(x)
    with np.errstate(invalid="ignore"):
        careless = (n * (x * y).sum() - x.sum() * y.sum()) / np.sqrt(
            (n * (x * x).sum() - x.sum() ** 2) * (n * (y * y).sum() - y.sum() ** 2)
        )
    assert not abs(careless - pd.Series(x).corr(pd.Series(y))) < 1e-3


SHORT = np.random.default_rng(0).standard_normal(67)
MANY = {
    "correlation_estimate": lambda rng: correlation_estimate(SHORT, SHORT, CLUSTERS, rng, 9),
    "change_estimate": lambda rng: change_estimate(
        (SHORT, SHORT), (SHORT, SHORT), CLUSTERS, rng, 9
    ),
    "resampled_correlations": lambda rng: resampled_correlations(
        SHORT[None], SHORT[None], CLUSTERS, rng, 9
    ),
    "permuted_correlations": lambda rng: permuted_correlations(
        SHORT[None], SHORT[None], CLUSTERS, rng, 9
    ),
    "permutation_p": lambda rng: permutation_p(SHORT, SHORT, CLUSTERS, rng, 9),
    "max_band": lambda rng: max_band(SHORT[None], SHORT[None], CLUSTERS, rng, 9),
    "partial_correlation_estimate": lambda rng: partial_correlation_estimate(
        SHORT, SHORT, SHORT[None], CLUSTERS, rng, 9
    ),
    "rsa": lambda rng: rsa(SHORT[:, None], SHORT[:, None], CLUSTERS, rng, "euclidean", 9),
    "leakage_slope": lambda rng: leakage_slope(SHORT, SHORT, SHORT, CLUSTERS),
    "variance_components": lambda rng: variance_components(SHORT[None, None], CLUSTERS),
    "sums": lambda rng: CLUSTERS.sums(SHORT),
}


@pytest.mark.parametrize("call", MANY.values(), ids=MANY)
def test_arrays_of_another_length_than_the_scenarios_are_one_clear_error(rng, call):
    with pytest.raises(el.EntangleError, match="67 items and the scenarios 68; give one value"):
        call(rng)


def test_error_names_the_array_that_does_not_fit():
    with pytest.raises(el.EntangleError, match=r"^ratings holds 67 items"):
        CLUSTERS.check(moral=np.ones(68), ratings=np.ones((3, 67)))
    CLUSTERS.check(moral=np.ones(68), ratings=np.ones((3, 68)))
