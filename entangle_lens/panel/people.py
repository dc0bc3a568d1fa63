"""Is a model more entangled than people are, on the same items?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student_t

from entangle_lens.errors import EntangleError
from entangle_lens.panel.table import ROLES, RatingTable
from entangle_lens.statistics import Clusters, Estimate, change_estimate, pearson, steiger_test
from entangle_lens.statistics.correlation import centred

ClustersOf = Callable[[Sequence[str], str], Clusters]


@dataclass(frozen=True)
class AgainstPeople:
    """A model's r less people's, over the items where both have both ratings.

    ``difference`` has the interval of the paired scenario bootstrap, and p from t = difference /
    se with scenarios - 2 degrees of freedom. ``steiger_p`` is that of Steiger's ZPF test, which
    takes items as independent: NaN where it has no answer. Both corrected over models. Where there
    is no difference, ``reason`` says why.
    """

    model_r: float
    people_r: float
    difference: Estimate
    steiger_z: float
    steiger_p: float
    reason: str = ""
    p_corrected: float = float("nan")
    steiger_p_corrected: float = float("nan")


def compare(
    model: RatingTable, people: RatingTable, clusters_of: ClustersOf, seed: int, n_resamples: int
) -> AgainstPeople:
    """Test a model's r(moral, secondary) against people's; too few common scenarios: a reason."""
    both = model.table[model.complete].merge(
        people.table[people.complete], on="item_id", suffixes=("", "_people")
    )
    names = [f"{role}{who}" for who in ("", "_people") for role in ROLES]
    ratings = np.stack([_scaled(both[name].to_numpy(dtype=float)) for name in names])
    try:
        clusters = clusters_of(both["item_id"].tolist(), f"{model.name} and {people.name}")
    except EntangleError:
        return _nothing("no correlation: too few items or scenarios in common", len(both))
    if not ratings.any(axis=1).all():
        return _nothing("no correlation: constant ratings", len(both))
    x_model, y_model, x_people, y_people = ratings
    rng = np.random.default_rng(seed)
    change = change_estimate((x_people, y_people), (x_model, y_model), clusters, rng, n_resamples)
    z, p = _steiger(ratings)
    return AgainstPeople(
        float(pearson(x_model, y_model)),
        float(pearson(x_people, y_people)),
        replace(change, p=_p_of(change)),
        z,
        p,
    )


def _nothing(reason: str, n_items: int) -> AgainstPeople:
    nan = float("nan")
    nowhere = Estimate(nan, nan, nan, nan, n_items, 0, "none")
    return AgainstPeople(nan, nan, nowhere, nan, nan, reason)


def _scaled(values: Float[np.ndarray, " items"]) -> Float[np.ndarray, " items"]:
    """Return centred values between -1 and 1; zeros where they are constant."""
    if not len(values):
        return values
    values = centred(values)
    return values / (np.abs(values).max() or 1.0)


def _p_of(change: Estimate) -> float:
    """Return the two-sided p that belongs to the interval of a change; 1 where nothing changes."""
    df = change.n_scenarios - 2
    se = (change.high - change.low) / 2 / student_t.ppf(0.975, df)
    if change.value == 0:
        return 1.0
    return float(2 * student_t.sf(abs(change.value) / se, df)) if se > 0 else float("nan")


def _steiger(ratings: Float[np.ndarray, "4 items"]) -> tuple[float, float]:
    """Return Z and p of Steiger's ZPF test of r12 = r34; NaN where nothing can be compared."""
    r = {
        (i + 1, j + 1): float(pearson(ratings[i], ratings[j])) for i, j in combinations(range(4), 2)
    }
    try:
        test = steiger_test(
            r[1, 2], r[3, 4], r[1, 3], r[1, 4], r[2, 3], r[2, 4], n=ratings.shape[1]
        )
    except EntangleError:
        return float("nan"), float("nan")
    return test.statistic, test.p
