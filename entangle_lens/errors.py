"""The one error that a user is meant to see."""

from __future__ import annotations

from collections.abc import Iterable


class EntangleError(ValueError):
    """Say in one sentence what was given, what was expected, and the choices."""


def choices(names: Iterable[object]) -> str:
    """Join ``names`` for the end of an error sentence: ``a, b, c``."""
    return ", ".join(str(name) for name in names)
