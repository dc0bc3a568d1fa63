"""One row per item, from the rows of a table: its id, its scenario, its text."""

from __future__ import annotations

import pandas as pd

from entangle_lens.errors import EntangleError
from entangle_lens.panel.columns import Columns
from entangle_lens.panel.reading import ids, shown, texts
from entangle_lens.panel.typography import folded, two_texts


def item_rows(rows: pd.DataFrame, items: pd.Series, columns: Columns, source: str) -> pd.DataFrame:
    """Return one row per item: its id, its scenario and its text where there are such columns.

    ``items`` are the ids of the rows, by row number.

    Raises:
        EntangleError: an item with two scenarios, or with two texts that differ in more than
            typography.
    """
    table = pd.DataFrame({"item_id": items.unique()})
    if columns.scenario is not None:
        table["scenario_id"] = _scenarios(rows, items, columns.scenario, source)
    if columns.text is not None:
        table["text"] = _texts(rows, items, columns.text, source)
    return table


def _scenarios(rows: pd.DataFrame, items: pd.Series, column: str, source: str) -> list[str]:
    """Return the one scenario of each item; two different ones are an error."""
    first: dict[str, tuple[str, object]] = {}
    for (row, item), cell in zip(items.items(), ids(rows, column, source), strict=True):
        known, where = first.setdefault(item, (cell, row))
        if known != cell:
            raise EntangleError(
                f"{source}: item {shown(item)} has {column} {shown(known)} in row {where} and "
                f"{shown(cell)} in row {row}; an item has one"
            )
    return [cell for cell, _ in first.values()]


def _texts(rows: pd.DataFrame, items: pd.Series, column: str, source: str) -> list[str]:
    """Return the one text of each item, empty where it has none; two are an error.

    Texts that differ in typography only count as one.
    """
    first: dict[str, tuple[str, object]] = {}
    for (row, item), text in zip(items.items(), texts(rows, column, source), strict=True):
        known, where = first.setdefault(item, (text, row))
        if not known:
            first[item] = (text, row)
        elif text and folded(known) != folded(text):
            raise two_texts(item, known, f"in row {where} of {source}", text, f"in row {row}")
    return [text for text, _ in first.values()]
