"""What an intervention costs: the one source of caveats for verdict, report and card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from entangle_lens.entanglement.rule import (
    HALF,
    MAX_ACCURACY_LOSS,
    MAX_MASS_LOSS,
    MIN_SPREAD_KEPT,
)

_PHRASES = {
    "kept": "",
    "damaged": "at some cost to the moral ratings",
    "lost": "at the price of the moral ratings",
}


@dataclass(frozen=True)
class RatingState:
    """What the ratings of one pair of values are like, without or under an intervention.

    ``leak`` is the leak of the moral level into the secondary rating, ``apparent`` r of the two
    ratings, ``accuracy`` r(secondary level, secondary rating), ``moral_accuracy`` r(moral level,
    moral rating), ``spread`` the standard deviation of the secondary ratings over items, in rating
    points, and ``mass`` their mean option mass.
    """

    leak: float
    apparent: float
    accuracy: float
    moral_accuracy: float
    spread: float
    mass: float


@dataclass(frozen=True)
class Price:
    """What an intervention cost: a phrase for the headline, and sentences.

    ``secondary`` holds the sentences about the secondary ratings, ``moral`` those about the moral
    ones; a repair that costs nothing has none.
    """

    phrase: str
    secondary: tuple[str, ...] = ()
    moral: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """All sentences, each without a capital or a full stop."""
        return (*self.secondary, *self.moral)

    def also(self, sentence: str) -> Price:
        """Return the same price with one more sentence about the moral ratings."""
        return replace(self, moral=(*self.moral, sentence))


NOTHING_PAID = Price("")


def price_of(before: RatingState, after: RatingState, secondary: str) -> Price:
    """Say what the ratings lost between two states; ``secondary`` names the secondary value."""
    state = moral_state(before.moral_accuracy, after.moral_accuracy)
    moral = (
        f"the moral ratings are {state} (accuracy {before.moral_accuracy:.2f} to "
        f"{after.moral_accuracy:.2f}; r of the two ratings {before.apparent:.2f} to "
        f"{after.apparent:.2f})"
    )
    losses = tuple(_secondary_losses(before, after, secondary))
    return Price(_PHRASES[state], losses, () if state == "kept" else (moral,))


def moral_state(before: float, after: float) -> Literal["kept", "damaged", "lost"]:
    """Judge the moral ratings by their accuracy: kept, damaged, or at most half of it left."""
    if before - after <= MAX_ACCURACY_LOSS:
        return "kept"
    return "damaged" if after > HALF * before else "lost"


def _secondary_losses(before: RatingState, after: RatingState, secondary: str) -> Iterator[str]:
    if not before.accuracy - after.accuracy <= MAX_ACCURACY_LOSS:
        yield (
            f"the {secondary} ratings are damaged (accuracy {before.accuracy:.2f} to "
            f"{after.accuracy:.2f})"
        )
    kept = after.spread / before.spread if before.spread else 0.0
    if not kept >= MIN_SPREAD_KEPT:
        yield f"the {secondary} ratings are flattened (they keep {kept:.0%} of their spread)"
    if not before.mass - after.mass <= MAX_MASS_LOSS:
        yield (
            f"the {secondary} question is answered less often (option mass {before.mass:.2f} to "
            f"{after.mass:.2f})"
        )
