"""Simulated ratings whose correlation and scenarios are known, and what the statistics find.

Used by ``calibration.py``. As in the stimuli, the items of a scenario (four, but for one table)
have one moral level, and their secondary ratings share a part: the within-scenario correlation.
Every function returns one row a condition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest, pearsonr

from entangle_lens.directions import LayerDirections
from entangle_lens.entanglement.selection import most_valid_layer
from entangle_lens.statistics import (
    Clusters,
    Estimate,
    auc,
    correlation_estimate,
    d_prime,
    max_band,
    pearson,
    permutation_p,
    resampled_correlations,
)
from entangle_lens.statistics.bootstrap import bca_interval, fisher_interval, percentile_interval

ITEMS_A_SCENARIO = 4
ALPHA = 0.05
WITHIN = (0.0, 0.1, 0.3, 0.5)
KINDS = ("coverage", "percentile", "BCa")  # the first is the default: Fisher z, t


@dataclass(frozen=True)
class Size:
    """How many tables of ratings are simulated, and how often each is resampled."""

    simulations: int
    resamples: int


def ratings(
    rng: np.random.Generator, clusters: Clusters, r: float, within: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return moral and secondary ratings that correlate by ``r``."""
    moral = _shared_in_scenarios(rng, clusters, 1.0)
    noise = _shared_in_scenarios(rng, clusters, within)
    return moral, r * moral + np.sqrt(1 - r**2) * noise


def false_positives(rng: np.random.Generator, size: Size) -> pd.DataFrame:
    """How often is a correlation of zero called one? By scenarios, and item by item."""
    return _alarms(rng, size, _clusters(17))


def mixed_sizes(rng: np.random.Generator, size: Size) -> pd.DataFrame:
    """The same where scenarios hold 3 to 18 items, each a number of its own."""
    clusters = Clusters.of([str(number) for number in range(16) for _ in range(3 + number)])
    power = [_power(rng, size, clusters, within) for within in WITHIN]
    return _alarms(rng, size, clusters).assign(**{"scenario test, r = .5": power})


def _alarms(rng: np.random.Generator, size: Size, clusters: Clusters) -> pd.DataFrame:
    rows = []
    for within in WITHIN:
        tests = [
            (
                permutation_p(x, y, clusters, rng, size.resamples) < ALPHA,
                not _holds(correlation_estimate(x, y, clusters, rng, size.resamples), 0.0),
                pearsonr(x, y).pvalue < ALPHA,
            )
            for x, y in _tables(rng, size, clusters, 0.0, within)
        ]
        by_scenario, interval, naive = np.mean(tests, axis=0)
        rows.append(
            {
                "within": within,
                "scenario test": by_scenario,
                "scenario interval": interval,
                "items as independent": naive,
            }
        )
    return pd.DataFrame(rows)


def _power(rng: np.random.Generator, size: Size, clusters: Clusters, within: float) -> float:
    tables = _tables(rng, size, clusters, 0.5, within)
    return float(np.mean([permutation_p(*each, clusters, rng, 200) < ALPHA for each in tables]))


def coverage(rng: np.random.Generator, size: Size, within: float = 0.3) -> pd.DataFrame:
    """How often does each kind of 95 % interval hold the true correlation? Does the default see it?

    All three kinds read the same resamples.
    """
    rows = []
    for r in (0.0, 0.3, 0.6):
        for n_scenarios in (17, 36, 72):
            clusters = _clusters(n_scenarios)
            tables = _tables(rng, size, clusters, r, within)
            bounds = np.stack([_intervals(x, y, clusters, rng, size.resamples) for x, y in tables])
            holds = (bounds[..., 0] <= r) & (r <= bounds[..., 1])
            zero = bounds[:, 0].prod(-1) <= 0
            rows.append(
                {
                    "r": r,
                    "scenarios": n_scenarios,
                    **dict(zip(KINDS, holds.mean(0), strict=True)),
                    "power": np.nan if r == 0 else 1 - zero.mean(),
                }
            )
    return pd.DataFrame(rows)


