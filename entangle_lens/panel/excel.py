"""The one sheet of ratings in an Excel file; needs openpyxl, the extra ``excel``."""

from __future__ import annotations

import zipfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from entangle_lens.errors import EntangleError, choices

_MAX_BYTES = 500_000_000  # unpacked; a small file can claim any size
_Row = tuple[Any, ...]


@dataclass(frozen=True)
class _Sheet:
    """A sheet's rows: the values, and the same cells as written, formulas among them."""

    title: str
    values: list[_Row]
    written: list[_Row]


def excel_rows(path: Path) -> pd.DataFrame:
    """Return the rows of the only sheet that holds any, numbered as Excel shows them.

    Formulas give the values that Excel saved with them.

    Raises:
        EntangleError: openpyxl is not installed, no Excel file, several sheets with rows, a
            formula that was saved without its value, cells beside the columns with a name.
    """
    sheet = _only_filled(_read(path), path)
    _check_formulas(sheet, path)
    rows = {number: row for number, row in enumerate(sheet.values, start=1) if _is_filled(row)}
    names = next(iter(rows.values()), ())
    header = ["" if name is None else str(name).strip() for name in names]
    while header and not header[-1]:
        header.pop()
    for number, row in rows.items():
        if _is_filled(row[len(header) :]):
            raise EntangleError(
                f"{path.name!r} row {number}: has a cell beside the {len(header)} columns that "
                "have a name"
            )
    body = [list(row[: len(header)]) for row in rows.values()][1:]
    return pd.DataFrame(body, columns=header, index=list(rows)[1:], dtype=object)


def _is_filled(row: _Row) -> bool:
    return any(cell is not None for cell in row)


def _read(path: Path) -> list[_Sheet]:
    """Return the visible sheets of a file."""
    try:
        import openpyxl
    except ImportError:
        raise EntangleError(
            f"{path.name!r} is an Excel file, and openpyxl, which reads them, is not installed: "
            'install "entangle-lens[excel]", or save the sheet as CSV'
        ) from None
    try:
        _check_size(path)
        with (
            closing(openpyxl.load_workbook(path, read_only=True, data_only=True)) as values,
            closing(openpyxl.load_workbook(path, read_only=True)) as written,
        ):
            return [
                _Sheet(
                    sheet.title,
                    list(sheet.iter_rows(values_only=True)),
                    list(written[sheet.title].iter_rows(values_only=True)),
                )
                for sheet in values.worksheets
                if sheet.sheet_state == "visible"
            ]
    except EntangleError:
        raise
    except Exception as error:  # whatever the readers of zip and XML raise comes through
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EntangleError(f"{path.name!r} cannot be read as an Excel file: {reason}") from None


def _check_size(path: Path) -> None:
    with zipfile.ZipFile(path) as packed:
        size = sum(each.file_size for each in packed.infolist())
    if size > _MAX_BYTES:
        raise EntangleError(
            f"{path.name!r} is {size / 1e9:.1f} GB when unpacked, and at most "
            f"{_MAX_BYTES / 1e9:.1f} GB are read; save the sheet as CSV"
        )


def _only_filled(sheets: list[_Sheet], path: Path) -> _Sheet:
    filled = [sheet for sheet in sheets if any(map(_is_filled, sheet.written))]
    if len(filled) > 1:
        raise EntangleError(
            f"{path.name!r} has {len(filled)} sheets with cells "
            f"({choices(repr(sheet.title) for sheet in filled)}); save the sheet of ratings as a "
            "file of its own"
        )
    return filled[0] if filled else _Sheet("", [], [])


def _check_formulas(sheet: _Sheet, path: Path) -> None:
    """Refuse formulas without a value: a program that is not Excel saved them."""
    pairs = zip(sheet.values, sheet.written, strict=True)
    for number, (row, as_written) in enumerate(pairs, start=1):
        for cell, formula in zip(row, as_written, strict=True):
            if cell is None and formula is not None:
                raise EntangleError(
                    f"{path.name!r} row {number}: the formula {str(formula)!r} was saved without "
                    "its value; open the file in Excel and save it again"
                )
