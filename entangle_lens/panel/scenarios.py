"""Which scenario each rated item belongs to: from a column, guessed from texts, or unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from entangle_lens.errors import EntangleError
from entangle_lens.panel.names import TEXT
from entangle_lens.panel.reading import column_names, several, shown
from entangle_lens.panel.table import RatingTable
from entangle_lens.statistics import Clusters, cluster_texts
from entangle_lens.statistics.correlation import MIN_CLUSTERS

COLUMN, TEXTS, NOWHERE = "column", "texts", "nowhere"
MAX_TEXTS = 8_000
_SHOWN_CLUSTERS = 3
MIN_WORDS = 3
_INDEPENDENT = (
    "items are treated as independent draws. Where items share scenarios that can be optimistic: "
    "with 4 items per scenario, where one rating has one level per scenario and the other shares "
    ".1, .3 or .5 of its variance within scenarios, such a test has 8, 16 or 21 % false positives "
    "at .05; where both ratings vary within scenarios and share as much, 6, 8 or 14 %."
)
OPTIMISTIC = (
    f"There is no scenario column, so {_INDEPENDENT} Name the column with scenario=..., or have it "
    "guessed from the texts with scenario_from_text=True."
)
_ALONE = f"Every scenario has 1 item, so {_INDEPENDENT}"


@dataclass(frozen=True)
class Scenarios:
    """The scenario of each item, and where it is known from.

    ``origin`` is ``column``, ``texts`` (guessed) or ``nowhere``: then each item is its own.
    ``left_aside`` is a scenario column that was not used because they are guessed.
    """

    of_item: dict[str, str]
    origin: str
    texts: dict[str, str]
    left_aside: str | None = None

    def of(self, item_ids: Sequence[str]) -> list[str]:
        """Return the scenario of each of ``item_ids``."""
        return [self.of_item[item] for item in item_ids]

    def clusters(self, item_ids: Sequence[str], source: str) -> Clusters:
        """Number the scenarios of ``item_ids``; fewer than eight are an error."""
        of_items = self.of(item_ids)
        number = len(set(of_items))
        if number < MIN_CLUSTERS:
            how = "guessed from the texts" if self.origin == TEXTS else "given"
            raise EntangleError(
                f"{source}: {self.counted(number)} {'was' if number == 1 else 'were'} {how}, and "
                f"at least {MIN_CLUSTERS} are needed: with fewer, no resampling interval keeps its "
                "level"
            )
        return Clusters.of(of_items)

    def counted(self, number: int) -> str:
        """Return a number of scenarios with its noun: items, where no scenarios are known."""
        noun = "item" if self.origin == NOWHERE else "scenario"
        return f"{number} {noun}{'' if number == 1 else 's'}"

    def table(self) -> pd.DataFrame:
        """Return one row per scenario: its id, its number of items, their ids and texts."""
        members: dict[str, list[str]] = {}
        for item, scenario in self.of_item.items():
            members.setdefault(scenario, []).append(item)
        return pd.DataFrame(
            {
                "scenario_id": list(members),
                "n_items": [len(items) for items in members.values()],
                "item_ids": list(members.values()),
                "texts": [[self.texts.get(i, "") for i in items] for items in members.values()],
            }
        )

    def sentences(self) -> list[str]:
        """Say where the scenarios are from; of guessed ones, how many, how large, the first few."""
        if self.origin == NOWHERE:
            return [OPTIMISTIC]
        table = self.table()
        alone = [_ALONE] if (table["n_items"] == 1).all() else []
        if self.origin == COLUMN:
            return alone
        sizes = table["n_items"].value_counts().sort_index(ascending=False)
        counts = ", ".join(f"{count} of {size}" for size, count in sizes.items())
        lines = [
            f"Scenarios were guessed from shared words in the texts: {len(table)} groups "
            f"(by number of items: {counts})."
        ]
        if self.left_aside is not None:
            lines.append(
                f"The scenario column {self.left_aside!r} was left aside for the guessed groups."
            )
        lines += alone
        for row in table.head(_SHOWN_CLUSTERS).to_dict("records"):
            texts = several([repr(text) for text in row["texts"]])
            lines.append(f"  {row['scenario_id']!r}, {row['n_items']} items: {texts}")
        return lines


def find_scenarios(
    tables: Sequence[RatingTable], people: RatingTable | None, from_text: bool
) -> Scenarios:
    """Find the scenario of every item of ``tables``, which all rate the same items.

    People's scenario column counts only where no table has one and it covers all items.

    Raises:
        EntangleError: two tables put an item into different scenarios, or scenarios are to be
            guessed and there are no texts.
    """
    known = tables if people is None else (*tables, people)
    texts = _texts(known)
    item_ids = tables[0].item_ids
    if from_text:
        _check_texts(known)
        left = next((t.columns.scenario for t in known if t.columns.scenario is not None), None)
        return Scenarios(_guessed({item: texts[item] for item in item_ids}), TEXTS, texts, left)
    of_item = _from_columns(tables) or _from_columns(known)
    if set(of_item) >= set(item_ids):
        return Scenarios({item: of_item[item] for item in item_ids}, COLUMN, texts)
    return Scenarios({item: item for item in item_ids}, NOWHERE, texts)


def _from_columns(tables: Sequence[RatingTable]) -> dict[str, str]:
    of_item: dict[str, str] = {}
    for table in tables:
        if "scenario_id" not in table.table:
            continue
        for item, scenario in zip(table.item_ids, table.table["scenario_id"], strict=True):
            known = of_item.setdefault(item, scenario)
            if known != scenario:
                raise EntangleError(
                    f"{table.name}: item {shown(item)} is in scenario {shown(scenario)} here and "
                    f"in {shown(known)} in an earlier table"
                )
    return of_item


def _check_texts(tables: Sequence[RatingTable]) -> None:
    """Raise an error where no table has texts and the ids of the items are none."""
    first = tables[0]
    n_words = [len(item.split()) for item in first.item_ids]
    if any("text" in each.table and each.table["text"].any() for each in tables):
        return
    if sum(n_words) < MIN_WORDS * len(n_words):
        looked_for = first.columns.text or " or ".join(TEXT)
        raise EntangleError(
            f"{first.name}: scenario_from_text=True found no texts: no column named {looked_for} "
            f"holds any, and the ids in {first.columns.item!r} have fewer than {MIN_WORDS} words; "
            f"name the column with text=..., one of: {column_names(first.column_names)}"
        )


def _texts(tables: Sequence[RatingTable]) -> dict[str, str]:
    """Return each item's text from the first table that has it, else its id."""
    texts: dict[str, str] = {}
    for table in tables:
        if "text" in table.table:
            for item, text in zip(table.item_ids, table.table["text"], strict=True):
                if text:
                    texts.setdefault(item, text)
    return {item: texts.get(item, item) for table in tables for item in table.item_ids}


def _guessed(texts: dict[str, str]) -> dict[str, str]:
    if len(texts) > MAX_TEXTS:
        raise EntangleError(
            f"{len(texts)} texts were given, and scenarios are guessed among at most {MAX_TEXTS}"
        )
    return dict(zip(texts, cluster_texts(list(texts.values())), strict=True))
