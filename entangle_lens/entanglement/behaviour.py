"""The measure in behaviour: do a model's moral and secondary ratings move together?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from entangle_lens.entanglement.ratings import Ratings
from entangle_lens.statistics import Clusters, Estimate, change_estimate, correlation_estimate
from entangle_lens.stimuli import ItemSet


@dataclass(frozen=True)
class Reference:
    """What a correlation is held against: people's, on the same items, or the design's zero."""

    value: float
    source: str
    excess: Estimate | None


@dataclass(frozen=True)
class Behaviour:
    """Entanglement in the ratings of one item set.

    ``entanglement`` is r(moral rating, secondary rating); ``leak`` is r(design's moral level,
    secondary rating), which no change of the moral ratings can move; ``accuracy`` is r(design's
    secondary level, secondary rating) and ``moral_accuracy`` r(design's moral level, moral
    rating).
    """

    item_set: ItemSet
    moral: Ratings
    secondary: Ratings
    entanglement: Estimate
    leak: Estimate
    accuracy: Estimate
    moral_accuracy: Estimate
    reference: Reference


def measure_behaviour(
    item_set: ItemSet,
    moral: Ratings,
    secondary: Ratings,
    human: pd.DataFrame | None,
    rng: np.random.Generator,
    n_resamples: int,
) -> Behaviour:
    """Correlate ratings with each other and with the design, over scenarios."""
    clusters = Clusters.of(item_set.scenario_ids)

    def r(x: np.ndarray, y: np.ndarray) -> Estimate:
        return correlation_estimate(x, y, clusters, rng, n_resamples)

    return Behaviour(
        item_set=item_set,
        moral=moral,
        secondary=secondary,
        entanglement=r(moral.mean, secondary.mean),
        leak=r(item_set.moral, secondary.mean),
        accuracy=r(item_set.level, secondary.mean),
        moral_accuracy=r(item_set.moral, moral.mean),
        reference=_reference(item_set, moral, secondary, human, rng, n_resamples),
    )


def _reference(
    item_set: ItemSet,
    moral: Ratings,
    secondary: Ratings,
    human: pd.DataFrame | None,
    rng: np.random.Generator,
    n_resamples: int,
) -> Reference:
    """Take people's correlation over the items that they rated on both values, if there are any."""
    design = Reference(0.0, "design", None)
    if human is None:
        return design
    means = human.pivot(index="item_id", columns="value", values="mean")
    if not {"moral", item_set.secondary} <= set(means.columns):
        return design
    means = means.reindex(item_set.table["item_id"])[["moral", item_set.secondary]]
    rated = means.notna().all(axis=1).to_numpy()
    scenarios = [s for s, keep in zip(item_set.scenario_ids, rated, strict=True) if keep]
    if not scenarios:
        return design
    people = means[rated].to_numpy(dtype=float).T
    excess = change_estimate(
        (people[0], people[1]),
        (moral.mean[rated], secondary.mean[rated]),
        Clusters.of(scenarios),
        rng,
        n_resamples,
    )
    value = float(np.corrcoef(people)[0, 1])
    return Reference(value, f"people, {int(rated.sum())} items", excess)
