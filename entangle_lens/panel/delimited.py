"""Delimited text of ratings: what stands before the header, which separator, rows of one width."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from entangle_lens.csv_text import CsvError, CsvRow, csv_rows
from entangle_lens.errors import EntangleError

SEPARATORS = {",": "','", ";": "';'", "\t": "a tab", "|": "'|'"}
_EXCEL_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_COMMENT = "#"
_LEAST_COLUMNS = 3  # an item and two ratings, or an item, a value and its rating


@dataclass(frozen=True)
class _Layout:
    """The text from the header on, the line it begins in, and the separator if it was named."""

    body: str
    first_line: int
    separator: str | None

    def rows(self, separator: str, source: str) -> list[CsvRow]:
        return csv_rows(self.body, source, separator, first_line=self.first_line)


def delimited_rows(text: str, source: str) -> pd.DataFrame:
    """Return the rows of a text separated by commas, semicolons, tabs or bars, as text.

    Before the header, Excel's line ``sep=;``, blank lines and lines that begin with ``#`` are
    allowed. The index is the row number of the file.

    Raises:
        EntangleError: a stray quotation mark, rows of another width than the header, or a
            separator that cannot be told, each with its line.
    """
    layout = _layout(text)
    separator = layout.separator or _separator(layout, source)
    rows = layout.rows(separator, source)
    header = _trimmed(rows[0].cells) if rows else []
    body = [row for row in rows[1:] if any(cell.strip() for cell in row.cells)]
    for row in body:
        _check_width(row, len(header), source)
    cells = [[cell.strip() for cell in row.cells[: len(header)]] for row in body]
    index = [row.number for row in body]
    return pd.DataFrame(cells, columns=header, index=index, dtype=str)


def _layout(text: str) -> _Layout:
    lines = list(io.StringIO(text, newline=""))
    named = _EXCEL_LINE.fullmatch(lines[0].rstrip("\r\n")) if lines else None
    start = 1 if named else 0
    while start < len(lines) and _is_before_header(lines[start]):
        start += 1
    return _Layout("".join(lines[start:]), start + 1, named[1] if named else None)


def _is_before_header(line: str) -> bool:
    """Say whether a line is blank or a comment; a first column may be called ``#``."""
    line = line.strip()
    return not line or (line.startswith(_COMMENT) and line[1:2] not in SEPARATORS)


def _separator(layout: _Layout, source: str) -> str:
    """Return the separator that gives every row as many cells as the header."""
    read = {separator: _try(layout, separator, source) for separator in SEPARATORS}
    widths = {separator: len(_trimmed(rows[0].cells)) for separator, rows in read.items() if rows}
    fits = [each for each, width in widths.items() if width > 1 and _is_even(read[each], width)]
    wide = [each for each in fits if widths[each] >= _LEAST_COLUMNS]
    if len(wide) > 1:
        names = " and ".join(SEPARATORS[each] for each in wide)
        raise EntangleError(
            f"{source}: {names} both separate its columns; write the right one in a first line, "
            f"such as sep={wide[0]}"
        )
    if wide or fits:
        return (wide or fits)[0]
    first_line = layout.body.partition("\n")[0]
    return max(SEPARATORS, key=first_line.count)


def _try(layout: _Layout, separator: str, source: str) -> list[CsvRow]:
    try:
        return layout.rows(separator, source)
    except CsvError:
        return []


def _trimmed(header: Sequence[str]) -> list[str]:
    """Return the names in a header, without the empty ones at its end."""
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    return names


def _is_even(rows: Sequence[CsvRow], width: int) -> bool:
    return all(len(row.cells) >= width and not any(row.cells[width:]) for row in rows)


def _check_width(row: CsvRow, width: int, source: str) -> None:
    n_cells = len(row.cells)
    if n_cells < width:
        raise EntangleError(
            f"{source} row {row.number}: has {n_cells} cell{'' if n_cells == 1 else 's'} for "
            f"{width} columns; leave a cell empty where nothing is known"
        )
    if any(row.cells[width:]):
        raise EntangleError(
            f"{source} row {row.number}: has {n_cells} cells for {width} columns; put a text that "
            "holds the separator in quotation marks"
        )
