"""What an ablation did to the ratings: five outcomes against a fixed moral score, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from entangle_lens.entanglement.ratings import Ratings
from entangle_lens.entanglement.verdict import Judgement, RepairFacts, judge_repair
from entangle_lens.statistics import (
    Clusters,
    Estimate,
    change_estimate,
    correlation_estimate,
    pearson,
)
from entangle_lens.stimuli import ItemSet


@dataclass(frozen=True)
class Answers:
    """Each item's mean rating on both values, and the mean option mass of the secondary ratings."""

    moral: Float[np.ndarray, " item"]
    secondary: Float[np.ndarray, " item"]
    mass: float


@dataclass(frozen=True)
class Asked:
    """The answers to both questions about one item set, clean or under an ablation.

    ``correlation`` is r(moral projection, secondary projection) at each measured layer, where
    residuals were read.
    """

    moral: Ratings
    secondary: Ratings
    correlation: Float[np.ndarray, " layer"] | None = None

    @property
    def answers(self) -> Answers:
        """What is judged."""
        mass = float(self.secondary.mass.mean())
        return Answers(self.moral.mean, self.secondary.mean, mass)


@dataclass(frozen=True)
class Outcome:
    """The outcomes of one ablation on one item set (or of none: the clean run).

    ``leak`` is r(design's moral level, secondary rating), ``apparent`` r(moral rating, secondary
    rating) with both taken under the ablation, ``accuracy`` r(design's secondary level,
    secondary rating), ``moral_accuracy`` r(design's moral level, moral rating), ``spread`` the
    standard deviation of the secondary ratings over items, ``uncertainty`` the mean standard
    deviation of their option distributions, ``mass`` their mean option mass. ``change`` is the
    paired change of the leak from the clean run.
    """

    name: str
    description: str
    leak: Estimate
    apparent: Estimate
    accuracy: Estimate
    moral_accuracy: Estimate
    spread: float
    uncertainty: float
    mass: float
    correlation: Float[np.ndarray, " layer"] | None
    change: Estimate | None = None
    judgement: Judgement | None = None


@dataclass(frozen=True)
class Null:
    """The leak under random directions that remove as much variance as the moral direction.

    ``low`` and ``high`` hold 95 % of the leaks; ``distance`` is the 2.5 % quantile of their
    distance from the reference. ``removed_variance`` is the median ratio of the variance they
    remove to that which the moral direction removes.
    """

    leaks: Float[np.ndarray, " direction"]
    low: float
    high: float
    distance: float
    removed_variance: float

    @classmethod
    def of(
        cls, leaks: Float[np.ndarray, " direction"], reference: float, removed_variance: float
    ) -> Null:
        """Summarise the leaks under random directions."""
        low, high = np.quantile(leaks, [0.025, 0.975])
        distance = np.quantile(np.abs(leaks - reference), 0.025)
        return cls(leaks, float(low), float(high), float(distance), removed_variance)


@dataclass(frozen=True)
class Yardstick:
    """What every outcome on one item set is measured with."""

    item_set: ItemSet
    reference: float
    entangled: str
    n_resamples: int
    seed: int

    def outcome(self, name: str, description: str, asked: Asked) -> Outcome:
        """Measure answers against the design."""
        item_set, secondary = self.item_set, asked.secondary
        clusters = Clusters.of(item_set.scenario_ids)
        rng = np.random.default_rng(self.seed)

        def r(x: Float[np.ndarray, " item"], y: Float[np.ndarray, " item"]) -> Estimate:
            return correlation_estimate(x, y, clusters, rng, self.n_resamples)

        return Outcome(
            name,
            description,
            leak=r(item_set.moral, secondary.mean),
            apparent=r(asked.moral.mean, secondary.mean),
            accuracy=r(item_set.level, secondary.mean),
            moral_accuracy=r(item_set.moral, asked.moral.mean),
            spread=float(secondary.mean.std()),
            uncertainty=float(secondary.spread.mean()),
            mass=float(secondary.mass.mean()),
            correlation=asked.correlation,
        )

    def judged(
        self, name: str, description: str, clean: Asked, ablated: Asked, null: Null
    ) -> Outcome:
        """Measure answers under an ablation, pair them with the clean ones, and judge."""
        outcome = self.outcome(name, description, ablated)
        change, judgement = self.judge(clean.answers, ablated.answers, null)
        return replace(outcome, change=change, judgement=judgement)

    def judge(self, clean: Answers, ablated: Answers, null: Null) -> tuple[Estimate, Judgement]:
        """Return the paired change of the leak and the verdict on the ablation."""
        moral, level = self.item_set.moral, self.item_set.level
        change = change_estimate(
            (moral, clean.secondary),
            (moral, ablated.secondary),
            Clusters.of(self.item_set.scenario_ids),
            np.random.default_rng(self.seed),
            self.n_resamples,
        )
        spread = clean.secondary.std()
        facts = RepairFacts(
            reference=self.reference,
            leak_before=float(pearson(moral, clean.secondary)),
            leak_after=float(pearson(moral, ablated.secondary)),
            change=change,
            apparent_before=float(pearson(clean.moral, clean.secondary)),
            apparent_after=float(pearson(ablated.moral, ablated.secondary)),
            null_distance=null.distance,
            accuracy_before=float(pearson(level, clean.secondary)),
            accuracy_after=float(pearson(level, ablated.secondary)),
            spread_kept=float(ablated.secondary.std() / spread) if spread else 0.0,
            mass_before=clean.mass,
            mass_after=ablated.mass,
        )
        return change, judge_repair(facts, self.entangled)
