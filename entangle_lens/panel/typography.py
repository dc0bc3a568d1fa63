"""Texts that differ in typography only: apostrophes, dashes, blanks, the form of letters."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

from entangle_lens.errors import EntangleError
from entangle_lens.panel.reading import shown

_APOSTROPHES = "'`\u00b4\u2018\u2019\u201a\u201b\u2032\u02b9\u02bc\uff07"
_QUOTES = '"\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\uff02'
_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
_LONGEST = 70

_SAME_QUOTES = str.maketrans(dict.fromkeys(_APOSTROPHES, "'") | dict.fromkeys(_QUOTES, '"'))
_SAME_DASHES = str.maketrans(dict.fromkeys(_DASHES, "-"))
_NO_INVISIBLE = str.maketrans(dict.fromkeys(_INVISIBLE, ""))

_FOLDS: dict[str, Callable[[str], str]] = {
    "apostrophes or quotation marks": lambda text: text.translate(_SAME_QUOTES),
    "dashes": lambda text: text.translate(_SAME_DASHES),
    "blanks": lambda text: " ".join(text.translate(_NO_INVISIBLE).split()),
    "the Unicode form of letters": lambda text: unicodedata.normalize("NFKC", text),
}


def folded(text: str) -> str:
    """Return a text in the one form that all its typographic variants share."""
    return _fold(text, _FOLDS)


def _fold(text: str, kinds: Iterable[str]) -> str:
    for kind in kinds:
        text = _FOLDS[kind](text)
    return text


def difference(one: str, other: str) -> str:
    """Return the kinds of typography in which two texts differ, of those that are the same else.

    Texts that differ in more give the empty text.
    """
    for number in range(1, len(_FOLDS) + 1):
        for kinds in combinations(_FOLDS, number):
            if _fold(one, kinds) == _fold(other, kinds):
                return " and ".join(kinds)
    return ""


def twins(ids: Sequence[str], others: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of ids, the second of ``others``, that differ in typography only."""
    known = set(others)
    of_form = {folded(each): each for each in others}
    lacking = ((each, of_form.get(folded(each))) for each in ids if each not in known)
    return [(each, twin) for each, twin in lacking if twin is not None]


def twins_among(ids: Sequence[str]) -> list[tuple[str, str]]:
    """Return the ids that differ from an earlier one in typography only, with that one."""
    first: dict[str, str] = {}
    pairs = [(first.setdefault(folded(each), each), each) for each in ids]
    return [(one, other) for one, other in pairs if one != other]


def only_in(pairs: Sequence[tuple[str, str]]) -> str:
    """Say in which kinds of typography the two of each pair differ, the first pair as an example.

    ``only in dashes: 'a-b' (U+002D) and ...``
    """
    kinds = " and ".join(dict.fromkeys(difference(*pair) for pair in pairs))
    one, other = pairs[0]
    start = _shared(one, other)
    here, there = (_number(text[start : start + 1]) for text in (one, other))
    return f"only in {kinds}: {shown(one)} ({here}) and {shown(other)} ({there})"


def _shared(one: str, other: str) -> int:
    """Return how many letters two texts share from their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def _number(letter: str) -> str:
    """Return a letter's number in Unicode."""
    return f"U+{ord(letter):04X}" if letter else "nothing"


def two_texts(item: str, first: str, where: str, other: str, there: str) -> EntangleError:
    """Return the error for an item with two texts, which are cut so that they differ."""
    start = _shared(first, other)
    start = max(0, start - _LONGEST // 2) if max(len(first), len(other)) > _LONGEST else 0
    one, two = (_cut(text, start) for text in (first, other))
    return EntangleError(
        f"item {shown(item)} has two texts: {one} {where} and {two} {there}; an id has to name "
        "the same item everywhere (row numbers often do not)"
    )


def _cut(text: str, start: int) -> str:
    part = text[start : start + _LONGEST]
    before, after = "..." if start else "", "..." if start + _LONGEST < len(text) else ""
    return f"{before}{' '.join(part.split())!r}{after}"
