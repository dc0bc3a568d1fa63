"""The leak: how far the moral level of the design reaches into the secondary ratings.

r(moral level, secondary rating), with what the secondary level explains of the moral level taken
out of it. In a design that crosses the two levels there is nothing to take out, and it is the
plain correlation. No intervention on the model can change the levels, so a leak cannot be lowered
by breaking the moral ratings.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from entangle_lens.statistics import (
    Clusters,
    Estimate,
    semipartial,
    semipartial_change_estimate,
    semipartial_estimate,
)
from entangle_lens.stimuli import ItemSet


def leak(item_set: ItemSet, ratings: Float[np.ndarray, "... item"]) -> Float[np.ndarray, "..."]:
    """Return the leak into one or many rows of secondary ratings."""
    return semipartial(item_set.moral, ratings, item_set.level)


def estimate_leak(
    item_set: ItemSet,
    ratings: Float[np.ndarray, " item"],
    rng: np.random.Generator,
    n_resamples: int,
) -> Estimate:
    """Estimate the leak with a scenario-clustered interval and permutation p."""
    clusters = Clusters.of(item_set.scenario_ids)
    levels = item_set.moral, item_set.level
    return semipartial_estimate(levels[0], ratings, levels[1], clusters, rng, n_resamples)


def estimate_leak_change(
    item_set: ItemSet,
    before: Float[np.ndarray, " item"],
    after: Float[np.ndarray, " item"],
    rng: np.random.Generator,
    n_resamples: int,
) -> Estimate:
    """Estimate the paired change of the leak between two sets of ratings of the same items."""
    clusters = Clusters.of(item_set.scenario_ids)
    moral, level = item_set.moral, item_set.level
    return semipartial_change_estimate(moral, before, after, level, clusters, rng, n_resamples)
