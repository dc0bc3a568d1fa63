"""Foot lines of a table, such as its means, that look like one more item."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation

import numpy as np
import pandas as pd
from jaxtyping import Float

from entangle_lens.errors import EntangleError
from entangle_lens.panel.reading import shown

_Values = Float[np.ndarray, " rows"]
_MOST_WORDS = 3
_STATISTICS: dict[str, tuple[str, tuple[Callable[[_Values], float], ...]]] = {
    "mean average avg m": ("mean", (np.mean,)),
    "total sum": ("sum", (np.sum,)),
    "sd std stdev deviation": ("standard deviation", (lambda x: np.std(x, ddof=1), np.std)),
    "se sem error": ("standard error", (lambda x: np.std(x, ddof=1) / np.sqrt(len(x)),)),
    "var variance": ("variance", (lambda x: np.var(x, ddof=1), np.var)),
    "median mdn": ("median", (np.median,)),
    "min minimum": ("minimum", (np.min,)),
    "max maximum": ("maximum", (np.max,)),
    "n count": ("count", (len,)),
}


def check_foot(parts: Mapping[str, pd.DataFrame], source: str) -> list[str]:
    """Refuse a row that is called a statistic and holds that statistic of every rated column.

    ``parts`` has, for each rated value, rows with ``item_id``, ``rating`` and the ``cell`` that
    the rating was read from, by row number. An item that is only called "mean" stays an item;
    where it is the last one, the note that is returned says so.

    Raises:
        EntangleError: the row, its name, and what it holds.
    """
    first = next(iter(parts.values()))
    items = first["item_id"].unique()
    called = {item: known for item in items if (known := _statistic(item)) is not None}
    for item, (name, ways) in called.items():
        held = {_holds(part, item, list(called), ways) for part in parts.values()} - {None}
        if held == {True}:
            row = first.index[first["item_id"] == item][0]
            raise EntangleError(
                f"{source} row {row}: {shown(item)} holds the {name} of the other rows and is "
                "not an item; delete the row"
            )
    last = first["item_id"].iloc[-1]
    return [f"{source}: the last row, {shown(last)}, counts as an item."] if last in called else []


def _statistic(item: str) -> tuple[str, tuple[Callable[[_Values], float], ...]] | None:
    """Return the statistic that a short name is one of."""
    words = re.findall(r"[^\W\d_]+", item.lower().replace(".", ""))
    if not 0 < len(words) <= _MOST_WORDS:
        return None
    known = (each for names, each in _STATISTICS.items() if set(names.split()) & set(words))
    return next(known, None)


def _holds(
    part: pd.DataFrame,
    item: str,
    called: list[str],
    ways: tuple[Callable[[_Values], float], ...],
) -> bool | None:
    """Say whether the row of ``item`` holds a statistic of the items; None where it is empty."""
    own = part[part["item_id"] == item]
    others = part["rating"][~part["item_id"].isin(called)].dropna().to_numpy()
    if len(own) != 1 or len(others) < 2:
        return False
    value = own["rating"].iloc[0]
    if np.isnan(value):
        return None
    tolerance = _rounding(own["cell"].iloc[0]) + 1e-9 * float(np.abs(others).max())
    return any(abs(value - way(others)) <= tolerance for way in ways)


def _rounding(cell: object) -> float:
    """Return half of the last decimal that a number is written with; nothing for whole ones."""
    try:
        exponent = Decimal(str(cell).strip().replace(",", ".")).as_tuple().exponent
    except InvalidOperation:
        return 0.0
    return 0.5 * 10.0**exponent if isinstance(exponent, int) and exponent < 0 else 0.0
