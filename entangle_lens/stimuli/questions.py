"""Rating questions and the scale they are answered on."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from entangle_lens.errors import EntangleError

_SCALE = re.compile(r"^\s*(-?[0-9]+)\s*:\s*(-?[0-9]+)\s*$")
MAX_OPTIONS = 201
POLARITIES = ("ascending", "descending")


@dataclass(frozen=True)
class Scale:
    """A rating scale of whole numbers from ``low`` to ``high``, both included."""

    low: int = 1
    high: int = 9

    def __post_init__(self) -> None:
        if not 1 <= self.high - self.low < MAX_OPTIONS:
            raise EntangleError(
                f"scale {self} has {self.high - self.low + 1} options; a scale LOW:HIGH needs "
                f"2 to {MAX_OPTIONS} whole numbers, for example 1:9 or -10:10"
            )

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Read ``"1:9"`` or ``"-10:10"``."""
        match = _SCALE.match(text)
        if match is None:
            raise EntangleError(
                f"scale {text!r} is not LOW:HIGH in whole numbers, for example 1:9 or -10:10"
            )
        return cls(int(match[1]), int(match[2]))

    @property
    def ratings(self) -> tuple[int, ...]:
        """All ratings, ascending."""
        return tuple(range(self.low, self.high + 1))

    @property
    def options(self) -> tuple[str, ...]:
        """The ratings as the text that a model answers with."""
        return tuple(str(rating) for rating in self.ratings)

    def __str__(self) -> str:
        return f"{self.low}:{self.high}"


@dataclass(frozen=True)
class Question:
    """One way to ask for one value: instruction first, the item after it, then an answer prefix.

    ``polarity`` is ``ascending`` where a high number means more of the value, ``descending``
    where it means less. ``instruction`` names the ends of the scale as ``{low}`` and ``{high}``.
    """

    value: str
    paraphrase: str
    polarity: str
    instruction: str
    answer_prefix: str

    @property
    def descending(self) -> bool:
        """Whether the highest number stands for the least of the value."""
        return self.polarity == "descending"

    def after(self, preamble: str) -> Question:
        """Return the same question with a sentence before its instruction."""
        if not preamble:
            return self
        braces = preamble.replace("{", "{{").replace("}", "}}")
        return replace(self, instruction=f"{braces} {self.instruction}")

    def content(self, text: str, scale: Scale) -> str:
        """Return what the user says: the instruction, a blank line, the item."""
        return f"{self.instruction.format(low=scale.low, high=scale.high)}\n\n{text}"
