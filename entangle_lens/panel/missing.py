"""Numbers that stand for a missing rating, such as -99 and 999."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from entangle_lens.errors import EntangleError

Code = float | int | str

_LENGTHS = range(2, 7)
_LONG_CODES = {float(digit * length) for digit in "6789" for length in _LENGTHS} | {
    10.0**length - less for length in _LENGTHS for less in (2, 3)
}
_SHORT_CODES = {9.0, 8.0, 7.0, 1.0}  # as negative numbers only
_FAR = 5  # times the largest other rating: 99 on scales up to 19, 999 on scales up to 199
_FAR_NEGATIVE = 2


@dataclass(frozen=True)
class MissingCodes:
    """What a user said that stands for a missing rating: numbers, and words.

    Undeclared (the default), a table that seems to hold such a code is refused.
    """

    numbers: frozenset[float] = frozenset()
    words: frozenset[str] = frozenset()
    declared: bool = False

    @classmethod
    def from_given(cls, given: Code | Sequence[Code] | None) -> MissingCodes:
        """Sort codes into numbers and words; None means that nothing was said."""
        if given is None:
            return cls()
        codes = [given] if isinstance(given, str | float | int) else list(given)
        numbers = {code: _as_number(code) for code in codes}
        return cls(
            frozenset(number for number in numbers.values() if number is not None),
            frozenset(str(code).strip() for code, number in numbers.items() if number is None),
            declared=True,
        )

    def __contains__(self, cell: object) -> bool:
        if isinstance(cell, str):
            return cell.strip() in self.words
        return cell in self.numbers

    def __bool__(self) -> bool:
        return bool(self.numbers or self.words)

    def __str__(self) -> str:
        return ", ".join([*(f"{number:g}" for number in sorted(self.numbers)), *sorted(self.words)])


def _as_number(code: Code) -> float | None:
    try:
        return float(code)
    except ValueError:
        return None


def check_codes(ratings: Float[np.ndarray, " rows"], rows: Iterable[object], where: str) -> None:
    """Refuse ratings that hold a usual code for missing ones, far outside all others.

    ``rows`` numbers the ratings; ``where`` begins the error.
    """
    found = suspected_codes(ratings)
    if not found:
        return
    others = ratings[~np.isin(ratings, [*found, np.nan]) & np.isfinite(ratings)]
    code, count = next(iter(found.items()))
    numbered = [str(row) for row, value in zip(rows, ratings, strict=True) if value == code]
    listed = ", ".join(f"{each:g}" for each in found)
    tuple_text = f"({listed},)" if len(found) == 1 else f"({listed})"
    raise EntangleError(
        f"{where} holds {code:g} {times(count)} (row {', '.join(numbered[:3])}"
        f"{', ...' if count > 3 else ''}), far outside the other ratings "
        f"({others.min():g} to {others.max():g}), as codes for a missing rating are: declare it "
        f"with missing_codes={tuple_text}, or keep it as a rating with missing_codes=()"
    )


def suspected_codes(ratings: Float[np.ndarray, " rows"]) -> dict[float, int]:
    """Return the usual codes for a missing rating that lie far outside the others, and how often.

    -99 among ratings from -6 to 6, 999 among ratings from 0 to 100, -1 among whole numbers from 1
    on. A 9 on a scale from 1 to 7 could be a rating, so it is none.
    """
    values = ratings[np.isfinite(ratings)]
    counts = Counter(float(value) for value in values)
    usual = [value for value in counts if _is_usual(value)]
    others = np.asarray([value for value in values if value not in usual])
    found = [value for value in usual if len(others) and _is_far(value, others)]
    return {value: counts[value] for value in sorted(found, key=lambda each: -counts[each])}


def _is_usual(value: float) -> bool:
    return abs(value) in _LONG_CODES or -value in _SHORT_CODES


def _is_far(code: float, others: Float[np.ndarray, " others"]) -> bool:
    if code == -1:
        return bool(others.min() >= 1 and len(set(others)) > 2 and (others % 1 == 0).all())
    largest = float(np.abs(others).max())
    if code < 0:
        return bool(others.min() >= 0) or -code >= _FAR_NEGATIVE * largest
    return code >= _FAR * largest


def times(count: int) -> str:
    """Return a count as it stands in a sentence."""
    return "once" if count == 1 else f"{count} times"