def _intervals(
    x: np.ndarray, y: np.ndarray, clusters: Clusters, rng: np.random.Generator, n_resamples: int
) -> np.ndarray:
    """Return the intervals of every kind, [kind, end]."""
    r = float(pearson(x, y))
    resampled = resampled_correlations(x[None], y[None], clusters, rng, n_resamples)[:, 0]
    left_out = np.array(
        [
            pearson(x[clusters.codes != code], y[clusters.codes != code])
            for code in range(clusters.n_clusters)
        ]
    )
    return np.array(
        [
            fisher_interval(r, resampled, clusters.n_clusters - 2),
            percentile_interval(resampled),
            bca_interval(r, resampled, left_out),
        ]
    )


def layer_choice(rng: np.random.Generator, size: Size, n_scenarios: int = 17) -> pd.DataFrame:
    """How often is some layer called correlated where none is, by three ways of picking it?

    Layers are autocorrelated (.97 from one to the next). The default rule looks at two directions'
    held-out prompts, whose separation rises and falls over the layers.
    """
    rows = []
    clusters = _clusters(n_scenarios)
    for n_layers in (28, 64):
        tests = []
        for _ in range(size.simulations):
            x, y = (_layers(rng, clusters, n_layers) for _ in range(2))
            band, _ = max_band(x, y, clusters, rng, size.resamples)
            observed = np.abs(pearson(x, y))
            largest = int(observed.argmax())
            valid = _valid_layer(rng, n_layers)
            picked = [
                permutation_p(x[layer], y[layer], clusters, rng, size.resamples) < ALPHA
                for layer in (valid, largest)
            ]
            tests.append((picked[0], observed.max() > band, picked[1]))
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


def _valid_layer(rng: np.random.Generator, n_layers: int) -> int:
    """Return the layer that the default rule picks, drawing again where it picks none."""
    while True:
        layer = most_valid_layer([_validated(rng, n_layers) for _ in range(2)], n_layers)
        if layer is not None:
            return layer


def _validated(rng: np.random.Generator, n_layers: int, n_pairs: int = 24) -> LayerDirections:
    """Return a direction whose held-out poles lie furthest apart at a layer drawn at random."""
    peak = rng.uniform(0.2, 0.7) * n_layers
    apart = 3 * np.exp(-(((np.arange(n_layers) - peak) / (0.3 * n_layers)) ** 2))
    high, low = (_carried(n_layers, lambda: rng.standard_normal(n_pairs)).T for _ in range(2))
    nothing = torch.zeros(n_layers, 1, dtype=torch.float64)
    return LayerDirections(
        "moral",
        "moral",
        tuple(range(n_layers)),
        nothing,
        nothing,
        split_half_cosine=np.ones(n_layers),
        auc=auc(high + apart, low),
        d_prime=d_prime(high + apart, low),
    )


def _tables(
    rng: np.random.Generator, size: Size, clusters: Clusters, r: float, within: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for _ in range(size.simulations):
        yield ratings(rng, clusters, r, within)


def _clusters(n_scenarios: int) -> Clusters:
    return Clusters.of([str(number // ITEMS_A_SCENARIO) for number in range(4 * n_scenarios)])


def _shared_in_scenarios(rng: np.random.Generator, clusters: Clusters, within: float) -> np.ndarray:
    shared = rng.standard_normal(clusters.n_clusters)[clusters.codes]
    own = rng.standard_normal(clusters.n_items)
    return np.sqrt(within) * shared + np.sqrt(1 - within) * own


def _layers(rng: np.random.Generator, clusters: Clusters, n_layers: int) -> np.ndarray:
    return _carried(n_layers, lambda: _shared_in_scenarios(rng, clusters, 0.3))


def _carried(n_layers: int, draw: Callable[[], np.ndarray]) -> np.ndarray:
    """Return one draw per layer, each correlated by .97 with that of the layer below."""
    carried = 0.97
    layers = [draw()]
    for _ in range(n_layers - 1):
        layers.append(carried * layers[-1] + np.sqrt(1 - carried**2) * draw())
    return np.stack(layers)


def meets(rate: float, low: float, high: float, simulations: int | None = None) -> bool:
    """Say whether a simulated rate lies within a bar.

    With few ``simulations`` (given), whether it is compatible with one that does, at 99 %.
    """
    if simulations is None:
        return low <= rate <= high
    interval = binomtest(round(rate * simulations), simulations).proportion_ci(0.99)
    return bool(interval.high >= low and interval.low <= high)


def _holds(estimate: Estimate, true: float) -> bool:
    return estimate.low <= true <= estimate.high
