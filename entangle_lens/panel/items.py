"""Which items the tables share: the same in all, or those that all have rated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from entangle_lens.errors import EntangleError
from entangle_lens.panel.reading import several, shown
from entangle_lens.panel.table import RatingTable
from entangle_lens.panel.typography import folded, only_in, twins, twins_among, two_texts


def check_same_value(tables: Sequence[RatingTable]) -> None:
    """Raise an error where a table rates another value than the first."""
    first = tables[0]
    for table in tables[1:]:
        if table.columns.label != first.columns.label:
            raise EntangleError(
                f"{first.name} rates {first.columns.label!r} and {table.name} "
                f"{table.columns.label!r}; say which with secondary=..."
            )


def check_same_items(tables: Sequence[RatingTable]) -> None:
    """Raise an error where a table rates other items than the first."""
    for table in tables[1:]:
        for one, other in ((tables[0], table), (table, tables[0])):
            known = set(other.item_ids)
            lacking = [item for item in one.item_ids if item not in known]
            if lacking:
                raise EntangleError(
                    f"{other.name} lacks {len(lacking)} of the {len(one.item_ids)} items of "
                    f"{one.name} ({several([shown(item) for item in lacking])}); "
                    f"{_what_to_do(lacking, other.item_ids)}"
                )


def _what_to_do(lacking: Sequence[str], others: Sequence[str]) -> str:
    alike = twins(lacking, others)
    if alike:
        return f"{len(alike)} of them differ from items there {only_in(alike)}; write them alike"
    return (
        "all tables must rate the same items: give a row with an empty rating for what a model "
        "did not answer, or compare what all have rated with common_items=True"
    )


def on_items_of(people: RatingTable, table: RatingTable) -> tuple[RatingTable, list[str]]:
    """Return people's ratings of the items of ``table``, and notes on the items left out.

    Raises:
        EntangleError: no item in common.
    """
    kept = _only(people, set(table.item_ids))
    left = [item for item in people.item_ids if item not in set(table.item_ids)]
    alike = twins(left, table.item_ids)
    if kept.table.empty:
        hint = f"; {len(alike)} differ {only_in(alike)}; write them alike" if alike else ""
        raise EntangleError(
            f"{people.name} and {table.name} have no item in common: "
            f"{several([shown(item) for item in people.item_ids], 2)} there and "
            f"{several([shown(item) for item in table.item_ids], 2)} here{hint}"
        )
    notes = [
        f"{people.name} has both ratings of {kept.complete.sum()} of {len(table.table)} items."
    ]
    if left:
        notes.append(f"{people.name}: {len(left)} more items, which no model rated, were left out.")
    if alike:
        notes.append(
            f"{people.name}: {len(alike)} of the items left out differ from a model's "
            f"{only_in(alike)}."
        )
    return kept, notes


def on_common_items(
    tables: Sequence[RatingTable], people: RatingTable | None
) -> tuple[list[RatingTable], RatingTable | None, list[str]]:
    """Return all tables on the items that every one has both ratings of, and how many were left.

    Raises:
        EntangleError: there is no such item.
    """
    every = [*tables, *([people] if people else [])]
    rated = [set(table.table["item_id"][table.complete]) for table in every]
    common = set.intersection(*rated)
    union = list(dict.fromkeys(item for table in every for item in table.item_ids))
    alike = twins_among(union)
    hint = f"; {len(alike)} items differ from others {only_in(alike)}" if alike else ""
    if not common:
        raise EntangleError(
            f"no item has both ratings in all {len(every)} tables "
            f"({several([table.name for table in every])}){hint}"
        )
    lost = "; ".join(
        f"{table.name}: {len(table.table) - len(common)} of {len(table.table)}" for table in every
    )
    note = (
        f"Only the {len(common)} items that all {len(every)} tables have both ratings of were "
        f"kept, of {len(union)}; left out were {lost}{hint}."
    )
    kept = [_only(table, common) for table in every]
    return kept[: len(tables)], kept[-1] if people else None, [note]


def _only(table: RatingTable, items: set[str]) -> RatingTable:
    kept = table.table[table.table["item_id"].isin(items)].reset_index(drop=True)
    return replace(table, table=kept)


def check_texts(tables: Sequence[RatingTable]) -> list[str]:
    """Refuse an id whose texts differ between tables; return notes on texts that are alike.

    Raises:
        EntangleError: the first item with two texts, and both.
    """
    known: dict[str, tuple[str, str]] = {}
    variants = []
    for table in tables:
        for item, text in table.texts().items():
            first, where = known.setdefault(item, (text, table.name))
            if folded(first) != folded(text):
                raise two_texts(item, first, f"in {where}", text, f"in {table.name}")
            if first != text:
                variants.append((first, text))
    notes = []
    if variants:
        notes.append(
            f"The texts of {len({first for first, _ in variants})} items differ between tables "
            f"{only_in(variants)}; they count as the same."
        )
    return notes + [note for table in tables for note in _repeated_texts(table)]


def _repeated_texts(table: RatingTable) -> list[str]:
    """Say how many items of a table have a text, or an id, that others have too."""
    words = table.texts() or {item: item for item in table.item_ids}
    counts = Counter(folded(text) for text in words.values())
    repeated = [text for text in words.values() if counts[folded(text)] > 1]
    if not repeated:
        return []
    return [
        f"{table.name}: {len(repeated)} items share their text with another item "
        f"({shown(repeated[0])}) and count as different ones, which makes intervals too narrow if "
        "they are the same; single ratings of an item are averaged where item=... names a column "
        "that is the same for all of them."
    ]
