"""Which columns of a table hold what: those that were named, else those with a usual name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from entangle_lens.errors import EntangleError, choices
from entangle_lens.panel.reading import column_names, ids

_WORDS = {
    "moral": ("moral", "morality"),
    "grammar": ("grammar", "grammatical", "grammaticality"),
    "economic": ("economic", "economical", "economics", "econ"),
    "secondary": ("secondary",),
}
_AFFIXES = ("{}", "{}_mean", "{}_rating", "{}_ratings", "{}_score", "{}_value", "mean_{}")
_SECONDARY = ("grammar", "economic", "secondary")
_ITEM = ("item_id", "item", "id", "text")
_SCENARIO = ("scenario_id", "scenario")
TEXT_NAMES = ("text", "sentence", "item_text", "stimulus")
_RATING = ("rating", "mean", "rating_mean", "mean_rating", "score")
_LONG = (("dimension", (*_RATING, "value")), ("value", _RATING))


@dataclass(frozen=True)
class ColumnChoice:
    """The columns that a user named; None for those to be found by their usual names.

    In a table with one row an item and value, ``moral`` and ``secondary`` name the values.
    ``se`` holds the columns of standard errors, moral then secondary.
    """

    moral: str | None = None
    secondary: str | None = None
    item: str | None = None
    scenario: str | None = None
    text: str | None = None
    se: tuple[str, ...] = ()


@dataclass(frozen=True)
class Columns:
    """Where a table holds what.

    ``moral`` and ``secondary`` are columns; where ``value`` and ``rating`` are set, the table has
    one row an item and value, and they are values found in the column ``value``. ``se`` are
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
    item = _find_one(names, choice.item, _ITEM, "--item", source)
    if item is None:
        raise EntangleError(
            f"{source}: no column is named {' or '.join(_ITEM)}; say --item, one of: "
            f"{column_names(names)}"
        )
    found = Columns(
        item,
        moral="",
        secondary="",
        scenario=_find_one(names, choice.scenario, _SCENARIO, "--scenario", source),
        text=_find_one(names, choice.text, TEXT_NAMES, "--text", source),
    )
    value, rating = _long_columns(names, source)
    if value is None or _names_moral(names, choice.moral):
        pair = _value_pair(names, (item, found.scenario), choice, "column", source)
        return replace(found, **pair, se=_wide_se(names, choice.se, source))
    known = sorted(set(ids(rows, value, source)))
    pair = _value_pair(known, (), choice, f"value in column {value!r}", source)
    se = _long_se(names, choice.se, source)
    n = _find_one(names, None, ("n",), "", source)
    return replace(found, **pair, value=value, rating=rating, se=se, n=n)


def like(columns: Columns, rows: pd.DataFrame, choice: ColumnChoice, source: str) -> ColumnChoice:
    """Return the choice that finds in other ``rows``, say people's, what ``columns`` holds.

    A value is looked for by its own name and then by any usual name of the same meaning, so that
    ``grammar_mean`` is found as the value ``grammar``, and never as the value ``economic``.
    """
    names = list(rows.columns)
    value, _ = _long_columns(names, source)
    known = names + (sorted(set(ids(rows, value, source))) if value else [])
    chosen = {}
    for role, wanted in (("moral", columns.moral), ("secondary", columns.secondary)):
        same = [name for name in known if meaning(name) and meaning(name) == meaning(wanted)]
        chosen[role] = wanted if _matching(known, wanted) or len(same) != 1 else same[0]
    item, scenario, text = (
        name if name and _matching(names, name) else None
        for name in (choice.item, choice.scenario, choice.text)
    )
    se = choice.se if all(_matching(names, name) for name in choice.se) else ()
    return ColumnChoice(chosen["moral"], chosen["secondary"], item, scenario, text, se)


def meaning(name: str) -> str | None:
    """Return the package's word for a usual name: ``moral``, ``grammar``, ... or None."""
    for word, variants in _WORDS.items():
        if _normal(name) in {affix.format(each) for each in variants for affix in _AFFIXES}:
            return word
    return None


