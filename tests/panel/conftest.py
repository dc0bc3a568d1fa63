"""Tables of ratings with planted entanglement."""

import numpy as np
import pandas as pd
import pytest

N_SCENARIOS, N_EACH = 17, 4


@pytest.fixture
def make_ratings():
    """Give a wide table: moral varies between scenarios, grammar shares ``leak`` of it."""

    def make(leak=0.5, seed=0, n_scenarios=N_SCENARIOS, noise=0.8, shared=0.0):
        rng = np.random.default_rng(seed)
        n_items = n_scenarios * N_EACH
        codes = np.repeat(np.arange(n_scenarios), N_EACH)
        design = np.random.default_rng(99)  # the same moral worth whatever the seed
        moral = design.normal(size=n_scenarios)[codes] + 0.2 * design.normal(size=n_items)
        grammar = leak * moral + noise * rng.normal(size=n_items)
        grammar += shared * rng.normal(size=n_scenarios)[codes]
        return pd.DataFrame(
            {
                "item_id": [f"i{number:02d}" for number in range(n_items)],
                "scenario_id": [f"s{code}" for code in codes],
                "moral": 5 + moral,
                "grammar": 5 + grammar,
            }
        )

    return make


@pytest.fixture
def to_singles():
    """Give one row a single rating: ``n`` raters who scatter around each item's ratings."""

    def spread(table, n=12, noise=1.0, seed=5):
        rng = np.random.default_rng(seed)
        rows = table.loc[table.index.repeat(n)].reset_index(drop=True)
        for column in ("moral", "grammar"):
            rows[column] += noise * rng.normal(size=len(rows))
        return rows.sample(frac=1, random_state=1).reset_index(drop=True)

    return spread


@pytest.fixture
def to_long():
    """Give one row an item and value."""

    def melt(table, **more):
        ids = [name for name in ("item_id", "scenario_id") if name in table]
        long = table.melt(ids, ["moral", "grammar"], "value", "mean")
        return long.assign(**more)

    return melt


VERBS = (
    "stole hid burned mended washed painted sold shipped lent admired guarded "
    "dropped polished counted ignored praised buried"
)
PLACES = (
    "harbour church tunnel library market stable chapel garden kitchen "
    "attic cellar bridge forest island prison meadow theatre"
)


@pytest.fixture
def texts_of():
    """Give each item a text: the words of its scenario, and one of four things."""

    def texts(table):
        scenarios = zip(VERBS.split(), PLACES.split(), strict=True)
        things = ("bicycle", "ladder", "kettle", "violin")
        found = [f"I {verb} the {thing} near a {at}" for verb, at in scenarios for thing in things]
        return found[: len(table)]

    return texts


@pytest.fixture
def few_resamples(monkeypatch):
    """Draw few resamples: for tests that look at r, counts and sentences."""
    for name in ("N_RESAMPLES", "_MIN_RESAMPLES"):
        monkeypatch.setattr(f"entangle_lens.panel.analysis.{name}", 100)
