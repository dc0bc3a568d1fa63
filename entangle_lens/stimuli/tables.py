"""The form of the stimulus tables: columns, levels, and what is wrong with a table."""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from entangle_lens.csv_text import CsvError, csv_rows, decoded
from entangle_lens.errors import choices, printable
from entangle_lens.stimuli.questions import POLARITIES

FIRST_ROW = 2  # the header is row 1, as a spreadsheet counts
VALUES = ("moral", "grammar", "economic")
SECONDARY = ("grammar", "economic")
MORAL_LEVELS = ("-1", "0", "1")
CORRUPTION_LEVELS = ("1", "2", "3", "4")
MAX_MEAN = 1_000  # of people's ratings: no rating scale reaches so far
_SHOWN_LETTERS = 60

Check = Callable[[str], str | None]

# Narrower than Python's float, which also reads 1_000 and digits of other scripts. Every text can
# be matched in one way only, or a cell of many digits would take minutes.
NUMBER = re.compile(r"[+-]?([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a stimulus folder: where, and what was expected.

    ``row`` counts as a spreadsheet does; ``line`` is that of the file, where it has no rows yet.
    """

    table: str
    message: str
    row: int | None = None
    column: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = self.table
        if self.line is not None:
            place += f" line {self.line}"
        if self.row is not None:
            place += f" row {self.row}"
        if self.column is not None:
            place += f", column {self.column}"
        return printable(f"{place}: {self.message}", one_line=True)


@dataclass(frozen=True)
class Table:
    """The form of one table: its required columns with the check of each cell, and its id.

    ``others`` checks the cells of all other columns, which are read as text where it is None.
    """

    columns: dict[str, Check]
    id_column: str | None = None
    required: bool = False
    others: Check | None = None


def _text(cell: str) -> str | None:
    return None if cell else "is empty, and text was expected"


def _anything(cell: str) -> str | None:
    return None


def _one_of(*levels: str) -> Check:
    def check(cell: str) -> str | None:
        if cell in levels:
            return None
        return f"unknown level {shown(cell)}; the levels are {choices(levels)}"

    return check


def _number(cell: str) -> str | None:
    known = NUMBER.fullmatch(cell) and math.isfinite(float(cell))
    return None if known else f"{shown(cell)} is not a number"


def _number_or_empty(cell: str) -> str | None:
    return None if cell == "" else _number(cell)


def _mean(cell: str) -> str | None:
    if _number(cell) or abs(float(cell)) <= MAX_MEAN:
        return _number(cell)
    return f"{cell} is not a mean of ratings; from -{MAX_MEAN:,} to {MAX_MEAN:,} was expected"


def _standard_error(cell: str) -> str | None:
    if _number(cell) or float(cell) >= 0:
        return _number(cell)
    return f"{cell} is negative, and a standard error was expected"


def _count(cell: str) -> str | None:
    if _number(cell) or (float(cell) >= 1 and float(cell).is_integer()):
        return _number(cell)
    return f"{cell} is not a number of people; a whole number from 1 on was expected"


def _instruction(cell: str) -> str | None:
    try:
        fields = [each[1:] for each in string.Formatter().parse(cell) if each[1] is not None]
    except ValueError as error:
        return f"has a stray brace ({error})"
    if {name for name, _, _ in fields} != {"low", "high"}:
        return "must name the ends of the scale as {low} and {high}, and hold no other field"
    if any(form or conversion for _, form, conversion in fields):
        return "must write {low} and {high} without a format after the name"
    return None


def shown(cell: str) -> str:
    """Return a cell as it stands in a sentence: in quotation marks, and cut where it is long."""
    return repr(cell if len(cell) <= _SHOWN_LETTERS else f"{cell[:_SHOWN_LETTERS]}...")


TABLES: dict[str, Table] = {
    "items": Table(
        {
            "item_id": _text,
            "scenario_id": _text,
            "set": _one_of("moral_grammar", "moral_economic"),
            "split": _one_of("test"),
            "text": _text,
            "moral": _one_of(*MORAL_LEVELS),
            "corruption": _one_of(*CORRUPTION_LEVELS),
            "price": _number_or_empty,
            "log_price": _number_or_empty,
        },
        id_column="item_id",
        required=True,
    ),
    "contrasts": Table(
        {
            "pair_id": _text,
            "scenario_id": _text,
            "value": _one_of(*VALUES, "valence"),
            "split": _one_of("fit", "select"),
            "positive": _text,
            "negative": _text,
        },
        id_column="pair_id",
        required=True,
    ),
    "questions": Table(
        {
            "value": _text,
            "paraphrase": _text,
            "polarity": _one_of(*POLARITIES),
            "instruction": _instruction,
            "answer_prefix": _anything,
        },
        required=True,
    ),
    "phrases": Table({"value": _one_of(*VALUES), "pole": _one_of("high", "low"), "phrase": _text}),
    "controls": Table(
        {"control_id": _text, "set": _text, "text": _text, "number": _number},
        id_column="control_id",
    ),
    "neutral": Table({"prompt_id": _text, "text": _text}, id_column="prompt_id"),
    "minimal_pairs": Table(
        {"pair_id": _text, "phenomenon": _text, "grammatical": _text, "ungrammatical": _text},
        id_column="pair_id",
    ),
    "human": Table(
        {
            "item_id": _text,
            "value": _one_of(*VALUES),
            "mean": _mean,
            "se": _standard_error,
            "n": _count,
        }
    ),
    "covariates": Table({"item_id": _text}, id_column="item_id", others=_number),
}


def read_table(path: Path) -> tuple[pd.DataFrame, list[Problem]]:
    """Read a CSV as text, one string a cell, nothing guessed.

    Cells that say nan, NA, null or none become empty. The index is the row number as a spreadsheet
    counts: the header is row 1, blank lines count. What cannot be put into a table (a stray
    quotation mark, too many cells in a row, a column twice) is returned too.
    """
    try:
        rows = csv_rows(decoded(path.read_bytes(), path.name), path.name)
    except CsvError as error:
        return pd.DataFrame(), [Problem(path.name, error.reason, line=error.line)]
    except OSError as error:
        return pd.DataFrame(), [Problem(path.name, f"cannot be read ({error.strerror})")]
    header = [name.strip() for name in rows[0].cells] if rows else []
    while header and not header[-1]:
        header.pop()
    width = len(header)
    problems = [
        Problem(path.name, f"column {shown(name)} stands twice in the header", 1, name)
        for name, count in Counter(header).items()
        if count > 1
    ]
    numbered = [(row.number, row.cells) for row in rows[1:]]
    problems += [
        Problem(
            path.name,
            f"has {len(cells)} cells for {width} columns; put a text with commas in quotes",
            row,
        )
        for row, cells in numbered
        if any(cells[width:])
    ]
    body = [[cell.strip() for cell in (cells + [""] * width)[:width]] for _, cells in numbered]
    table = pd.DataFrame(body, columns=header, index=[row for row, _ in numbered], dtype=str)
    table = table.replace(to_replace=r"(?i)^(nan|na|null|none)$", value="", regex=True)
    return table, problems


def cell_problems(name: str, table: pd.DataFrame) -> Iterator[Problem]:
    """Yield what is wrong with the columns, cells and ids of one table."""
    form, file = TABLES[name], f"{name}.csv"
    missing = [column for column in form.columns if column not in table]
    if missing:
        yield Problem(
            file,
            f"lacks column {choices(missing)}; it has {choices(table.columns) or 'none'} and "
            f"needs {choices(form.columns)}",
        )
        return
    if table.empty:
        yield Problem(file, "has no rows")
    checks = dict(form.columns)
    if form.others is not None:
        checks |= {str(name): form.others for name in table if name not in checks}
    for column, check in checks.items():
        for row, cell in table[column].items():
            message = check(cell) or _control_character(cell)
            if message is not None:
                yield Problem(file, message, int(str(row)), column)
    if form.id_column is not None:
        yield from duplicate_problems(file, table, [form.id_column])


def _control_character(cell: str) -> str | None:
    """Refuse what is no letter, no line break and no tab: it steers a terminal, or is an error."""
    for letter in cell:
        if unicodedata.category(letter) == "Cc" and letter not in "\n\r\t":
            return f"holds the control character {letter!r}, and text was expected"
    return None


def duplicate_problems(file: str, table: pd.DataFrame, columns: Sequence[str]) -> Iterator[Problem]:
    """Yield each row whose ``columns`` repeat an earlier row."""
    first_row: dict[tuple[str, ...], int] = {}
    keys = zip(*(table[column] for column in columns), strict=True)
    for row, key in zip(table.index.tolist(), keys, strict=True):
        if key in first_row and all(key):
            message = f"{shown(' / '.join(key))} stands already in row {first_row[key]}"
            yield Problem(file, message, row, columns[0])
        first_row.setdefault(key, row)
