"""Whether people's ratings of the items are enough to be what a model is held against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from entangle_lens.statistics.correlation import MIN_CLUSTERS
from entangle_lens.stimuli.sets import ItemSet
from entangle_lens.text import count_text

PEOPLE = "human.csv"


def people_problems(item_sets: Iterable[ItemSet], human: pd.DataFrame) -> Iterator[str]:
    """Yield what makes people's ratings unusable, for each set that they rated on both values.

    A set that they rated on one value only, or not at all, is held against its design.
    """
    once = human.drop_duplicates(["item_id", "value"])
    means = once.pivot(index="item_id", columns="value", values="mean").astype(float)
    for items in item_sets:
        own = items.table.drop_duplicates("item_id").set_index("item_id")["scenario_id"]
        values = ["moral", items.secondary]
        rated = means.reindex(index=own.index, columns=values).dropna()
        found = own[rated.index].nunique()
        where = f"items of set {items.name} that are rated on both values"
        if 0 < found < MIN_CLUSTERS:
            yield f"holds {where} in {count_text(found, 'scenario')}, and needs {MIN_CLUSTERS}"
        for value in values:
            if rated[value].nunique() == 1:
                yield f"gives all {where} the same mean for {value!r}"
