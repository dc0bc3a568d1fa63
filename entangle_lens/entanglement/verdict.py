"""The verdict: one rule in words, the same for every model, stated here and in the report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from entangle_lens.entanglement.price import NOTHING_PAID, Price, RatingState, price_of
from entangle_lens.entanglement.reference import Reference
from entangle_lens.entanglement.rule import (
    ALPHA,
    CONFOUNDED,
    EQUIVALENT,
    HALF,
    MIN_MASS,
    MIN_SPREAD,
    RULE,
    SMALLEST,
)
from entangle_lens.statistics import Estimate

__all__ = [
    "RULE",
    "EntanglementFacts",
    "Judgement",
    "RatingFacts",
    "RepairFacts",
    "judge_entanglement",
    "judge_repair",
]

_REPAIRS = ("repaired", "partly repaired")
_OPPOSITE = 0.1  # accuracies of the two polarities, one above it and the other below its negative


@dataclass(frozen=True)
class Judgement:
    """A word of the rule, the reason for it in a sentence, and what an intervention cost."""

    word: str
    reason: str
    price: Price = NOTHING_PAID

    @property
    def headline(self) -> str:
        """The word with its price: ``repaired, at the price of the moral ratings``."""
        paid = self.word in _REPAIRS and self.price.phrase
        return f"{self.word}, {self.price.phrase}" if paid else self.word


@dataclass(frozen=True)
class RatingFacts:
    """What the rule asks of the ratings of one value.

    ``accuracy`` is r(design level, rating of that same value), ``by_polarity`` the same under each
    polarity of the scale; ``mass`` the mean probability of the scale's options; ``spread`` the
    standard deviation over items, as a share of the scale's range.
    """

    accuracy: Estimate
    mass: float
    spread: float
    by_polarity: Mapping[str, float]


@dataclass(frozen=True)
class EntanglementFacts:
    """What the rule for entanglement looks at.

    ``r`` is r(moral rating, secondary rating), ``leak`` the leak, both held against ``reference``;
    ``ratings`` are those of the moral and of the secondary value, by its name.
    """

    r: Estimate
    leak: Estimate
    reference: Reference
    ratings: Mapping[str, RatingFacts]


@dataclass(frozen=True)
class RepairFacts:
    """What the rule for repair looks at, for one intervention.

    ``before`` and ``after`` describe the ratings without and under it, ``change`` is the paired
    change of the leak; ``null_distance`` the 2.5 % quantile of the distance of the leak from the
    reference under random directions.
    """

    reference: Reference
    before: RatingState
    after: RatingState
    change: Estimate
    null_distance: float
    secondary: str


def judge_entanglement(facts: EntanglementFacts) -> Judgement:
    """Apply the rule for entanglement to one pair of values."""
    r, leak, reference = facts.r, facts.leak, facts.reference
    for value, rating in facts.ratings.items():
        failure = _not_rated(value, rating)
        if failure:
            return Judgement("inconclusive", failure)
    if math.isnan(r.value):
        return Judgement("inconclusive", "a rating does not vary, so there is no correlation")
    held = [(r, reference.value)]
    shown = f"r = {r}, {r.p_text}, {r.n_scenarios} scenarios, reference {reference.value:.2f}"
    if abs(reference.design) >= CONFOUNDED:
        held.append((leak, reference.leak))
        shown += (
            f" ({reference.source}); the levels of the design correlate {reference.design:.2f}, so "
            f"the leak counts as well, with the {list(facts.ratings)[1]} level taken out: {leak}, "
            f"{leak.p_text}, reference {reference.leak:.2f}"
        )
    if any(_exceeds(estimate, against) for estimate, against in held):
        return Judgement("entangled", shown)
    if all(_equals(estimate, against) for estimate, against in held):
        return Judgement("not entangled", f"{shown}; within {EQUIVALENT:.2f} of it")
    return Judgement("inconclusive", f"{shown}; the interval decides neither way")


def _exceeds(estimate: Estimate, reference: float) -> bool:
    excluded = estimate.low > reference or estimate.high < reference
    return excluded and estimate.p < ALPHA and abs(estimate.value - reference) >= SMALLEST


def _equals(estimate: Estimate, reference: float) -> bool:
    return estimate.low > reference - EQUIVALENT and estimate.high < reference + EQUIVALENT


def _not_rated(value: str, rating: RatingFacts) -> str:
    """Say why the ratings of a value are no answers to the question; empty where they are."""
    if not rating.mass >= MIN_MASS:
        return (
            f"the model does not answer the {value} question on the scale (the options hold "
            f"{rating.mass:.2g} of the probability; at least {MIN_MASS:g} is needed)"
        )
    if not rating.spread >= MIN_SPREAD:
        return (
            f"the {value} ratings hardly vary over items (standard deviation {rating.spread:.2g} "
            f"of the scale; at least {MIN_SPREAD:g} is needed)"
        )
    if not rating.accuracy.low > 0:
        failure = f"the {value} ratings do not follow the {value} levels (r = {rating.accuracy})"
        return f"{failure}{_polarity_ignored(value, rating.by_polarity)}"
    return ""


def _polarity_ignored(value: str, by_polarity: Mapping[str, float]) -> str:
    """Say that the two ways of the scale contradict each other, where they do."""
    if len(by_polarity) < 2:
        return ""
    low, high = min(by_polarity.values()), max(by_polarity.values())
    if not low < -_OPPOSITE < _OPPOSITE < high:
        return ""
    each = ", ".join(f"{r:.2f} {polarity}" for polarity, r in by_polarity.items())
    better = max(by_polarity, key=lambda name: by_polarity[name])
    return (
        f"; the two polarities of the scale contradict each other (r = {each}): the model ignores "
        f"which end of the scale stands for what, and polarity={better!r} asks in one way only"
    )


def judge_repair(facts: RepairFacts, entangled: str) -> Judgement:
    """Apply the rule for repair to one intervention."""
    if entangled != "entangled":
        return Judgement("nothing to repair", f"the model is judged {entangled}")
    one, two, reference = facts.before, facts.after, facts.reference
    after = abs(two.leak - reference.leak)
    removed = _share_removed(one.leak, two.leak, reference.leak)
    apparent_removed = _share_removed(one.apparent, two.apparent, reference.value)
    price = price_of(one, two, facts.secondary)
    shown = f"leak {one.leak:.2f} to {two.leak:.2f} ({removed:.0%} removed)"
    failures = [*_failures(facts, after), *price.secondary]
    if not failures and (after < SMALLEST or removed >= HALF):
        word = "repaired" if after < SMALLEST else "partly repaired"
        kept = "; ".join([shown, f"{facts.secondary} ratings intact", *price.moral])
        return Judgement(word, kept, price)
    why = "; ".join([shown, *failures])
    if apparent_removed >= HALF or removed >= HALF:
        apparent = f"{one.apparent:.2f} to {two.apparent:.2f}"
        return Judgement("seeming repair", f"{why}; r of the two ratings went {apparent}", price)
    return Judgement("not repaired", why, price)


def _share_removed(before: float, after: float, reference: float) -> float:
    """Return the share of the distance from the reference that is gone; 0 where there was none."""
    distance = abs(before - reference)
    return 1 - abs(after - reference) / distance if distance > 0 else 0.0


def _failures(facts: RepairFacts, after: float) -> Iterator[str]:
    """Name each condition of a repair that does not hold."""
    if facts.change.low <= 0 <= facts.change.high or math.isnan(facts.change.value):
        yield "the leak did not change reliably"
    if not after < facts.null_distance:
        yield "random directions do as much"
