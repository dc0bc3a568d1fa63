"""Load stimuli by name or from a folder, and say precisely what is wrong with a folder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from entangle_lens.errors import EntangleError, choices
from entangle_lens.paths import is_file, is_folder
from entangle_lens.statistics.correlation import MIN_CLUSTERS
from entangle_lens.stimuli.design import confounded_problems, item_set
from entangle_lens.stimuli.people import PEOPLE, people_problems
from entangle_lens.stimuli.questions import Question
from entangle_lens.stimuli.repeats import repeated_problems
from entangle_lens.stimuli.sets import ContrastSet, ControlSet, Stimuli
from entangle_lens.stimuli.tables import (
    SECONDARY,
    TABLES,
    VALUES,
    Problem,
    cell_problems,
    duplicate_problems,
    read_table,
    shown,
)
from entangle_lens.text import count_text

_DATA = Path(__file__).parent.parent / "data" / "stimuli"
BUNDLED_STIMULI = ("goods",)
MIN_PAIRS = 8

Tables = dict[str, pd.DataFrame]


def load_stimuli(name_or_folder: str | Path) -> Stimuli:
    """Load checked stimuli: a bundled name (``goods``) or a folder of tables of the same form.

    Raises:
        EntangleError: the first problem found, with row and column, and how many more there are.
    """
    folder = _find(name_or_folder)
    tables, problems = _read(folder)
    if problems:
        others = count_text(len(problems) - 1, "more problem")
        more = f" (and {others})" if len(problems) > 1 else ""
        raise EntangleError(f"stimuli {folder}: {problems[0]}{more}")
    return _build(folder, tables)


def check_stimuli(name_or_folder: str | Path) -> list[Problem]:
    """Return everything that is wrong with a stimulus folder; empty where it is sound."""
    return _read(_find(name_or_folder))[1]


def _find(name_or_folder: str | Path) -> Path:
    if not isinstance(name_or_folder, str | Path):
        raise EntangleError(
            f"stimuli {name_or_folder!r} are of type {type(name_or_folder).__name__}; a bundled "
            "name or a folder was expected"
        )
    if str(name_or_folder) in BUNDLED_STIMULI:
        return _DATA / str(name_or_folder)
    folder = Path(name_or_folder)
    if not str(name_or_folder).strip() or not is_folder(folder):
        raise EntangleError(
            f"stimuli {str(name_or_folder)!r} is neither a folder nor a bundled name; "
            f"the bundled names are {choices(BUNDLED_STIMULI)}"
        )
    return folder


def _read(folder: Path) -> tuple[Tables, list[Problem]]:
    tables: Tables = {}
    problems: list[Problem] = []
    for name, form in TABLES.items():
        path = folder / f"{name}.csv"
        if not is_file(path):
            if form.required:
                problems.append(Problem(path.name, "is missing from the folder"))
            continue
        tables[name], misshapen = read_table(path)
        problems += misshapen or cell_problems(name, tables[name])
    if not problems:
        problems += _design_problems(tables)
    return tables, problems


def _design_problems(tables: Tables) -> Iterator[Problem]:
    """Yield what is wrong between cells and between tables, once every cell is sound."""
    items = tables["items"]
    yield from _split_problems(tables)
    of_items = list(_item_problems(items))
    yield from of_items
    sets = [] if of_items else [item_set(items, secondary, None) for secondary in SECONDARY]
    yield from confounded_problems(sets)
    yield from _contrast_problems(tables["contrasts"])
    yield from repeated_problems(tables)
    yield from _question_problems(tables)
    if "phrases" in tables:
        yield from _phrase_problems(tables["phrases"])
    if "controls" in tables:
        yield from _control_problems(tables["controls"])
    known = set(items["item_id"])
    if "human" in tables:
        yield from duplicate_problems(PEOPLE, tables["human"], ["item_id", "value"])
        yield from _unknown_items(PEOPLE, tables["human"], known)
        yield from (Problem(PEOPLE, each) for each in people_problems(sets, tables["human"]))
    if "covariates" in tables:
        covariates = tables["covariates"]
        yield from _unknown_items("covariates.csv", covariates, known)
        lacking = sorted(known - set(covariates["item_id"]))
        if lacking:
            message = f"has no row for {len(lacking)} items of items.csv, such as {lacking[0]!r}"
            yield Problem("covariates.csv", message)


def _unknown_items(file: str, table: pd.DataFrame, known: set[str]) -> Iterator[Problem]:
    for row, item_id in zip(table.index, table["item_id"], strict=True):
        if item_id not in known:
            yield Problem(file, f"{shown(item_id)} is not an item of items.csv", row, "item_id")


def _split_problems(tables: Tables) -> Iterator[Problem]:
    seen: dict[str, tuple[str, str, int]] = {}
    for name in ("items", "contrasts"):
        for row, scenario, split in tables[name][["scenario_id", "split"]].itertuples():
            file, first, first_row = seen.setdefault(scenario, (f"{name}.csv", split, row))
            if split != first:
                yield Problem(
                    f"{name}.csv",
                    f"scenario {scenario!r} is in split {split!r} here and in split {first!r} in "
                    f"{file} row {first_row}; a scenario belongs to one split",
                    row,
                    "scenario_id",
                )


def _item_problems(items: pd.DataFrame) -> Iterator[Problem]:
    moral_of: dict[str, str] = {}
    for row, item in zip(items.index.tolist(), items.to_dict("records"), strict=True):
        moral = moral_of.setdefault(item["scenario_id"], item["moral"])
        if moral != item["moral"]:
            message = f"scenario {item['scenario_id']!r} has moral level {moral} in an earlier row"
            yield Problem("items.csv", message, row, "moral")
        if item["set"] == "moral_economic":
            yield from _price_problems(row, item["price"], item["log_price"])
    for secondary in SECONDARY:
        chosen = items[items["set"] == f"moral_{secondary}"]
        n_scenarios = chosen["scenario_id"].nunique()
        if n_scenarios < MIN_CLUSTERS:
            message = f"set moral_{secondary} has {n_scenarios} scenarios and needs {MIN_CLUSTERS}"
            yield Problem("items.csv", message)
        elif chosen["moral"].nunique() < 2:
            yield Problem("items.csv", f"set moral_{secondary} has one moral level and needs two")
        elif chosen["corruption" if secondary == "grammar" else "price"].nunique() < 2:
            message = f"set moral_{secondary} has one {secondary} level and needs two"
            yield Problem("items.csv", message)


def _price_problems(row: int, price: str, log_price: str) -> Iterator[Problem]:
    if not price or float(price) <= 0:
        yield Problem("items.csv", f"{price!r} is not a price above 0", row, "price")
    elif not log_price or abs(float(log_price) - math.log10(float(price))) > 1e-3:
        expected = f"{math.log10(float(price)):.4f}"
        message = f"{log_price!r} is not log10 of the price {price}, {expected}"
        yield Problem("items.csv", message, row, "log_price")


def _contrast_problems(contrasts: pd.DataFrame) -> Iterator[Problem]:
    counts = contrasts.groupby(["value", "split"]).size().to_dict()
    for value in VALUES:
        for split in ("fit", "select"):
            n_pairs = counts.get((value, split), 0)
            if n_pairs < MIN_PAIRS:
                message = (
                    f"value {value!r} has {n_pairs} pairs in split {split!r}; needs {MIN_PAIRS}"
                )
                yield Problem("contrasts.csv", message)


def _question_problems(tables: Tables) -> Iterator[Problem]:
    questions = tables["questions"]
    yield from duplicate_problems("questions.csv", questions, ["value", "paraphrase", "polarity"])
    asked = set(questions["value"])
    controls = set(tables["controls"]["set"]) if "controls" in tables else set()
    for value in (*VALUES, *sorted(controls)):
        if value not in asked:
            yield Problem("questions.csv", f"no question asks for {value!r}", column="value")


def _phrase_problems(phrases: pd.DataFrame) -> Iterator[Problem]:
    given = set(zip(phrases["value"], phrases["pole"], strict=True))
    for value in VALUES:
        lacking = [pole for pole in ("high", "low") if (value, pole) not in given]
        if lacking:
            message = f"has no {' and no '.join(lacking)} phrases for {value!r}; it needs both"
            yield Problem("phrases.csv", message)
            continue
        high, low = (
            set(phrases.loc[(phrases["value"] == value) & (phrases["pole"] == pole), "phrase"])
            for pole in ("high", "low")
        )
        if high == low:
            message = f"has the same high and low phrases for {value!r}, which tell nothing apart"
            yield Problem("phrases.csv", message)


def _control_problems(controls: pd.DataFrame) -> Iterator[Problem]:
    for name, rows in controls.groupby("set", sort=False):
        if rows["number"].astype(float).nunique() < 2:
            message = f"set {shown(str(name))} has one number, and needs two that differ"
            yield Problem("controls.csv", message)


def _build(folder: Path, tables: Tables) -> Stimuli:
    empty = pd.DataFrame
    contrasts, phrases = tables["contrasts"], tables.get("phrases", empty())
    controls = tables.get("controls", empty())
    return Stimuli(
        name=f"{folder.parent.name}/{folder.name}" if folder.name == "stimuli" else folder.name,
        digest=_digest(folder),
        items={
            secondary: item_set(tables["items"], secondary, tables.get("covariates"))
            for secondary in SECONDARY
        },
        contrasts={
            (str(value), str(split)): ContrastSet(
                str(value), str(split), tuple(pairs["positive"]), tuple(pairs["negative"])
            )
            for (value, split), pairs in contrasts.groupby(["value", "split"], sort=False)
        },
        questions=tuple(
            Question(**{column: row[column] for column in TABLES["questions"].columns})
            for row in tables["questions"].to_dict("records")
        ),
        phrases={
            (str(value), str(pole)): tuple(rows["phrase"])
            for (value, pole), rows in (phrases.groupby(["value", "pole"]) if len(phrases) else ())
        },
        controls=tuple(
            ControlSet(str(name), tuple(rows["text"]), tuple(rows["number"].astype(float)))
            for name, rows in (controls.groupby("set", sort=False) if len(controls) else ())
        ),
        neutral=tuple(tables["neutral"]["text"]) if "neutral" in tables else (),
        minimal_pairs=tuple(
            tables["minimal_pairs"][["grammatical", "ungrammatical"]].itertuples(
                index=False, name=None
            )
        )
        if "minimal_pairs" in tables
        else (),
        human=tables["human"].astype({"mean": float, "se": float, "n": float})
        if "human" in tables
        else None,
    )


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in TABLES:
        path = folder / f"{name}.csv"
        if path.is_file():
            digest.update(f"{name}\0".encode() + path.read_bytes())
    return digest.hexdigest()
