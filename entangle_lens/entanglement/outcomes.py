"""What an ablation did to the ratings, measured against the levels of the design, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from entangle_lens.entanglement.behaviour import Behaviour, rating_facts
from entangle_lens.entanglement.design import Design
from entangle_lens.entanglement.leak import estimate_leak, estimate_leak_change, leak
from entangle_lens.entanglement.price import RatingState
from entangle_lens.entanglement.ratings import Ratings
from entangle_lens.entanglement.reference import Reference
from entangle_lens.entanglement.verdict import (
    EntanglementFacts,
    Judgement,
    RepairFacts,
    judge_entanglement,
    judge_repair,
)
from entangle_lens.statistics import Clusters, Estimate, correlation_estimate, pearson
from entangle_lens.stimuli import ItemSet


@dataclass(frozen=True, eq=False)
class Answers:
    """Each item's mean rating on both values, and the mean option mass of the secondary ratings."""

    moral: Float[np.ndarray, " item"]
    secondary: Float[np.ndarray, " item"]
    mass: float


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
class Outcome:
    """The outcomes of one ablation on one item set (or of none: the clean run).

    ``leak`` is r(design's moral level, secondary rating), with what the secondary level explains of
    the moral level taken out; ``apparent`` r(moral rating, secondary rating) with both taken under
    the ablation, ``accuracy`` r(design's secondary level, secondary rating), ``moral_accuracy``
    r(design's moral level, moral rating), ``spread`` the standard deviation of the secondary
    ratings over items, ``uncertainty`` the mean standard deviation of their option distributions,
    ``mass`` their mean option mass. ``entangled`` is the verdict of the rule for entanglement on
    these ratings; ``change`` the paired change of the leak from the clean run, and ``judgement``
    the verdict of the rule for repair.
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
    entangled: Judgement
    change: Estimate | None = None
    judgement: Judgement | None = None


@dataclass(frozen=True, eq=False)
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
    reference: Reference
    entangled: str
    n_resamples: int
    seed: int

    @classmethod
    def of(cls, behaviour: Behaviour, design: Design) -> Yardstick:
        """Measure by the reference and the verdict of the clean model."""
        return cls(
            behaviour.item_set,
            behaviour.reference,
            behaviour.judgement.word,
            design.n_resamples,
            design.seed,
        )

    def outcome(self, name: str, description: str, asked: Asked) -> Outcome:
        """Measure answers against the design."""
        item_set, moral, secondary = self.item_set, asked.moral, asked.secondary
        clusters = Clusters.of(item_set.scenario_ids)
        rng = np.random.default_rng(self.seed)

        def r(x: Float[np.ndarray, " item"], y: Float[np.ndarray, " item"]) -> Estimate:
            return correlation_estimate(x, y, clusters, rng, self.n_resamples)

        leak = estimate_leak(item_set, secondary.mean, rng, self.n_resamples)
        apparent = r(moral.mean, secondary.mean)
        accuracy, moral_accuracy = r(item_set.level, secondary.mean), r(item_set.moral, moral.mean)
        ratings = {
            moral.value: rating_facts(moral, item_set.moral, moral_accuracy),
            secondary.value: rating_facts(secondary, item_set.level, accuracy),
        }
        facts = EntanglementFacts(apparent, leak, self.reference, ratings)
        return Outcome(
            name,
            description,
            leak,
            apparent,
            accuracy,
            moral_accuracy,
            spread=float(secondary.mean.std()),
            uncertainty=float(secondary.spread.mean()),
            mass=ratings[secondary.value].mass,
            correlation=asked.correlation,
            entangled=judge_entanglement(facts),
        )

    def judged(
        self, name: str, description: str, clean: Asked, ablated: Asked, null: Null
    ) -> Outcome:
        """Measure answers under an ablation, pair them with the clean ones, and judge."""
        outcome = self.outcome(name, description, ablated)
        change, judgement = self.judge(clean.answers, ablated.answers, null)
        if judgement.price.phrase and outcome.entangled.word != "not entangled":
            anew = outcome.entangled
            price = judgement.price.also(
                f"judged anew under the ablation, the model is {anew.word}: {anew.reason}"
            )
            judgement = replace(judgement, price=price)
        return replace(outcome, change=change, judgement=judgement)

    def judge(self, clean: Answers, ablated: Answers, null: Null) -> tuple[Estimate, Judgement]:
        """Return the paired change of the leak and the verdict on the ablation."""
        change = estimate_leak_change(
            self.item_set,
            clean.secondary,
            ablated.secondary,
            np.random.default_rng(self.seed),
            self.n_resamples,
        )
        facts = RepairFacts(
            self.reference,
            self._state(clean),
            self._state(ablated),
            change,
            null.distance,
            self.item_set.secondary,
        )
        return change, judge_repair(facts, self.entangled)

    def _state(self, answers: Answers) -> RatingState:
        moral, level = self.item_set.moral, self.item_set.level
        return RatingState(
            leak=float(leak(self.item_set, answers.secondary)),
            apparent=float(pearson(answers.moral, answers.secondary)),
            accuracy=float(pearson(level, answers.secondary)),
            moral_accuracy=float(pearson(moral, answers.moral)),
            spread=float(answers.secondary.std()),
            mass=answers.mass,
        )
