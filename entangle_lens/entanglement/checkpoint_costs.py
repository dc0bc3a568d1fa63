"""What a repair changed: the ratings of the test items, neutral prompts and minimal pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from entangle_lens.entanglement.behaviour import Behaviour, measure_behaviour
from entangle_lens.entanglement.damage import DamageMeter
from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.price import Price, price_of
from entangle_lens.entanglement.ratings import rate
from entangle_lens.entanglement.rule import HALF
from entangle_lens.entanglement.side_effects import share_of_minimal_pairs
from entangle_lens.entanglement.verdict import Judgement
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
        return {pair: each.judgement for pair, each in self.behaviour.items()}


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
            design.questions(stimuli, value),
            design.scale,
            edits=edits,
            desc=f"{item_set.name}, {value} ratings: {progress}" if progress else None,
        )[0]
        for value in (MORAL, item_set.secondary)
    )
    rng = np.random.default_rng(design.seed)
    return measure_behaviour(item_set, moral, secondary, stimuli.human, rng, design.n_resamples)


def prices(before: Costs, after: Costs) -> dict[str, Price]:
    """Return what the repair cost the ratings of every pair."""
    return {
        pair: price_of(each.state, after.behaviour[pair].state, each.item_set.secondary)
        for pair, each in before.behaviour.items()
    }


def warnings_of(before: Costs, after: Costs) -> list[str]:
    """Say in sentences what a reader of the table must not miss."""
    warnings = []
    for pair, price in prices(before, after).items():
        one, two = before.behaviour[pair], after.behaviour[pair]
        reference = one.reference.leak
        if not abs(two.leak.value - reference) <= HALF * abs(one.leak.value - reference):
            warnings.append(f"More than half of the leak of {pair} is left.")
        warnings += [f"{pair}: {sentence}." for sentence in price.sentences]
        if price.phrase and two.judgement.word != "not entangled":
            warnings.append(
                f"{pair}: judged anew, the repaired model is {two.judgement.word}: "
                f"{two.judgement.reason}."
            )
    return warnings
