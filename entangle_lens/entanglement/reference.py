"""What a model's correlations are held against: people's, or what the design itself brings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from entangle_lens.entanglement.design import MORAL
from entangle_lens.entanglement.leak import leak
from entangle_lens.entanglement.ratings import Ratings
from entangle_lens.statistics import Clusters, Estimate, change_estimate, pearson
from entangle_lens.stimuli import ItemSet


@dataclass(frozen=True)
class Reference:
    """The correlations of a rater without entanglement, on the same items.

    ``value`` is r(moral rating, secondary rating): people's, or the design's own correlation of the
    two levels, which a rater who rates exactly by the levels reproduces. ``leak`` is people's leak,
    or 0. ``excess`` is the model's r less ``value``, paired over scenarios; None in a crossed
    design without people, where it is r itself. ``design`` is r(moral level, secondary level).
    """

    value: float
    leak: float
    source: str
    excess: Estimate | None
    design: float


def measure_reference(
    item_set: ItemSet,
    moral: Ratings,
    secondary: Ratings,
    human: pd.DataFrame | None,
    rng: np.random.Generator,
    n_resamples: int,
) -> Reference:
    """Take people's ratings of the items that they rated on both values, else the levels."""
    people = _people(item_set, human)
    design = item_set.design_correlation
    if people is None:
        if design == 0:
            return Reference(0.0, 0.0, "design", None, design)
        levels, rated = (item_set.moral, item_set.level), np.ones(len(item_set), dtype=bool)
        source, leak_reference = "design", 0.0
    else:
        rated, levels = people
        own = ItemSet(item_set.secondary, item_set.table[rated])
        source, leak_reference = f"people, {len(own)} items", float(leak(own, levels[1]))
    clusters = Clusters.of(item_set.table["scenario_id"][rated].tolist())
    ratings = moral.mean[rated], secondary.mean[rated]
    excess = change_estimate(levels, ratings, clusters, rng, n_resamples)
    return Reference(float(pearson(*levels)), leak_reference, source, excess, design)


def _people(
    item_set: ItemSet, human: pd.DataFrame | None
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]] | None:
    """Return which items people rated on both values, and the two ratings; None without any."""
    if human is None:
        return None
    means = human.pivot(index="item_id", columns="value", values="mean")
    wanted = [MORAL, item_set.secondary]
    if not set(wanted) <= set(means.columns):
        return None
    means = means.reindex(item_set.table["item_id"])[wanted]
    rated = means.notna().all(axis=1).to_numpy()
    if not rated.any():
        return None
    moral, secondary = means[rated].to_numpy(dtype=float).T
    return rated, (moral, secondary)
