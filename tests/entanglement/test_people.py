"""With a table of people's ratings, people are the reference."""

import numpy as np
import pandas as pd
import pytest

from entangle_lens.entanglement.behaviour import measure_behaviour
from entangle_lens.entanglement.ratings import Ratings
from entangle_lens.stimuli import ItemSet, load_stimuli


@pytest.fixture(scope="module")
def item_set() -> ItemSet:
    return load_stimuli("goods").items["grammar"]


def ratings(value, numbers):
    row = np.asarray(numbers, dtype=float)[None]
    return Ratings(value, (), row, np.ones_like(row), np.ones_like(row))


def people(item_set, leak):
    own = item_set.level + leak * item_set.moral
    means = {"moral": item_set.moral, "grammar": own}
    return pd.concat(
        pd.DataFrame({"item_id": item_set.table["item_id"], "value": value, "mean": mean})
        for value, mean in means.items()
    )


def measured(item_set, human):
    noise = np.random.default_rng(0).standard_normal(len(item_set))
    moral = ratings("moral", item_set.moral)
    own = ratings("grammar", item_set.level + item_set.moral + 0.1 * noise)
    return measure_behaviour(item_set, moral, own, human, np.random.default_rng(0), 500)


def test_reference_is_the_designs_zero_without_people(item_set):
    reference = measured(item_set, None).reference
    assert (reference.value, reference.source, reference.excess) == (0.0, "design", None)


def test_reference_is_peoples_correlation_and_the_excess_is_paired(item_set):
    alike, apart = (measured(item_set, people(item_set, leak)).reference for leak in (1.0, 0.0))
    assert alike.value == pytest.approx(
        np.corrcoef(item_set.moral, item_set.level + item_set.moral)[0, 1]
    )
    assert abs(alike.excess.value) < 0.02
    assert apart.value == pytest.approx(0.0, abs=1e-12)
    assert apart.excess.low > 0.3


def test_reference_takes_only_the_items_that_people_rated_on_both_values(item_set):
    human = people(item_set, 1.0)
    human = human[~((human["value"] == "grammar") & human.index.isin(range(40)))]
    assert measured(item_set, human).reference.source == f"people, {len(item_set) - 40} items"
