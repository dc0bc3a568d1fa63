"""Ratings made elsewhere, from files or DataFrames to a result: behind ``el.analyse_ratings``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from entangle_lens.errors import EntangleError, choices, printable
from entangle_lens.panel.analysis import analyse
from entangle_lens.panel.columns import ColumnChoice
from entangle_lens.panel.findings import PanelFindings
from entangle_lens.panel.missing import Code, MissingCodes
from entangle_lens.panel.reading import is_unicode
from entangle_lens.panel.table import RatingTable, Source, read_models, read_people
from entangle_lens.results.figures.panel import panel_figures
from entangle_lens.results.panel_folder import save_panel
from entangle_lens.results.panel_tables import as_text, models_table, ratings_table

Sources = Source | Sequence[Source] | Mapping[str, Source]
Names = str | Sequence[str]
_HUMAN_COLUMNS = tuple(
    field.name for field in fields(ColumnChoice) if field.name not in ("model", "of_people")
)


@dataclass(frozen=True)
class RatingAnalysis:
    """What was found in tables of ratings: ``findings`` holds all of it, the rest shows it."""

    findings: PanelFindings

    def table(self) -> pd.DataFrame:
        """Return one row per model: r, interval, p, corrected p, items, scenarios, missing, ..."""
        return models_table(self.findings)

    def ratings(self) -> pd.DataFrame:
        """Return one row per model and item: the ratings that were analysed."""
        return ratings_table(self.findings)

    def figure(self) -> go.Figure:
        """Return the forest plot over models, people's r as the line to compare with."""
        return panel_figures(self.findings)["forest"]

    def save(self, folder: str | Path) -> Path:
        """Write report, summary, tables and manifest to a new folder; return the report's path."""
        return save_panel(Path(folder), self.findings)

    def __str__(self) -> str:
        return as_text(self.findings)


def analyse_ratings(
    ratings: Sources,
    *,
    moral: str | None = None,
    secondary: str | None = None,
    item: str | None = None,
    scenario: str | None = None,
    text: str | None = None,
    se: Names = (),
    value_column: str | None = None,
    rating_column: str | None = None,
    model: str | None = None,
    human: Source | None = None,
    human_columns: Mapping[str, Names] | None = None,
    missing_codes: Code | Sequence[Code] | None = None,
    common_items: bool = False,
    scenario_from_text: bool = False,
    allow_missing: bool = False,
    seed: int = 0,
) -> RatingAnalysis:
    """Measure entanglement in ratings that were made elsewhere.

    Args:
        ratings: a DataFrame or a file (.csv, .tsv, .txt, .json, .jsonl, .parquet, .xlsx), a list
            of them, one per model, or a mapping from model names to them. One row per item, per
            single rating, or per item and value.
        moral: column of moral ratings (or the value's name, in rows of item and value).
        secondary: column of the secondary ratings (or that value's name).
        item: column that names the items.
        scenario: column that names the scenario of each item.
        text: column of the items' texts, from which scenarios can be guessed.
        se: columns of standard errors, moral then secondary.
        value_column: column that names the value, in rows of item and value.
        rating_column: column of the ratings, in rows of item and value.
        model: column that names the model, where one table holds several: each is analysed.
        human: people's ratings in any of these forms, to compare every model with.
        human_columns: people's columns where they are called something else than the models',
            by the names of the arguments above: ``{"moral": "morality_mean"}``.
        missing_codes: numbers or words that stand for a missing rating, such as -99; an empty
            tuple says that there are none, so that a -99 is a rating.
        common_items: analyse only the items that all tables, people's included, have rated.
        scenario_from_text: guess scenarios from words that items share.
        allow_missing: go on where more than one item in ten lacks a rating.
        seed: of every resample and permutation.

    Raises:
        EntangleError: whatever is wrong with a table, in one sentence.

    Example:
        >>> analysis = el.analyse_ratings(["gpt.csv", "claude.csv"], human="people.csv")
        ... # doctest: +SKIP
    """
    if scenario_from_text and scenario is not None:
        raise EntangleError(
            f"scenarios are either in a column (scenario=..., {scenario!r}) or guessed "
            "(scenario_from_text=True); say one of them"
        )
    if seed < 0:
        raise EntangleError(f"seed {seed} is negative; a whole number from 0 on was expected")
    choice = ColumnChoice(
        moral, secondary, item, scenario, text, _tuple(se), value_column, rating_column, model
    )
    codes = MissingCodes.from_given(missing_codes)
    tables = _read(_named(ratings), choice, codes)
    people = None
    if human is not None:
        _check_source("human", human)
        name = "people" if isinstance(human, pd.DataFrame) else printable(Path(human).stem)
        named = _human_choice(human_columns)
        people = read_people(human, name, choice, named, tables[0].columns, codes)
    elif human_columns:
        raise EntangleError("human_columns names columns of people's ratings; give them as human")
    findings = analyse(
        tables,
        people,
        from_text=scenario_from_text,
        allow_missing=allow_missing,
        common_items=common_items,
        seed=seed,
    )
    if codes and not any(table.n_coded for table in (*tables, *([people] if people else []))):
        notes = (f"Declared as missing, but no rating is {codes}.", *findings.notes)
        findings = replace(findings, notes=notes)
    return RatingAnalysis(findings)


