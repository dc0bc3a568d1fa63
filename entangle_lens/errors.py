"""The one error that a user is meant to see."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

# Marks that turn the direction of writing can make a terminal show another text than is there.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSHOWN = frozenset({"Cc", "Cs", "Zl", "Zp"})


class EntangleError(ValueError):
    """Say in one sentence what was given, what was expected, and the choices.

    The sentence may quote a file, so control characters in it are shown as escapes.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, one_line=True))


class UnknownKeyError(EntangleError, KeyError):
    """Say which key of a mapping was asked for, and which it has.

    A mapping raises a ``KeyError`` for an unknown key, or ``in`` and ``get`` do not work on it.
    """

    __str__ = Exception.__str__


def choices(names: Iterable[object]) -> str:
    """Join ``names`` for the end of an error sentence: ``a, b, c``."""
    return ", ".join(str(name) for name in names)


def printable(text: str, *, one_line: bool = False) -> str:
    r"""Return ``text`` with every character that would move or colour a terminal as an escape.

    Line breaks and tabs stay, unless ``one_line`` is wanted.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    kept = "" if one_line else "\n\t"
    return "".join(each if each in kept else _shown(each) for each in text)


def _shown(character: str) -> str:
    if unicodedata.category(character) in _UNSHOWN or character in _TURNING:
        return character.encode("unicode_escape", "surrogatepass").decode()
    return character
