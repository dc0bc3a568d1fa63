"""A user's own copy of the bundled stimuli, to spoil."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

import entangle_lens

BUNDLED = Path(entangle_lens.__file__).parent / "data/stimuli"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(BUNDLED / "goods", tmp_path / "mine")


@pytest.fixture
def edit(folder):
    """Give a function that rewrites one table of ``folder`` by a function of its frame."""

    def edit_table(table, change):
        path = folder / f"{table}.csv"
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        changed = change(frame)
        (frame if changed is None else changed).to_csv(path, index=False)

    return edit_table


@pytest.fixture
def write_people(folder):
    """Give a function that writes human.csv for the items of ``n_scenarios`` grammar scenarios.

    Keywords replace whole columns; a list for a column replaces its first cells.
    """

    def write(n_scenarios=8, **changes):
        items = pd.read_csv(folder / "items.csv", dtype=str).query("set == 'moral_grammar'")
        own = items[items["scenario_id"].isin(items["scenario_id"].unique()[:n_scenarios])]
        means = {"moral": "1." + own["corruption"], "grammar": "-" + own["corruption"]}
        people = pd.concat(
            pd.DataFrame({"item_id": own["item_id"], "value": value, "mean": mean})
            for value, mean in means.items()
        )
        people = people.assign(se="0.2", n="9").reset_index(drop=True)
        for column, cells in changes.items():
            whole = cells if isinstance(cells, str) else [*cells, *people[column][len(cells) :]]
            people[column] = whole
        people.to_csv(folder / "human.csv", index=False)
        return people

    return write
