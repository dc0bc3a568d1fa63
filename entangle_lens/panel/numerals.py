"""What a comma, or a point, in the numbers of a column stands for: thousands or decimals.

``7,500`` is 7500 where commas group thousands and 7.5 where they stand for the decimal point. One
cell cannot tell; the whole column sometimes can.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_PLAIN = re.compile(r"[+-]?[0-9]+")
_LEFT_OUT = 1_000  # numbers below it are written without a mark where marks group thousands


def marks_group(cells: Sequence[str], mark: str) -> bool:
    """Say whether ``mark`` can only group thousands in a column of numbers.

    All cells with the mark have to be grouped right, and one of these has to hold: a cell has the
    mark twice, or beside the other mark, which is then the decimal one; or trailing zeros are kept
    (``7,500``) and whole numbers below 1,000 have none (``25``), which no way of writing decimals
    does.
    """
    marked = [cell for cell in cells if mark in cell]
    if not marked or not all(is_grouped(cell, mark) for cell in marked):
        return False
    other = _other(mark)
    if any(cell.count(mark) > 1 for cell in marked) or any(other in cell for cell in cells):
        return True
    plain = [cell for cell in cells if _PLAIN.fullmatch(cell)]
    return (
        bool(plain)
        and all(abs(int(cell)) < _LEFT_OUT for cell in plain)
        and any(cell.endswith("0") for cell in marked)
    )


def is_grouped(cell: str, mark: str) -> bool:
    """Say whether ``mark`` stands in a number where it would to group thousands."""
    decimals = rf"({re.escape(_other(mark))}[0-9]+)?"
    return bool(
        re.fullmatch(rf"[+-]?[1-9][0-9]{{0,2}}({re.escape(mark)}[0-9]{{3}})+{decimals}", cell)
    )


def ungrouped(cell: str, mark: str) -> str:
    """Return a number without its grouping marks, its decimal mark a point."""
    return cell.replace(mark, "").replace(_other(mark), ".")


def comma_hint(cells: Sequence[str]) -> str:
    """Say how the commas in a column of numbers that cannot be read may be meant, else nothing."""
    marked = [cell for cell in cells if re.fullmatch(r"[+-]?[0-9]*(,[0-9]+)+(\.[0-9]+)?", cell)]
    if not marked:
        return ""
    if all(is_grouped(cell, ",") for cell in marked):
        return f"; {both_readings(marked[0], ',')}"
    return "; write a decimal point, not a decimal comma"


def both_readings(cell: str, mark: str) -> str:
    """Name the two numbers that a cell may mean."""
    name = {",": "comma", ".": "point"}[mark]
    whole, decimal = ungrouped(cell, mark), f"{float(cell.replace(mark, '.')):g}"
    return (
        f"{cell!r} is {whole} if the {name} groups thousands and {decimal} if it is a decimal "
        f"{name}, and the column does not settle which: write {whole} or {decimal}"
    )


def _other(mark: str) -> str:
    return {",": ".", ".": ","}[mark]
