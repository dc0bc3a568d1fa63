"""A table of ratings by one rater, a model or a panel of people, checked and one row an item."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from entangle_lens.errors import EntangleError
from entangle_lens.panel.columns import ColumnChoice, Columns, choose_columns, like
from entangle_lens.panel.reading import frame_rows, ids, numbers, read_rows, several, shown, texts

ROLES = ("moral", "secondary")
MAX_MISSING = 0.1


@dataclass(frozen=True)
class RatingTable:
    """The ratings of one rater.

    ``table`` has one row an item: ``item_id, moral, secondary``, the ``_se`` and ``_n`` of both
    (NaN where not known), and ``scenario_id`` and ``text`` where the source has them; a rating
    that is missing is NaN. ``columns`` says where each was found. ``single`` names the
    roles whose rows were single ratings, of which ``n_missing_single`` were missing. ``sha256``
    is that of the file, empty for a DataFrame. ``column_names`` are all that the source has.
    """

    name: str
    table: pd.DataFrame
    columns: Columns
    single: tuple[str, ...] = ()
    n_missing_single: int = 0
    sha256: str = ""
    column_names: tuple[str, ...] = ()

    @property
    def item_ids(self) -> list[str]:
        """The items, in the order in which they first stand in the source."""
        return self.table["item_id"].tolist()

    @property
    def complete(self) -> Bool[np.ndarray, " items"]:
        """Which items have both ratings."""
        return self.table[list(ROLES)].notna().all(axis=1).to_numpy()

    @property
    def n_missing(self) -> int:
        """How many items lack a rating."""
        return int((~self.complete).sum())

    @property
    def n_rated_once(self) -> int:
        """How many items have but one of the single ratings, so that their error is unknown."""
        counts = self.table[[f"{role}_n" for role in self.single]]
        return int((counts == 1).any(axis=1).sum())

    def check_missing(self) -> None:
        """Raise an error where more than one item in ten lacks a rating."""
        if self.n_missing > MAX_MISSING * len(self.table):
            lacking = [shown(item) for item in self.table["item_id"][~self.complete]]
            raise EntangleError(
                f"{self.name}: {self.n_missing} of {len(self.table)} items lack a rating "
                f"({several(lacking)}); more than {MAX_MISSING:.0%} needs --allow-missing"
            )


def read_ratings(
    source: str | Path | pd.DataFrame,
    name: str,
    choice: ColumnChoice,
    same_as: Columns | None = None,
) -> RatingTable:
    """Read a file or a DataFrame of ratings, find its columns, check every cell, aggregate.

    Where most items stand in several rows and no standard errors are named, rows are single
    ratings: an item's rating is their mean, its standard error sd / sqrt(n). With ``same_as``, the
    columns are those that hold the same values as another table's.

    Raises:
        EntangleError: whatever is wrong with the table, with column and row.
    """
    if isinstance(source, pd.DataFrame):
        rows, digest = frame_rows(source, name), ""
    else:
        rows = read_rows(Path(source))
        digest = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    if same_as is not None:
        choice = like(same_as, rows, choice, name)
    columns, all_names = choose_columns(rows, choice, name), list(rows.columns)
    if columns.value is not None:
        known = ids(rows, columns.value, name)
        rows = rows[[value in (columns.moral, columns.secondary) for value in known]]
    item_ids = ids(rows, columns.item, name)
    table = pd.DataFrame({"item_id": list(dict.fromkeys(item_ids))})
    if columns.scenario is not None:
        table["scenario_id"] = _one_each(rows, columns.scenario, item_ids, name)
    if columns.text is not None:
        of_rows = pd.Series(texts(rows, columns.text, name), item_ids)
        table["text"] = of_rows[~of_rows.index.duplicated()].to_numpy()
    single, n_missing_single = [], 0
    for role in ROLES:
        part = _part(rows, columns, role, name)
        if _are_single(part, rows.loc[part.index], columns.se is None, name):
            single.append(role)
            n_missing_single += int(part["rating"].isna().sum())
            part = _aggregated(part)
        values = part.set_index("item_id").reindex(table["item_id"])
        for kind, target in (("rating", role), ("se", f"{role}_se"), ("n", f"{role}_n")):
            table[target] = values[kind].to_numpy()
    return RatingTable(
        name, table, columns, tuple(single), n_missing_single, digest, tuple(all_names)
    )


def _part(rows: pd.DataFrame, columns: Columns, role: str, source: str) -> pd.DataFrame:
    """Return the rows that rate one value: item_id, rating, se, n, by row number."""
    which = ROLES.index(role)
    rating = (columns.moral, columns.secondary)[which]
    if columns.value is not None and columns.rating is not None:
        chosen = [value == rating for value in ids(rows, columns.value, source)]
        rows, rating = rows[chosen], columns.rating

    def optional(column: str | None) -> Float[np.ndarray, " rows"]:
        if column is None:
            return np.full(len(rows), np.nan)
        return numbers(rows, column, source, least=0.0)

    return pd.DataFrame(
        {
            "item_id": ids(rows, columns.item, source),
            "rating": numbers(rows, rating, source),
            "se": optional(columns.se[which] if columns.se else None),
            "n": optional(columns.n),
        },
        index=rows.index,
    )


def _are_single(part: pd.DataFrame, rows: pd.DataFrame, may_be: bool, source: str) -> bool:
    """Say whether rows are single ratings; duplicated items are an error.

    They are where most items stand more than once, and not only in copies of the same row.
    """
    counts = part["item_id"].value_counts()
    if counts.max() < 2:
        return False
    again = part["item_id"].duplicated()
    copied = rows.astype(str).duplicated()
    if not may_be:
        why = "with standard errors, one row an item was expected"
    elif (counts > 1).sum() <= len(counts) / 2:
        once = int((counts == 1).sum())
        why = f"{once} of {len(counts)} items stand once, so these are no single ratings"
    elif copied[again].all():
        why = "all rows that repeat an item are copies, the same in every column"
    else:
        return True
    item = next(each for each in part["item_id"] if counts[each] > 1)
    numbered = [str(row) for row in part.index[part["item_id"] == item]]
    raise EntangleError(
        f"{source}: duplicated items: {shown(item)} stands in rows {several(numbered, 5)}; {why}"
    )


def _aggregated(part: pd.DataFrame) -> pd.DataFrame:
    """Return mean, se = sd / sqrt(n) and n of each item's ratings, missing ones left out."""
    groups = part.groupby("item_id", sort=False)["rating"]
    n = groups.count()
    table = pd.DataFrame({"rating": groups.mean(), "se": groups.std(ddof=1) / np.sqrt(n), "n": n})
    return table.reset_index()


def _one_each(rows: pd.DataFrame, column: str, item_ids: list[str], source: str) -> list[str]:
    """Return a column's one cell for each item; two different ones are an error."""
    first: dict[str, tuple[str, object]] = {}
    for row, item, cell in zip(rows.index, item_ids, ids(rows, column, source), strict=True):
        known, where = first.setdefault(item, (cell, row))
        if known != cell:
            raise EntangleError(
                f"{source}: item {shown(item)} has {column} {shown(known)} in row {where} and "
                f"{shown(cell)} in row {row}; an item has one"
            )
    return [cell for cell, _ in first.values()]
