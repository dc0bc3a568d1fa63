"""Rating tables of any kind of file as rows: delimited text, JSON, parquet, Excel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from entangle_lens.csv_text import decoded
from entangle_lens.errors import EntangleError, choices
from entangle_lens.panel.delimited import delimited_rows
from entangle_lens.panel.excel import excel_rows
from entangle_lens.panel.json_text import json_line_rows, json_rows
from entangle_lens.panel.reading import checked_rows, frame_rows, shown


def read_rows(path: Path) -> pd.DataFrame:
    """Read a file of ratings, nothing guessed about its cells.

    The index is the row number: in delimited text as a spreadsheet counts, the first row of the
    file being 1 (parquet is counted like the same table as a CSV, Excel as it shows it), in JSON
    the number of the record or the line.

    Raises:
        EntangleError: no such file, another kind of file, one that cannot be read, no rows.
    """
    _check_file(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise EntangleError(
            f"{str(path)!r} is not of a known kind; the kinds are {choices(_READERS)}"
        )
    try:
        rows = reader(path)
    except EntangleError:
        raise
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise EntangleError(f"{str(path)!r} cannot be read: {reason}") from None
    return checked_rows(rows, repr(path.name))


def _check_file(path: Path) -> None:
    try:
        if path.is_file():
            return
        what = "is a folder" if path.is_dir() else "is not a file"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EntangleError(f"{shown(str(path))} cannot be read: {reason}") from None
    raise EntangleError(f"{str(path)!r} {what}; give a table of ratings")


def _text(path: Path) -> str:
    return decoded(path.read_bytes(), path.name)


def _read_parquet(path: Path) -> pd.DataFrame:
    from pyarrow import ArrowException

    try:
        return frame_rows(pd.read_parquet(path), repr(path.name))
    except ArrowException as error:
        raise ValueError(str(error)) from error


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": lambda path: delimited_rows(_text(path), path.name),
    ".tsv": lambda path: delimited_rows(_text(path), path.name),
    ".txt": lambda path: delimited_rows(_text(path), path.name),
    ".json": lambda path: json_rows(_text(path), path.name),
    ".jsonl": lambda path: json_line_rows(_text(path), path.name),
    ".parquet": _read_parquet,
    ".xlsx": excel_rows,
}
