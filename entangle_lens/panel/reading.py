"""Tables of ratings as they come: files and DataFrames into rows, cells into numbers and ids."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from entangle_lens.errors import EntangleError, choices
from entangle_lens.stimuli.tables import FIRST_ROW, NUMBER, read_table

_MISSING = {"", "nan", "na", "n/a", "#n/a", "<na>", "null", "none"}
_SHOWN = 3
_SHOWN_NAMES = 30
_SHOWN_LETTERS = 40
_WHOLE = re.compile(r"[+-]?[0-9]+\.0+")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+")
_HALF = "no whole text (half of a UTF-16 pair)"


def read_rows(path: Path) -> pd.DataFrame:
    """Read a CSV, parquet or JSONL file, nothing guessed about its cells.

    The index is the row number: in a CSV as a spreadsheet counts, the header being row 1 (a
    parquet file is counted like the same table as a CSV), in JSONL the line.

    Raises:
        EntangleError: no such file, another kind of file, one that cannot be read, no rows.
    """
    _check_file(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise EntangleError(f"{str(path)!r} is of no known kind; the kinds are {choices(_READERS)}")
    try:
        rows = reader(path)
    except EntangleError:
        raise
    except UnicodeDecodeError as error:
        raise EntangleError(f"{str(path)!r} is not UTF-8 text ({error.reason})") from None
    except (OSError, ValueError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise EntangleError(f"{str(path)!r} cannot be read: {reason}") from None
    return checked_rows(rows, repr(path.name))


def _check_file(path: Path) -> None:
    try:
        if path.is_file():
            return
        what = "is a folder" if path.is_dir() else "is no file"
    except OSError as error:
        raise EntangleError(f"{shown(str(path))} cannot be read: {error.strerror}") from None
    raise EntangleError(f"{str(path)!r} {what}; give a table of ratings")


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


def _read_csv(path: Path) -> pd.DataFrame:
    rows, problems = read_table(path, blank_nan=False)
    header = str(rows.columns[0]) if len(rows.columns) == 1 else ""
    for separator, name in ((";", "';'"), ("\t", "a tab")):
        if header.count(separator) > 1:
            raise EntangleError(
                f"{path.name!r} is separated by {name} and a comma was expected; its header is "
                f"{shown(header)}"
            )
    if problems:
        raise EntangleError(str(problems[0]))
    return rows


def _read_parquet(path: Path) -> pd.DataFrame:
    from pyarrow import ArrowException

    try:
        return frame_rows(pd.read_parquet(path), repr(path.name))
    except ArrowException as error:
        raise ValueError(str(error)) from error


def _read_jsonl(path: Path) -> pd.DataFrame:
    numbered: dict[int, dict[str, Any]] = {}
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            numbered[number] = json.loads(line)
        except json.JSONDecodeError as error:
            raise EntangleError(
                f"{path.name!r} row {number} is no JSON ({error.msg}, letter {error.colno})"
            ) from None
        except RecursionError:
            raise EntangleError(f"{path.name!r} row {number} is nested too deeply") from None
        if not isinstance(numbered[number], dict):
            raise EntangleError(f"{path.name!r} row {number} is no JSON object, {{...}}")
    return pd.DataFrame(list(numbered.values()), index=list(numbered), dtype=object)


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
}


def numbers(
    rows: pd.DataFrame, column: str, source: str, least: float = -np.inf
) -> Float[np.ndarray, " rows"]:
    """Return a column as numbers, NaN where a cell is empty or says NA.

    Raises:
        EntangleError: text, infinity or a number below ``least``, with the first few rows.
    """
    read = [_number(cell) for cell in rows[column]]
    wrong = [
        f"row {row} {shown(cell)}"
        for row, cell, value in zip(rows.index, rows[column], read, strict=True)
        if value is None or np.isinf(value) or value < least
    ]
    if wrong:
        expected = "no finite number" if least == -np.inf else f"no finite number from {least:g} on"
        commas = any(_DECIMAL_COMMA.fullmatch(str(cell).strip()) for cell in rows[column])
        hint = "; write a decimal point, not a decimal comma" if commas else ""
        raise EntangleError(
            f"{source}: column {column!r} holds {expected} in {several(wrong)}{hint}"
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
    return several([str(name) for name in names], _SHOWN_NAMES)


def _is_missing(cell: object) -> bool:
    return bool(pd.api.types.is_scalar(cell) and pd.isna(cell))  # type: ignore[call-overload]


def _number(cell: object) -> float | None:
    """Return a cell's number, NaN where it is missing, None where it is something else."""
    if _is_missing(cell):
        return float("nan")
    if isinstance(cell, str):
        text = cell.strip()
        if text.lower() in _MISSING:
            return float("nan")
        return float(text) if NUMBER.fullmatch(text) else None
    if isinstance(cell, bool | np.bool_) or not isinstance(cell, Real | Decimal):
        return None
    try:
        return float(cell)
    except OverflowError:
        return float("inf")


def _text(cell: object) -> str:
    if _is_missing(cell):
        return ""
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    return str(cell).strip()


def shown(cell: object) -> str:
    """Return a cell for an error sentence, on one line, cut where it is long."""
    text = repr(cell) if isinstance(cell, str) else str(cell)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}..."
