"""Texts that stand in the tables twice, and would be counted as two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import pandas as pd

from entangle_lens.stimuli.tables import Problem, shown


def repeated_problems(tables: Mapping[str, pd.DataFrame]) -> Iterator[Problem]:
    """Yield every text that is there twice, letter case and blanks left aside.

    The same item twice makes an interval too narrow; a pair of two equal texts has no direction; a
    pair that is fitted on and chosen by, or is an item too, is judged by what it was made from.
    """
    items, contrasts = tables["items"], tables["contrasts"]
    yield from _repeated_items(items)
    yield from _equal_sides("contrasts.csv", contrasts, "positive", "negative")
    yield from _repeated_pairs("contrasts.csv", contrasts, ["positive", "negative"], "value")
    yield from _items_in_pairs(items, contrasts)
    if "minimal_pairs" in tables:
        pairs, sides = tables["minimal_pairs"], ["grammatical", "ungrammatical"]
        yield from _equal_sides("minimal_pairs.csv", pairs, *sides)
        yield from _repeated_pairs("minimal_pairs.csv", pairs, sides, None)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _numbered(table: pd.DataFrame) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = cast(list[dict[str, Any]], table.to_dict("records"))
    return zip(table.index.tolist(), rows, strict=True)


def _repeated_items(items: pd.DataFrame) -> Iterator[Problem]:
    first: dict[tuple[str, str], tuple[int, str]] = {}
    for row, item in _numbered(items):
        key = (item["set"], _folded(item["text"]))
        first_row, first_id = first.setdefault(key, (row, item["item_id"]))
        if first_id != item["item_id"]:
            message = (
                f"item {shown(item['item_id'])} has the text of item {shown(first_id)} in row "
                f"{first_row}, letter case and blanks left aside; leave one of them out"
            )
            yield Problem("items.csv", message, row, "text")


def _equal_sides(file: str, pairs: pd.DataFrame, one: str, other: str) -> Iterator[Problem]:
    """Here letter case counts: a grammar pair may differ in it."""
    for row, pair in _numbered(pairs):
        if pair[one].split() == pair[other].split():
            message = f"pair {shown(pair['pair_id'])} has the same text as {one} and as {other}"
            yield Problem(file, message, row, other)


def _repeated_pairs(
    file: str, pairs: pd.DataFrame, sides: Sequence[str], within: str | None
) -> Iterator[Problem]:
    first: dict[tuple[str, ...], tuple[int, dict[str, Any]]] = {}
    for row, pair in _numbered(pairs):
        key = (pair[within] if within else "", *(_folded(pair[side]) for side in sides))
        first_row, same = first.setdefault(key, (row, pair))
        if first_row == row or same["pair_id"] == pair["pair_id"]:
            continue
        splits = (same.get("split"), pair.get("split"))
        crossing = f" (splits {splits[0]} and {splits[1]})" if splits[0] != splits[1] else ""
        message = (
            f"pair {shown(pair['pair_id'])} has the texts of pair {shown(same['pair_id'])} in row "
            f"{first_row}{crossing}, letter case and blanks left aside; leave one of them out"
        )
        yield Problem(file, message, row, sides[0])


def _items_in_pairs(items: pd.DataFrame, contrasts: pd.DataFrame) -> Iterator[Problem]:
    ids = {_folded(item["text"]): item["item_id"] for _, item in _numbered(items)}
    for row, pair in _numbered(contrasts):
        for side in ("positive", "negative"):
            item_id = ids.get(_folded(pair[side]))
            if item_id is not None:
                message = (
                    f"pair {shown(pair['pair_id'])} holds the text of the test item "
                    f"{shown(item_id)}; a direction must not be fitted on what it is tested on"
                )
                yield Problem("contrasts.csv", message, row, side)
