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
