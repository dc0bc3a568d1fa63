"""How far the levels of the items go together: what a design can tell apart, and what not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from entangle_lens.stimuli.sets import COVARIATE, ItemSet, Stimuli
from entangle_lens.stimuli.tables import Problem
from entangle_lens.text import count_text

CONFOUNDED = 0.10
INSEPARABLE = 0.95


def item_set(items: pd.DataFrame, secondary: str, covariates: pd.DataFrame | None) -> ItemSet:
    """Return the items of one set from the checked tables, with their levels as numbers."""
    chosen = items[items["set"] == f"moral_{secondary}"].reset_index(drop=True)
    level = -chosen["corruption"].astype(float)
    if secondary == "economic":
        level = chosen["log_price"].astype(float)
    table = chosen[["item_id", "scenario_id", "text"]].assign(
        moral=chosen["moral"].astype(float), level=level
    )
    if covariates is not None:
        numbers = covariates.set_index("item_id").astype(float).add_prefix(COVARIATE)
        table = table.join(numbers, on="item_id")
    return ItemSet(secondary, table)


def confounded_problems(item_sets: Iterable[ItemSet]) -> Iterator[Problem]:
    """Yield the item sets in which the moral and the secondary level are one and the same."""
    for own in item_sets:
        r = own.design_correlation
        if abs(r) > INSEPARABLE:
            message = (
                f"the moral level and the {own.secondary} level of set {own.name} correlate by "
                f"{r:.2f}; beyond {INSEPARABLE:.2f} no rating can tell them apart: cross them, so "
                "that each moral level comes with every other level"
            )
            yield Problem("items.csv", message)


def describe_design(stimuli: Stimuli) -> list[str]:
    """Return one line an item set: its sizes, and r of the moral with the secondary level."""
    return [
        f"{name}: {count_text(len(items), 'item')} in "
        f"{count_text(len(set(items.scenario_ids)), 'scenario')}, "
        f"r(moral level, {name} level) {items.design_correlation:.2f}"
        for name, items in stimuli.items.items()
    ]


def design_warnings(stimuli: Stimuli) -> list[str]:
    """Return a sentence for each item set whose levels correlate by :data:`CONFOUNDED` or more."""
    return [
        f"the moral level and the {name} level of set {items.name} correlate by "
        f"{items.design_correlation:.2f}, and a design that crosses them has 0: a model is held "
        "against this correlation, and little room is left above it"
        for name, items in stimuli.items.items()
        if abs(items.design_correlation) >= CONFOUNDED
    ]
