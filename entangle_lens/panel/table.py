"""A table of ratings by one rater, a model or a panel of people, checked and one row per item."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from entangle_lens.errors import EntangleError, printable
from entangle_lens.panel.columns import ColumnChoice, Columns, choose_columns, like
from entangle_lens.panel.files import read_rows
from entangle_lens.panel.foot import check_foot
from entangle_lens.panel.item_rows import item_rows
from entangle_lens.panel.missing import MissingCodes, check_codes, suspected_codes, times
from entangle_lens.panel.reading import (
    frame_rows,
    ids,
    is_missing,
    numbers,
    several,
    shown,
)
from entangle_lens.panel.singles import are_single, averaged

ROLES = ("moral", "secondary")
MAX_MISSING = 0.1
Source = str | Path | pd.DataFrame
_NO_CODES = MissingCodes()


@dataclass(frozen=True, eq=False)
class RatingTable:
    """The ratings of one rater.

    ``table`` has one row per item: ``item_id, moral, secondary``, the ``_se`` and ``_n`` of both
    (NaN where not known), and ``scenario_id`` and ``text`` where the source has them; a rating
    that is missing is NaN. ``columns`` says where each was found. ``single`` names the
    roles whose rows were single ratings, of which ``n_missing_single`` were missing. ``sha256``
    is that of the file, empty for a DataFrame. ``column_names`` are all that the source has.
    ``n_coded`` ratings held a declared code for a missing one. ``notes`` says in sentences what a
    reader has to know of how the table was read.
    """

    name: str
    table: pd.DataFrame
    columns: Columns
    single: tuple[str, ...] = ()
    n_missing_single: int = 0
    sha256: str = ""
    column_names: tuple[str, ...] = ()
    n_coded: int = 0
    notes: tuple[str, ...] = ()

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

    def texts(self) -> dict[str, str]:
        """Return the text of each item that has one."""
        if "text" not in self.table:
            return {}
        known = zip(self.item_ids, self.table["text"], strict=True)
        return {item: text for item, text in known if text}

    def check_missing(self) -> None:
        """Raise an error where more than one item in ten lacks a rating."""
        if self.n_missing > MAX_MISSING * len(self.table):
            lacking = [shown(item) for item in self.table["item_id"][~self.complete]]
            raise EntangleError(
                f"{self.name}: {self.n_missing} of {len(self.table)} items lack a rating "
                f"({several(lacking)}); more than {MAX_MISSING:.0%} needs allow_missing=True"
            )


def read_models(
    source: Source, name: str, choice: ColumnChoice, codes: MissingCodes = _NO_CODES
) -> list[RatingTable]:
    """Read a file or a DataFrame of models' ratings: a table for each model, named by it.

    A source without a column of models, or with one that is the same in all rows, is one table,
    called ``name``. Its columns are found, every cell is checked, single ratings are averaged.

    Raises:
        EntangleError: whatever is wrong with the table, with column and row.
    """
    rows, digest = _rows(source, name)
    columns = choose_columns(rows, choice, name)
    models = [] if columns.model is None else ids(rows, columns.model, name)
    reader = _Reader(columns, codes, digest)
    if len(set(models)) < 2:
        return [reader.table(rows, name)]
    of_row = np.asarray(models)
    return [
        reader.table(rows[of_row == model], printable(model, one_line=True))
        for model in dict.fromkeys(models)
    ]


def read_ratings(
    source: Source, name: str, choice: ColumnChoice, codes: MissingCodes = _NO_CODES
) -> RatingTable:
    """Read a file or a DataFrame of ratings by one rater.

    Where most items stand in several rows and no standard errors are named, rows are single
    ratings: an item's rating is their mean, its standard error sd / sqrt(n).

    Raises:
        EntangleError: whatever is wrong with the table, with column and row; several models.
    """
    rows, digest = _rows(source, name)
    return _one_rater(rows, name, choice, codes, digest)


def read_people(
    source: Source,
    name: str,
    choice: ColumnChoice,
    named: ColumnChoice,
    same_as: Columns,
    codes: MissingCodes = _NO_CODES,
) -> RatingTable:
    """Read people's ratings of the values that a model's table holds in ``same_as``.

    ``choice`` names the models' columns and ``named`` those of people's that are called otherwise.

    Raises:
        EntangleError: as :func:`read_ratings`.
    """
    rows, digest = _rows(source, name)
    return _one_rater(rows, name, like(same_as, rows, choice, named, name), codes, digest)


def _one_rater(
    rows: pd.DataFrame, name: str, choice: ColumnChoice, codes: MissingCodes, digest: str
) -> RatingTable:
    columns = choose_columns(rows, choice, name)
    models = [] if columns.model is None else list(dict.fromkeys(ids(rows, columns.model, name)))
    if len(models) > 1:
        raise EntangleError(
            f"{name}: column {columns.model!r} names {len(models)} models ({several(models)}), "
            "and one rater was expected; give the rows of one"
        )
    return _Reader(columns, codes, digest).table(rows, name)


def _rows(source: Source, name: str) -> tuple[pd.DataFrame, str]:
    """Return the rows of a source, and the SHA-256 of a file."""
    if isinstance(source, pd.DataFrame):
        return frame_rows(source, name), ""
    rows = read_rows(Path(source))
    return rows, hashlib.sha256(Path(source).read_bytes()).hexdigest()


@dataclass(frozen=True)
class _Reader:
    """Turns the rows of one rater into a table."""

    columns: Columns
    codes: MissingCodes
    sha256: str

    def table(self, rows: pd.DataFrame, name: str) -> RatingTable:
        columns, all_names = self.columns, tuple(map(str, rows.columns))
        if columns.value is not None:
            known = ids(rows, columns.value, name)
            rows = rows[[value in (columns.moral, columns.secondary) for value in known]]
        items = pd.Series(ids(rows, columns.item, name), rows.index)
        parts = {role: self._part(rows, items, role, name) for role in ROLES}
        n_coded = sum(_n_coded(part) for part in parts.values())
        notes = [*check_foot(parts, name), *self._code_notes(parts, n_coded, name)]
        table = item_rows(rows, items, columns, name)
        single, n_missing_single = [], 0
        for role, part in parts.items():
            if are_single(part, rows.loc[part.index], columns.se is not None, name):
                single.append(role)
                n_missing_single += int(part["rating"].isna().sum())
                part = averaged(part)
            values = part.set_index("item_id").reindex(table["item_id"])
            for kind, target in (("rating", role), ("se", f"{role}_se"), ("n", f"{role}_n")):
                table[target] = values[kind].to_numpy()
        return RatingTable(
            name,
            table,
            columns,
            tuple(single),
            n_missing_single,
            self.sha256,
            all_names,
            n_coded,
            tuple(notes),
        )

    def _part(self, rows: pd.DataFrame, items: pd.Series, role: str, name: str) -> pd.DataFrame:
        """Return the rows that rate one value, by row number.

        Columns: ``item_id, rating, se, n``, and the ``cell`` that the rating was read from.
        """
        columns, which = self.columns, ROLES.index(role)
        column = (columns.moral, columns.secondary)[which]
        if columns.value is not None and columns.rating is not None:
            chosen = [value == column for value in ids(rows, columns.value, name)]
            rows, column = rows[chosen], columns.rating
        ratings = numbers(rows, column, name, codes=self.codes)
        if not self.codes.declared:
            check_codes(ratings, rows.index, f"{name}: column {column!r}")
        return pd.DataFrame(
            {
                "item_id": items[rows.index],
                "rating": ratings,
                "se": self._optional(rows, columns.se[which] if columns.se else None, name),
                "n": self._optional(rows, columns.n, name),
                "cell": rows[column],
            },
            index=rows.index,
        )

    def _code_notes(self, parts: Mapping[str, pd.DataFrame], n_coded: int, name: str) -> list[str]:
        """Say how many ratings were declared missing, and what else looks like a code."""
        notes = []
        if n_coded:
            notes.append(
                f"{name}: {n_coded} {'rating' if n_coded == 1 else 'ratings'} that "
                f"{'holds' if n_coded == 1 else 'hold'} a code for missing ({self.codes}) "
                "were left out."
            )
        for part in parts.values() if self.codes else ():
            for code, n_times in suspected_codes(part["rating"].to_numpy()).items():
                notes.append(
                    f"{name}: {code:g} stands {times(n_times)}, far outside the other ratings, and "
                    "counts as a rating."
                )
        return notes

    def _optional(
        self, rows: pd.DataFrame, column: str | None, name: str
    ) -> Float[np.ndarray, " rows"]:
        if column is None:
            return np.full(len(rows), np.nan)
        return numbers(rows, column, name, least=0.0, codes=self.codes)


def _n_coded(part: pd.DataFrame) -> int:
    """Return how many ratings are missing though their cell is not."""
    return int((part["rating"].isna() & ~part["cell"].map(is_missing)).sum())
