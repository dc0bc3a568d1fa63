"""The usual names of columns and values, and which of a table's names are meant by one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_WORDS = {
    "moral": ("moral", "morality"),
    "grammar": ("grammar", "grammatical", "grammaticality"),
    "economic": ("economic", "economical", "economics", "econ"),
    "secondary": ("secondary",),
}
_AFFIXES = ("{}", "{}_mean", "{}_rating", "{}_ratings", "{}_score", "{}_value", "mean_{}")
SECONDARY = ("grammar", "economic", "secondary")
ITEM = ("item_id", "item", "id", "text")
SCENARIO = ("scenario_id", "scenario")
TEXT = ("text", "sentence", "item_text", "stimulus")
MODEL = ("model", "model_name", "model_id", "llm")
RATING = ("rating", "mean", "rating_mean", "mean_rating", "score")
LONG = (("dimension", (*RATING, "value")), ("value", RATING))


def meaning(name: str) -> str | None:
    """Return the package's word for a usual name: ``moral``, ``grammar``, ... or None."""
    for word, variants in _WORDS.items():
        if _normal(name) in {affix.format(each) for each in variants for affix in _AFFIXES}:
            return word
    return None


def matching(names: Sequence[str], wanted: str) -> list[str]:
    """Return the names that are ``wanted``, else those that differ in case and punctuation only."""
    exact = [name for name in names if name == wanted]
    return exact or [name for name in names if _normal(name) == _normal(wanted)]


def first_usual(names: Sequence[str], usual: Iterable[str]) -> str | None:
    """Return the first name that is one of the usual names, in their order; None without any."""
    found = (name for each in usual for name in names if _normal(name) == each)
    return next(found, None)


def _normal(name: str) -> str:
    return re.sub(r"[\s\-.]+", "_", name.strip().lower())
