"""Which columns of a table hold what: those that were named, else those with a usual name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from entangle_lens.errors import EntangleError, choices
from entangle_lens.panel.names import (
    ITEM,
    LONG,
    MODEL,
    RATING,
    SCENARIO,
    SECONDARY,
    TEXT,
    first_usual,
    matching,
    meaning,
)
from entangle_lens.panel.reading import column_names, ids


@dataclass(frozen=True)
class ColumnChoice:
    """The columns that a user named; None for those to be found by their usual names.

    In a table with one row per item and value, ``moral`` and ``secondary`` name values, found in
    ``value_column`` and rated in ``rating_column``. ``se`` holds the columns of standard errors,
    moral then secondary. ``of_people`` says that the columns are those of people's table.
    """

    moral: str | None = None
    secondary: str | None = None
    item: str | None = None
    scenario: str | None = None
    text: str | None = None
    se: tuple[str, ...] = ()
    value_column: str | None = None
    rating_column: str | None = None
    model: str | None = None
    of_people: bool = False

    def argument(self, field: str) -> str:
        """Return how a user names the column of ``field``, for an error sentence."""
        return f"human_columns={{{field!r}: ...}}" if self.of_people else f"{field}=..."

    def find(
        self, names: Sequence[str], field: str, usual: Sequence[str], source: str
    ) -> str | None:
        """Return the column that was named, else the first with a usual name, else None."""
        wanted = getattr(self, field)
        if wanted is None:
            return first_usual(names, usual)
        return self.named(names, wanted, field, "column", source)

    def named(self, names: Sequence[str], wanted: str, field: str, kind: str, source: str) -> str:
        """Return the one of ``names`` that is meant by ``wanted``.

        Raises:
            EntangleError: there is none, or there are several, with the names that exist.
        """
        found = matching(names, wanted)
        if len(found) != 1:
            raise EntangleError(
                f"{source}: no {kind} is named {wanted!r} ({self.argument(field)}); there are: "
                f"{column_names(names)}"
            )
        return found[0]


@dataclass(frozen=True)
class Columns:
    """Where a table holds what.

    ``moral`` and ``secondary`` are columns; where ``value`` and ``rating`` are set, the table has
    one row per item and value, and they are values found in the column ``value``. ``se`` are
    the columns of the moral and the secondary standard errors, or None.
    """

    item: str
    moral: str
    secondary: str
    scenario: str | None = None
    text: str | None = None
    value: str | None = None
    rating: str | None = None
    se: tuple[str, str] | None = None
    n: str | None = None
    model: str | None = None

    @property
    def label(self) -> str:
        """The secondary value in the package's word (``grammar``), else as the table names it."""
        return meaning(self.secondary) or self.secondary

    @property
    def moral_label(self) -> str:
        """The moral value in the package's word, else as the table names it."""
        return meaning(self.moral) or self.moral


def choose_columns(rows: pd.DataFrame, choice: ColumnChoice, source: str) -> Columns:
    """Find the columns of a table; ``source`` begins every error.

    Raises:
        EntangleError: a named column that is not there, none of the usual names, or several
            that fit, each with the names that exist.
    """
    names = list(rows.columns)
    item = choice.find(names, "item", ITEM, source)
    if item is None:
        raise EntangleError(
            f"{source}: no column is named {' or '.join(ITEM)}; name it with "
            f"{choice.argument('item')}, one of: {column_names(names)}"
        )
    found = Columns(
        item,
        moral="",
        secondary="",
        scenario=choice.find(names, "scenario", SCENARIO, source),
        text=choice.find(names, "text", TEXT, source),
    )
    value, rating = _long_columns(names, choice, source)
    if value is None:
        pair = _value_pair(names, (item, found.scenario), choice, "column", source)
        found = replace(found, **pair, se=_wide_se(names, choice, source))
    else:
        known = sorted(set(ids(rows, value, source)))
        pair = _value_pair(known, (), choice, f"value in column {value!r}", source)
        se, n = _long_se(names, choice, source), first_usual(names, ("n",))
        found = replace(found, **pair, value=value, rating=rating, se=se, n=n)
    return replace(found, model=_model_column(names, found, choice, source))


def like(
    columns: Columns, rows: pd.DataFrame, choice: ColumnChoice, named: ColumnChoice, source: str
) -> ColumnChoice:
    """Return the choice that finds in people's ``rows`` what ``columns`` holds in a model's.

    What a user ``named`` counts first, then what ``choice`` names in the models' tables. A value is
    looked for by its own name and then by any usual name of the same meaning, so that
    ``grammar_mean`` is found as the value ``grammar``, and never as the value ``economic``.
    """
    names = list(rows.columns)
    for field in ("item", "scenario", "text", "value_column", "rating_column"):
        wanted = getattr(choice, field)
        if getattr(named, field) is None and wanted and matching(names, wanted):
            named = replace(named, **{field: wanted})
    if not named.se and all(matching(names, name) for name in choice.se):
        named = replace(named, se=choice.se)
    value, _ = _long_columns(names, named, source)
    known = names + (sorted(set(ids(rows, value, source))) if value else [])
    return replace(
        named,
        moral=named.moral or _same(known, columns.moral),
        secondary=named.secondary or _same(known, columns.secondary),
    )


