"""Delimited text as rows with their lines, every quotation mark accounted for.

Python's own reader takes a stray quotation mark for the start of a cell and reads on over the rows
that follow, so that they disappear without a word. Here that is an error that names the line.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from entangle_lens.errors import EntangleError

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LEAST_COLUMNS = 3  # in two columns, a text of two lines looks like two rows too easily


class CsvError(EntangleError):
    """Say what is wrong with a delimited text: its ``source``, the ``line``, and the ``reason``."""

    def __init__(self, source: str, line: int, reason: str) -> None:
        super().__init__(f"{source} line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True)
class CsvRow:
    """One row: its ``number`` as a spreadsheet counts, the ``line`` it begins in, its cells.

    Both count from 1, blank lines included. They differ only after a cell with a line break.
    """

    number: int
    line: int
    cells: list[str]


def decoded(data: bytes, source: str) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 where it begins with that mark.

    Raises:
        CsvError: other bytes, with the line of the first.
    """
    encoding = "utf-16" if data.startswith(_UTF_16) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reason = f"is not UTF-8 text ({error.reason}); save the table as UTF-8"
        raise CsvError(source, line, reason) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CsvError(source, line, "holds a zero byte and is not UTF-8 text; save it as UTF-8")
    return text


def csv_rows(text: str, source: str, separator: str = ",", *, first_line: int = 1) -> list[CsvRow]:
    r"""Return the rows of a delimited text, blank lines left out.

    A cell that holds the separator, a line break or a quotation mark stands in quotation marks,
    those inside it doubled (RFC 4180). The first row is taken for the header: its number of cells
    tells rows from the lines of a cell. Text separated by tabs often has no such marks: where they
    do not fit, but every line has as many cells as the header, they are read as letters.
    ``first_line`` is the line of the file in which ``text`` begins; ``source`` begins every error.

    >>> [row.cells for row in csv_rows('a,b\n"1,5",2\n', "x.csv")]
    [['a', 'b'], ['1,5', '2']]

    Raises:
        CsvError: a quotation mark that is not closed, or closed inside a cell, or that takes whole
            rows into one cell, with the line in which it opens; a cell above Python's limit.
    """
    lines = list(io.StringIO(text, newline=""))
    try:
        return _quoted_rows(lines, source, separator, first_line)
    except CsvError:
        rows = _unquoted_rows(lines, separator, first_line) if separator == "\t" else []
        if len({len(row.cells) for row in rows}) != 1:
            raise
    return rows


def _unquoted_rows(lines: Sequence[str], separator: str, first_line: int) -> list[CsvRow]:
    numbered = enumerate((line.rstrip("\r\n") for line in lines), start=first_line)
    return [CsvRow(line, line, text.split(separator)) for line, text in numbered if text]


def _quoted_rows(
    lines: Sequence[str], source: str, separator: str, first_line: int
) -> list[CsvRow]:
    reader = csv.reader(lines, delimiter=separator, strict=True)
    rows: list[CsvRow] = []
    number = first_line - 1
    while reader.line_num < len(lines):
        before = reader.line_num
        line = before + first_line
        try:
            cells = next(reader)
        except csv.Error as error:
            reason = _reason(error, line, reader.line_num + first_line - 1)
            raise CsvError(source, line, reason) from None
        number += 1
        if not cells:
            continue
        width = len(rows[0].cells) if rows else len(cells)
        misread = _misread(cells, lines[before : reader.line_num], separator, width)
        if misread:
            raise CsvError(source, line, misread)
        rows.append(CsvRow(number, line, cells))
    return rows


def _reason(error: csv.Error, begins: int, ends: int) -> str:
    """Return in plain words why Python's reader stopped in a row of these lines."""
    if "field limit" in str(error):
        return (
            f"a cell of more than {csv.field_size_limit():,} letters begins here; a quotation "
            "mark may be open that should be closed"
        )
    if "end of data" in str(error):
        return "a quotation mark opens a cell here and is never closed"
    where = "the same line" if begins == ends else f"line {ends}"
    return (
        f"the quotation mark that opens a cell here is closed in {where}, and text follows it; "
        'write "" for a quotation mark inside a cell'
    )


def _misread(cells: Sequence[str], lines: Sequence[str], separator: str, width: int) -> str:
    """Return why a row that Python's reader accepts is not what was meant, else nothing."""
    blank_first = re.compile(rf'(?:^|{re.escape(separator)}) +"')
    if any(re.match(' +"', cell) for cell in cells) and any(map(blank_first.search, lines)):
        return "a blank stands before the quotation mark that opens a cell; remove the blank"
    if len(lines) > 1 and _are_rows(lines, separator, width):
        return (
            f"the quotation mark that opens a cell here is closed {len(lines) - 1} lines below, "
            "after lines that are rows themselves"
        )
    return ""


def _are_rows(lines: Sequence[str], separator: str, width: int) -> bool:
    """Say whether the lines of one row look like rows: as many cells, numbers in the same places.

    The first line counts only where there is none between it and the last, since the text that
    follows the stray mark may hold separators.
    """
    shapes = [_shape(line, separator) for line in lines if line.strip()]
    last = shapes[-1]
    if width < _LEAST_COLUMNS or len(last) != width:
        return False
    return all(_alike(shape, last) for shape in shapes[1:-1] or shapes[:1])


def _shape(line: str, separator: str) -> list[str]:
    """Return what each cell of a line holds, quotation marks left aside."""
    return [_kind(cell.strip(' "\r\n')) for cell in line.split(separator)]


def _kind(cell: str) -> str:
    if not cell:
        return "nothing"
    try:
        float(cell)
    except ValueError:
        return "text"
    return "number"


def _alike(shape: Sequence[str], other: Sequence[str]) -> bool:
    pairs = zip(shape, other, strict=False)
    return len(shape) == len(other) and all(set(each) != {"text", "number"} for each in pairs)
