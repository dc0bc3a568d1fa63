"""What a repair changed: the ratings of the test items, neutral prompts and minimal pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from entangle_lens.entanglement.behaviour import Behaviour, measure_behaviour
from entangle_lens.entanglement.damage import DamageMeter
from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.ratings import rate
from entangle_lens.entanglement.side_effects import share_of_minimal_pairs
from entangle_lens.entanglement.verdict import (
    HALF,
    MAX_ACCURACY_LOSS,
    MIN_SPREAD_KEPT,
    Judgement,
    judge_entanglement,
)
from entangle_lens.models import Model
from entangle_lens.running import Edit
from entangle_lens.stimuli import ItemSet, Stimuli

MEASURES = ("leak", "accuracy", "moral_accuracy")


@dataclass(frozen=True)
class Costs:
    """One model, or one edit of it, on the test items and beside them.

    ``behaviour`` is by pair of values. ``kl`` is the mean KL(clean || this) of the next token on
    neutral prompts, in nats, and ``minimal_pairs`` the share of pairs whose grammatical member is
    likelier; NaN where the stimuli have no table for it.
    """

    behaviour: Mapping[str, Behaviour]
    kl: float
    minimal_pairs: float

    def numbers(self, pair: str) -> dict[str, float]:
        """Return r for the leak, the secondary accuracy and the moral accuracy of one pair."""
        found = self.behaviour[pair]
        return {name: float(getattr(found, name).value) for name in MEASURES}

    def spread(self, pair: str) -> float:
        """Return the standard deviation of the secondary ratings over items, in rating points."""
        return float(self.behaviour[pair].secondary.mean.std())

    def judgements(self) -> dict[str, Judgement]:
        """Apply the rule for entanglement to every pair."""
        return {pair: _judgement(each) for pair, each in self.behaviour.items()}


def measure_costs(
    meter: DamageMeter, design: Design, edits: Sequence[Edit] = (), *, progress: str | None = None
) -> Costs:
    """Ask the meter's model about all test items, under ``edits``, and measure side effects.

    ``progress`` names the state of the model above the progress bars; None shows none.
    """
    model, stimuli = meter.model, meter.stimuli
    behaviour = {
        item_set.name: measure_items(model, stimuli, design, item_set, edits, progress=progress)
        for item_set in stimuli.items.values()
    }
    minimal = share_of_minimal_pairs(model, stimuli, edits)
    return Costs(behaviour, meter.kl(edits), float("nan") if minimal is None else minimal)


def measure_items(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    item_set: ItemSet,
    edits: Sequence[Edit] = (),
    *,
    progress: str | None = None,
) -> Behaviour:
    """Rate one pair's items on both values in all wordings of the design."""
    moral, secondary = (
        rate(
            model,
            item_set.texts,
            stimuli.questions_for(value, design.n_paraphrases),
            design.scale,
            edits=edits,
            desc=f"{item_set.name}, {value} ratings: {progress}" if progress else None,
        )[0]
        for value in (MORAL, item_set.secondary)
    )
    rng = np.random.default_rng(design.seed)
    return measure_behaviour(item_set, moral, secondary, stimuli.human, rng, design.n_resamples)


def warnings_of(before: Costs, after: Costs) -> list[str]:
    """Say in sentences what a reader of the table must not miss."""
    said = []
    for pair in before.behaviour:
        one, two = before.numbers(pair), after.numbers(pair)
        reference = before.behaviour[pair].reference.value
        secondary = before.behaviour[pair].item_set.secondary
        if not abs(two["leak"] - reference) <= HALF * abs(one["leak"] - reference):
            said.append(f"More than half of the leak of {pair} is left.")
        if not two["accuracy"] >= one["accuracy"] - MAX_ACCURACY_LOSS:
            said.append(
                f"The {secondary} rating is damaged: its accuracy falls from "
                f"{one['accuracy']:.2f} to {two['accuracy']:.2f}."
            )
        spread, kept = before.spread(pair), after.spread(pair)
        if kept < MIN_SPREAD_KEPT * spread:
            said.append(
                f"The {secondary} rating is flattened: it keeps {kept / spread:.0%} of its spread "
                "over items."
            )
    return said + _moral_warnings(before, after)


def _moral_warnings(before: Costs, after: Costs) -> list[str]:
    """Name the moral rating's worst loss, once for all pairs."""
    lost = {
        pair: (before.numbers(pair)["moral_accuracy"], after.numbers(pair)["moral_accuracy"])
        for pair in before.behaviour
    }
    one, two = max(lost.values(), key=lambda each: np.nan_to_num(each[0] - each[1], nan=np.inf))
    if two >= one - MAX_ACCURACY_LOSS:
        return []
    word = "damaged" if two > HALF * one else "lost"
    return [
        f"The moral rating itself is {word}: its accuracy falls from {one:.2f} to {two:.2f}, so "
        "do not ask this model for moral ratings."
    ]


def _judgement(behaviour: Behaviour) -> Judgement:
    accuracies = {
        MORAL: behaviour.moral_accuracy,
        behaviour.item_set.secondary: behaviour.accuracy,
    }
    return judge_entanglement(behaviour.entanglement, behaviour.reference.value, accuracies)