def _same(names: Sequence[str], wanted: str) -> str:
    """Return the only name that means what ``wanted`` does, else ``wanted``."""
    same = [name for name in names if meaning(name) and meaning(name) == meaning(wanted)]
    return wanted if matching(names, wanted) or len(same) != 1 else same[0]


def _long_columns(
    names: Sequence[str], choice: ColumnChoice, source: str
) -> tuple[str | None, str | None]:
    """Return the columns that name the value and hold the rating, where a table has such.

    A table whose moral ratings have a column of their own has none, unless one is named.
    """
    if choice.value_column is None and choice.rating_column is None:
        return (None, None) if _has_moral_column(names, choice.moral) else _usual_long(names)
    value = choice.find(names, "value_column", ("dimension", "value"), source)
    rating = choice.find([name for name in names if name != value], "rating_column", RATING, source)
    for field, column in (("value_column", value), ("rating_column", rating)):
        if column is None:
            raise EntangleError(
                f"{source}: rows of an item and value need a column with the value and one with "
                f"its rating; name it with {choice.argument(field)}, one of: {column_names(names)}"
            )
    return value, rating


def _usual_long(names: Sequence[str]) -> tuple[str | None, str | None]:
    for usual_value, usual_rating in LONG:
        value, rating = first_usual(names, (usual_value,)), first_usual(names, usual_rating)
        if value is not None and rating is not None:
            return value, rating
    return None, None


def _has_moral_column(names: Sequence[str], wanted: str | None) -> bool:
    if wanted is not None:
        return bool(matching(names, wanted))
    return any(meaning(name) == "moral" for name in names)


def _value_pair(
    names: Sequence[str],
    taken: Sequence[str | None],
    choice: ColumnChoice,
    kind: str,
    source: str,
) -> dict[str, str]:
    moral = _value(names, choice, "moral", kind, source)
    others = [name for name in names if name not in (moral, *taken)]
    searched = others if choice.secondary is None else names
    secondary = _value(searched, choice, "secondary", kind, source)
    if secondary == moral:
        raise EntangleError(
            f"{source}: {choice.argument('moral')} and {choice.argument('secondary')} both name "
            f"{moral!r}"
        )
    return {"moral": moral, "secondary": secondary}


def _value(names: Sequence[str], choice: ColumnChoice, field: str, kind: str, source: str) -> str:
    """Return the column, or value, of ``field``: as named, else the only one of a usual name."""
    wanted, argument = getattr(choice, field), choice.argument(field)
    if wanted is not None:
        return choice.named(names, wanted, field, kind, source)
    words = ("moral",) if field == "moral" else SECONDARY
    found = [name for name in names if meaning(name) in words]
    if not names:
        raise EntangleError(f"{source}: there is no other {kind} for {argument}")
    if not found:
        raise EntangleError(
            f"{source}: no {kind} has a usual name of the {field} ratings ({', '.join(words)}); "
            f"name it with {argument}, one of: {column_names(names)}"
        )
    if len(found) > 1:
        raise EntangleError(
            f"{source}: several fit; choose with {argument}, one of: {choices(found)}"
        )
    return found[0]


def _model_column(
    names: Sequence[str], found: Columns, choice: ColumnChoice, source: str
) -> str | None:
    """Return the column that names the model of each row, where it holds nothing else."""
    taken = {found.item, found.moral, found.secondary, found.scenario, found.value, found.rating}
    free = names if choice.model is not None else [name for name in names if name not in taken]
    return choice.find(free, "model", MODEL, source)


def _wide_se(names: Sequence[str], choice: ColumnChoice, source: str) -> tuple[str, str] | None:
    if not choice.se:
        return None
    if len(choice.se) != 2:
        raise EntangleError(
            f"{source}: {choice.argument('se')} names {len(choice.se)} "
            f"column{'s' if len(choice.se) > 1 else ''} ({choices(choice.se)}); give two, the "
            "moral and then the secondary standard error"
        )
    moral, secondary = (choice.named(names, each, "se", "column", source) for each in choice.se)
    return moral, secondary


def _long_se(names: Sequence[str], choice: ColumnChoice, source: str) -> tuple[str, str] | None:
    if len(set(choice.se)) > 1:
        raise EntangleError(
            f"{source}: a table with one row per item and value has one column of standard errors, "
            f"and {choice.argument('se')} names {choices(choice.se)}"
        )
    if choice.se:
        found: str | None = choice.named(names, choice.se[0], "se", "column", source)
    else:
        found = first_usual(names, ("se",))
    return None if found is None else (found, found)
