"""Cells of rating tables as they come: into numbers, ids and texts, and for error sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from numbers import Real

import numpy as np
import pandas as pd
from jaxtyping import Float

from entangle_lens.errors import EntangleError, choices
from entangle_lens.panel.missing import MissingCodes
from entangle_lens.panel.numerals import both_readings, comma_hint, marks_group, ungrouped
from entangle_lens.stimuli.tables import FIRST_ROW, NUMBER

_MISSING = {"", "nan", "na", "n/a", "#n/a", "<na>", "null", "none"}
_SHOWN = 3
_SHOWN_NAMES = 30
_SHOWN_LETTERS = 40
_WHOLE = re.compile(r"[+-]?[0-9]+\.0+")
_HALF = "broken text (half of a UTF-16 pair)"
_NO_CODES = MissingCodes()


def frame_rows(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return a DataFrame's rows in the same form, numbered as in a CSV of it."""
    named = [name for name in frame.index.names if name is not None and name not in frame]
    frame = frame.reset_index(level=named) if named else frame
    numbered = frame.set_axis(pd.RangeIndex(FIRST_ROW, FIRST_ROW + len(frame)), axis=0)
    return checked_rows(numbered, source)


def checked_rows(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return the rows with column names as text; no rows, and a name twice, are errors."""
    names = [" ".join(str(name).split()) for name in rows.columns]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise EntangleError(f"{source}: column {twice[0]!r} stands twice in the header")
    if rows.empty:
        raise EntangleError(f"{source}: the table has no rows")
    return rows.set_axis(names, axis=1)


def numbers(
    rows: pd.DataFrame,
    column: str,
    source: str,
    least: float = -np.inf,
    codes: MissingCodes = _NO_CODES,
) -> Float[np.ndarray, " rows"]:
    """Return a column as numbers, NaN where a cell is empty, says NA, or is one of ``codes``.

    Commas that can only group thousands are left out.

    Raises:
        EntangleError: text, infinity or a number below ``least``, with the first few rows; points
            that can only group thousands.
    """
    cells = rows[column]
    texts = [cell.strip() for cell in cells if isinstance(cell, str)]
    texts = [text for text in texts if not is_missing(text) and text not in codes]
    grouped = marks_group(texts, ",")
    if not grouped and marks_group(texts, "."):
        first = next(text for text in texts if "." in text)
        raise EntangleError(f"{source}: column {column!r} holds {both_readings(first, '.')}")
    read = [_number(cell, grouped, codes) for cell in cells]
    wrong = [
        f"row {row} {shown(cell)}"
        for row, cell, value in zip(rows.index, cells, read, strict=True)
        if value is None or np.isinf(value) or value < least
    ]
    if wrong:
        expected = "a finite number" if least == -np.inf else f"a finite number from {least:g} on"
        raise EntangleError(
            f"{source}: column {column!r} does not hold {expected} in {several(wrong)}"
            f"{comma_hint(texts)}"
        )
    return np.asarray(read, dtype=float)


def ids(rows: pd.DataFrame, column: str, source: str) -> list[str]:
    """Return a column as ids: text without outer blanks, 3 and 3.0 as "3".

    Text such as "3.0" is a whole number where it is so in every row.

    Raises:
        EntangleError: empty cells and broken letters, with the first few rows.
    """
    read = texts(rows, column, source)
    if all(_WHOLE.fullmatch(each) for each in read):
        read = [each.partition(".")[0] for each in read]
    empty = [f"row {row}" for row, cell in zip(rows.index, read, strict=True) if not cell]
    if empty:
        raise EntangleError(f"{source}: column {column!r} is empty in {several(empty)}")
    return read


def texts(rows: pd.DataFrame, column: str, source: str) -> list[str]:
    """Return a column as text without outer blanks, missing cells as empty.

    Raises:
        EntangleError: half a letter, which no file can hold, with the first few rows.
    """
    read = [_text(cell) for cell in rows[column]]
    broken = [
        f"row {row} {shown(cell)}"
        for row, cell in zip(rows.index, read, strict=True)
        if not is_unicode(cell)
    ]
    if broken:
        raise EntangleError(f"{source}: column {column!r} holds {_HALF} in {several(broken)}")
    return read


def is_unicode(text: str) -> bool:
    """Say whether a text can be written to a file; one with half a letter cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def several(words: Sequence[str], first: int = _SHOWN) -> str:
    """Return the first few words, and how many more there are."""
    more = f" and {len(words) - first} more" if len(words) > first else ""
    return choices(words[:first]) + more


def column_names(names: Sequence[str]) -> str:
    """Return the names of columns for the end of an error sentence."""
    return several([repr(name) if "," in name else name for name in names], _SHOWN_NAMES)


def is_missing(cell: object) -> bool:
    """Say whether a cell is empty, or says in words that a number is missing."""
    return _is_nothing(cell) or (isinstance(cell, str) and cell.strip().lower() in _MISSING)


def _is_nothing(cell: object) -> bool:
    return bool(pd.api.types.is_scalar(cell) and pd.isna(cell))  # type: ignore[call-overload]


def _number(cell: object, grouped: bool, codes: MissingCodes) -> float | None:
    """Return a cell's number, NaN where it is missing, None where it is something else."""
    if is_missing(cell) or (isinstance(cell, str) and cell in codes):
        return float("nan")
    value = _number_of_text(cell, grouped) if isinstance(cell, str) else _number_of_value(cell)
    return float("nan") if value in codes.numbers else value


def _number_of_text(cell: str, grouped: bool) -> float | None:
    text = cell.strip()
    if grouped and "," in text:
        text = ungrouped(text, ",")
    return float(text) if NUMBER.fullmatch(text) else None


def _number_of_value(cell: object) -> float | None:
    if isinstance(cell, bool | np.bool_) or not isinstance(cell, Real | Decimal):
        return None
    try:
        return float(cell)
    except OverflowError:
        return float("inf")


def _text(cell: object) -> str:
    if _is_nothing(cell):
        return ""
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    return str(cell).strip()


def shown(cell: object) -> str:
    """Return a cell for an error sentence, on one line, cut where it is long."""
    text = repr(cell) if isinstance(cell, str) else str(cell)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}..."
