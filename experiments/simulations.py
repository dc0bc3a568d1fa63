"""Simulated ratings whose correlation and scenarios are known, and what the statistics find.

Used by ``calibration.py``. As in the stimuli, the four items of a scenario have one moral level,
and their secondary ratings share a part: the within-scenario correlation. Every function returns
one row a condition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest, pearsonr

from entangle_lens.statistics import (
    Clusters,
    correlation_estimate,
    max_band,
    pearson,
    permutation_p,
)

ITEMS_A_SCENARIO = 4
ALPHA = 0.05


@dataclass(frozen=True)
class Size:
    """How many tables of ratings are simulated, and how often each is resampled."""

    simulations: int
    resamples: int


def ratings(
    rng: np.random.Generator, n_scenarios: int, r: float, within: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return moral and secondary ratings that correlate by ``r``."""
    moral = _shared_in_scenarios(rng, n_scenarios, 1.0)
    noise = _shared_in_scenarios(rng, n_scenarios, within)
    return moral, r * moral + np.sqrt(1 - r**2) * noise


def false_positives(rng: np.random.Generator, size: Size, n_scenarios: int = 17) -> pd.DataFrame:
    """How often is a correlation of zero called one? By scenarios, and item by item."""
    rows = []
    for within in (0.0, 0.1, 0.3, 0.5):
        tests = [
            (
                permutation_p(x, y, clusters, rng, size.resamples) < ALPHA,
                not _holds(correlation_estimate(x, y, clusters, rng, size.resamples), 0.0),
                pearsonr(x, y).pvalue < ALPHA,
            )
            for x, y, clusters in _tables(rng, size, n_scenarios, 0.0, within)
        ]
        by_scenario, interval, naive = np.mean(tests, axis=0)
        rows.append(
            {
                "within": within,
                "scenario permutation": by_scenario,
                "scenario interval": interval,
                "items as independent": naive,
            }
        )
    return pd.DataFrame(rows)


def coverage(rng: np.random.Generator, size: Size, within: float = 0.3) -> pd.DataFrame:
    """How often does the 95 % interval hold the true correlation, and does it exclude zero?"""
    rows = []
    for r in (0.0, 0.3, 0.6):
        for n_scenarios in (17, 36, 72):
            estimates = [
                correlation_estimate(x, y, clusters, rng, size.resamples)
                for x, y, clusters in _tables(rng, size, n_scenarios, r, within)
            ]
            rows.append(
                {
                    "r": r,
                    "scenarios": n_scenarios,
                    "coverage": np.mean([_holds(each, r) for each in estimates]),
                    "excludes zero": np.mean([not _holds(each, 0.0) for each in estimates]),
                }
            )
    return pd.DataFrame(rows)


def layer_choice(rng: np.random.Generator, size: Size, n_scenarios: int = 17) -> pd.DataFrame:
    """How often is some layer called correlated where none is, by three ways of picking it?

    Layers are autocorrelated (.97 from one to the next). A layer that is picked without a look at
    the correlation is any fixed one.
    """
    rows = []
    clusters = _clusters(n_scenarios)
    for n_layers in (28, 64):
        tests = []
        for _ in range(size.simulations):
            x, y = (_layers(rng, n_scenarios, n_layers) for _ in range(2))
            band, _ = max_band(x, y, clusters, rng, size.resamples)
            observed = np.abs(pearson(x, y))
            largest = int(observed.argmax())
            fixed = permutation_p(x[0], y[0], clusters, rng, size.resamples)
            picked = permutation_p(x[largest], y[largest], clusters, rng, size.resamples)
            tests.append((fixed < ALPHA, observed.max() > band, picked < ALPHA))
        validity, by_band, by_largest = np.mean(tests, axis=0)
        rows.append(
            {
                "layers": n_layers,
                "picked by validity": validity,
                "max-statistic band": by_band,
                "picked by the largest r": by_largest,
            }
        )
    return pd.DataFrame(rows)


def _tables(
    rng: np.random.Generator, size: Size, n_scenarios: int, r: float, within: float
) -> Iterator[tuple[np.ndarray, np.ndarray, Clusters]]:
    clusters = _clusters(n_scenarios)
    for _ in range(size.simulations):
        yield *ratings(rng, n_scenarios, r, within), clusters


def _clusters(n_scenarios: int) -> Clusters:
    return Clusters.of([str(number // ITEMS_A_SCENARIO) for number in range(4 * n_scenarios)])


def _shared_in_scenarios(rng: np.random.Generator, n_scenarios: int, within: float) -> np.ndarray:
    shared = np.repeat(rng.standard_normal(n_scenarios), ITEMS_A_SCENARIO)
    own = rng.standard_normal(n_scenarios * ITEMS_A_SCENARIO)
    return np.sqrt(within) * shared + np.sqrt(1 - within) * own


def _layers(rng: np.random.Generator, n_scenarios: int, n_layers: int) -> np.ndarray:
    carried = 0.97
    layers = [_shared_in_scenarios(rng, n_scenarios, 0.3)]
    for _ in range(n_layers - 1):
        new = _shared_in_scenarios(rng, n_scenarios, 0.3)
        layers.append(carried * layers[-1] + np.sqrt(1 - carried**2) * new)
    return np.stack(layers)


def meets(rate: float, simulations: int, low: float, high: float) -> bool:
    """Say whether a simulated rate is compatible with a bar, at 99 % given the simulations."""
    interval = binomtest(round(rate * simulations), simulations).proportion_ci(0.99)
    return bool(interval.high >= low and interval.low <= high)


def _holds(estimate, true: float) -> bool:  # type: ignore[no-untyped-def]
    return estimate.low <= true <= estimate.high