def _read(
    named: Mapping[str, Source], choice: ColumnChoice, codes: MissingCodes
) -> list[RatingTable]:
    """Read all tables; a model that several sources name is told apart by its source."""
    read = {name: read_models(source, name, choice, codes) for name, source in named.items()}
    counts = Counter(table.name for tables in read.values() for table in tables)
    return [
        table if counts[table.name] == 1 else replace(table, name=f"{name}: {table.name}")
        for name, tables in read.items()
        for table in tables
    ]


def _human_choice(given: Mapping[str, Names] | None) -> ColumnChoice:
    """Return the choice of people's columns that a user named."""
    known: dict[str, Any] = dict(given or {})
    unknown = [name for name in known if name not in _HUMAN_COLUMNS]
    if unknown:
        raise EntangleError(
            f"human_columns names {unknown[0]!r}; the names are {choices(_HUMAN_COLUMNS)}"
        )
    for name, columns in known.items():
        if name != "se" and not isinstance(columns, str):
            raise EntangleError(
                f"human_columns: {name} is {columns!r}; the name of one column was expected"
            )
    se = _tuple(known.pop("se", ()))
    return replace(ColumnChoice(se=se, of_people=True), **known)


def _tuple(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _named(ratings: Sources) -> dict[str, Source]:
    """Name each table: as given, by its file, or by its number."""
    if isinstance(ratings, Mapping):
        named = {str(name): source for name, source in ratings.items()}
    else:
        sources = [ratings] if isinstance(ratings, str | Path | pd.DataFrame) else list(ratings)
        named = dict(zip(_names(sources), sources, strict=True))
    if not named:
        raise EntangleError("no table of ratings was given")
    for name, source in named.items():
        if not is_unicode(name):
            raise EntangleError(f"the name {name!r} holds bytes that are not UTF-8; rename it")
        _check_source(name, source)
    return {printable(name, one_line=True): source for name, source in named.items()}


def _check_source(name: str, source: object) -> None:
    if not isinstance(source, str | Path | pd.DataFrame):
        raise EntangleError(
            f"{name} is of type {type(source).__name__}; a DataFrame or a file was expected"
        )


def _names(sources: Sequence[Source]) -> list[str]:
    """Return file stems, with the folder where two are alike; DataFrames are numbered."""
    files = [_resolved(each) for each in sources if isinstance(each, str | Path)]
    twice = [path for path, count in Counter(files).items() if count > 1]
    if twice:
        raise EntangleError(f"{twice[0].name!r} was given twice; give each table once")
    stems = Counter(path.stem for path in files)
    names = []
    for number, source in enumerate(sources, start=1):
        if not isinstance(source, str | Path):
            names.append("ratings" if len(sources) == 1 else f"ratings {number}")
            continue
        path = _resolved(source)
        names.append(path.stem if stems[path.stem] == 1 else f"{path.parent.name}/{path.name}")
    alike = [name for name, count in Counter(names).items() if count > 1]
    if alike:
        raise EntangleError(f"two tables are both called {alike[0]!r}; rename one of them")
    return names


def _resolved(path: str | Path) -> Path:
    try:
        return Path(path).resolve()
    except RuntimeError:  # links in a circle: no file, as will be said when it is read
        return Path(path).absolute()
