"""Ratings made elsewhere, from files or DataFrames to a result: behind ``el.analyse_ratings``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from entangle_lens.errors import EntangleError
from entangle_lens.panel.analysis import PanelFindings, analyse
from entangle_lens.panel.columns import ColumnChoice
from entangle_lens.panel.reading import is_unicode
from entangle_lens.panel.table import read_ratings
from entangle_lens.results.figures.panel import panel_figures
from entangle_lens.results.panel_folder import save_panel
from entangle_lens.results.panel_tables import as_text, models_table, ratings_table

Source = str | Path | pd.DataFrame
Sources = Source | Sequence[Source] | Mapping[str, Source]


@dataclass(frozen=True)
class RatingAnalysis:
    """What was found in tables of ratings: ``findings`` holds all of it, the rest shows it."""

    findings: PanelFindings

    def table(self) -> pd.DataFrame:
        """Return one row a model: r, interval, p, corrected p, items, scenarios, missing, ..."""
        return models_table(self.findings)

    def ratings(self) -> pd.DataFrame:
        """Return one row a model and item: the ratings that were analysed."""
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
    se: str | Sequence[str] = (),
    human: Source | None = None,
    scenario_from_text: bool = False,
    allow_missing: bool = False,
    seed: int = 0,
) -> RatingAnalysis:
    """Measure entanglement in ratings that were made elsewhere.

    Args:
        ratings: a DataFrame or a file (CSV, parquet, JSONL), a list of them, one a model, or a
            mapping from model names to them. One row an item, a single rating, or an item and
            value.
        moral: column of moral ratings (or the value's name, in rows of item and value).
        secondary: column of the secondary ratings (or that value's name).
        item: column that names the items.
        scenario: column that names the scenario of each item.
        text: column of the items' texts, from which scenarios can be guessed.
        se: columns of standard errors, moral then secondary.
        human: people's ratings in the same form, to compare every model with.
        scenario_from_text: guess scenarios from words that items share.
        allow_missing: go on where more than one item in ten lacks a rating.
        seed: of every resample and permutation.

    Raises:
        EntangleError: whatever is wrong with a table, in one sentence.
    """
    if scenario_from_text and scenario is not None:
        raise EntangleError(
            f"scenarios are either in a column (--scenario {scenario}) or guessed "
            "(--scenario-from-text); say one of them"
        )
    if seed < 0:
        raise EntangleError(f"seed {seed} is negative; a whole number from 0 on was expected")
    errors = (se,) if isinstance(se, str) else tuple(se)
    choice = ColumnChoice(moral, secondary, item, scenario, text, errors)
    named = _named(ratings)
    tables = [read_ratings(source, name, choice) for name, source in named.items()]
    people = None
    if human is not None:
        name = "people" if isinstance(human, pd.DataFrame) else Path(human).stem
        people = read_ratings(human, name, choice, same_as=tables[0].columns)
    findings = analyse(
        tables,
        people,
        from_text=scenario_from_text,
        allow_missing=allow_missing,
        seed=seed,
    )
    return RatingAnalysis(findings)


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
            raise EntangleError(f"the name {name!r} holds bytes that are no UTF-8; rename it")
        if not isinstance(source, str | Path | pd.DataFrame):
            raise EntangleError(
                f"{name} is of type {type(source).__name__}; a DataFrame or a file was expected"
            )
    return named


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
