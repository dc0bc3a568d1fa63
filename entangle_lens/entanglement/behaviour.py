"""The measure in behaviour: do a model's moral and secondary ratings move together?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from entangle_lens.entanglement.leak import estimate_leak
from entangle_lens.entanglement.price import RatingState
from entangle_lens.entanglement.ratings import Ratings
from entangle_lens.entanglement.reference import Reference, measure_reference
from entangle_lens.entanglement.verdict import (
    EntanglementFacts,
    Judgement,
    RatingFacts,
    judge_entanglement,
)
from entangle_lens.statistics import Clusters, Estimate, correlation_estimate, pearson
from entangle_lens.stimuli import ItemSet


@dataclass(frozen=True)
class Behaviour:
    """Entanglement in the ratings of one item set.

    ``entanglement`` is r(moral rating, secondary rating); ``leak`` is r(design's moral level,
    secondary rating), with what the secondary level explains of the moral level taken out, which no
    change of the moral ratings can move; ``accuracy`` is r(design's secondary level, secondary
    rating) and ``moral_accuracy`` r(design's moral level, moral rating).
    """

    item_set: ItemSet
    moral: Ratings
    secondary: Ratings
    entanglement: Estimate
    leak: Estimate
    accuracy: Estimate
    moral_accuracy: Estimate
    reference: Reference

    @property
    def facts(self) -> EntanglementFacts:
        """What the rule for entanglement looks at."""
        ratings = {
            self.moral.value: rating_facts(self.moral, self.item_set.moral, self.moral_accuracy),
            self.secondary.value: rating_facts(self.secondary, self.item_set.level, self.accuracy),
        }
        return EntanglementFacts(self.entanglement, self.leak, self.reference, ratings)

    @property
    def judgement(self) -> Judgement:
        """The verdict by the rule for entanglement."""
        return judge_entanglement(self.facts)

    @property
    def state(self) -> RatingState:
        """What the ratings are like, to compare with those under an intervention."""
        return RatingState(
            leak=self.leak.value,
            apparent=self.entanglement.value,
            accuracy=self.accuracy.value,
            moral_accuracy=self.moral_accuracy.value,
            spread=float(self.secondary.mean.std()),
            mass=float(self.secondary.mass.mean()),
        )


def rating_facts(
    ratings: Ratings, level: Float[np.ndarray, " item"], accuracy: Estimate
) -> RatingFacts:
    """Return what the rule asks of one value's ratings; ``level`` is the design's own."""
    by_polarity = {
        polarity: float(pearson(level, mean)) for polarity, mean in ratings.by_polarity.items()
    }
    mass = float(ratings.mass.mean())
    return RatingFacts(accuracy, mass, ratings.relative_spread, by_polarity)


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
        leak=estimate_leak(item_set, secondary.mean, rng, n_resamples),
        accuracy=r(item_set.level, secondary.mean),
        moral_accuracy=r(item_set.moral, moral.mean),
        reference=measure_reference(item_set, moral, secondary, human, rng, n_resamples),
    )