def _normal(name: str) -> str:
    return re.sub(r"[\s\-.]+", "_", name.strip().lower())


def _matching(names: Sequence[str], wanted: str) -> list[str]:
    exact = [name for name in names if name == wanted]
    return exact or [name for name in names if _normal(name) == _normal(wanted)]


def _find_one(
    names: Sequence[str], wanted: str | None, usual: Sequence[str], option: str, source: str
) -> str | None:
    """Return the named column, else the first that has a usual name, else None."""
    if wanted is not None:
        return _named(names, wanted, option, "column", source)
    found = (name for each in usual for name in names if _normal(name) == each)
    return next(found, None)


def _long_columns(names: Sequence[str], source: str) -> tuple[str | None, str | None]:
    """Return the columns that name the value and hold the rating, where a table has such."""
    for usual_value, usual_rating in _LONG:
        value = _find_one(names, None, (usual_value,), "", source)
        rating = _find_one(names, None, usual_rating, "", source)
        if value is not None and rating is not None:
            return value, rating
    return None, None


def _named(names: Sequence[str], wanted: str, option: str, kind: str, source: str) -> str:
    found = _matching(names, wanted)
    if len(found) != 1:
        raise EntangleError(
            f"{source}: no {kind} is named {wanted!r} ({option}); there are: {column_names(names)}"
        )
    return found[0]


def _names_moral(names: Sequence[str], wanted: str | None) -> bool:
    if wanted is not None:
        return bool(_matching(names, wanted))
    return any(meaning(name) == "moral" for name in names)


def _value_pair(
    names: Sequence[str],
    taken: Sequence[str | None],
    choice: ColumnChoice,
    kind: str,
    source: str,
) -> dict[str, str]:
    moral = _value(names, choice.moral, ("moral",), "--moral", kind, source)
    if choice.secondary is not None:
        secondary = _named(names, choice.secondary, "--secondary", kind, source)
    else:
        others = [name for name in names if name not in (moral, *taken)]
        secondary = _value(others, None, _SECONDARY, "--secondary", kind, source)
    if secondary == moral:
        raise EntangleError(f"{source}: --moral and --secondary both name {moral!r}")
    return {"moral": moral, "secondary": secondary}


def _value(
    names: Sequence[str],
    wanted: str | None,
    words: Sequence[str],
    option: str,
    kind: str,
    source: str,
) -> str:
    if wanted is not None:
        return _named(names, wanted, option, kind, source)
    found = [name for name in names if meaning(name) in words]
    if not names:
        raise EntangleError(f"{source}: there is no other {kind} for {option}")
    if not found:
        raise EntangleError(
            f"{source}: no {kind} has a usual name for {option} ({', '.join(words)}); "
            f"say {option}, one of: {column_names(names)}"
        )
    if len(found) > 1:
        raise EntangleError(f"{source}: several fit; say {option}, one of: {choices(found)}")
    return found[0]


def _wide_se(names: Sequence[str], se: tuple[str, ...], source: str) -> tuple[str, str] | None:
    if not se:
        return None
    if len(se) != 2:
        raise EntangleError(
            f"{source}: {len(se)} column was given to --se ({choices(se)}); give two, the moral "
            "and then the secondary standard error"
            if len(se) == 1
            else f"{source}: {len(se)} columns were given to --se; give two"
        )
    moral, secondary = (_named(names, each, "--se", "column", source) for each in se)
    return moral, secondary


def _long_se(names: Sequence[str], se: tuple[str, ...], source: str) -> tuple[str, str] | None:
    if len(set(se)) > 1:
        raise EntangleError(
            f"{source}: a table with one row an item and value has one column of standard errors; "
            f"--se named {choices(se)}"
        )
    found = _find_one(names, se[0] if se else None, ("se",), "--se", source)
    return None if found is None else (found, found)
