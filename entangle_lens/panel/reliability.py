"""How much of a rating table is its raters' noise, and the correlation without it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from entangle_lens.errors import EntangleError
from entangle_lens.panel.table import ROLES, RatingTable
from entangle_lens.statistics import disattenuated_correlation, mean_rating_reliability


@dataclass(frozen=True)
class Reliability:
    """Reliability of the mean ratings, and r corrected for attenuation.

    A value without standard errors has reliability NaN and is not corrected for; ``corrected`` is
    NaN where there is no correction, for ``reason``.
    """

    moral: float
    secondary: float
    corrected: float
    reason: str = ""


def find_reliability(table: RatingTable, r: float) -> Reliability | None:
    """Return the reliability of a table with standard errors, None of one without.

    Spearman's (1904) correction takes the noise of both values as independent.
    """
    moral, secondary = (_reliability(table, role) for role in ROLES)
    if np.isnan(moral) and np.isnan(secondary):
        return None
    assumed = [1.0 if np.isnan(each) else each for each in (moral, secondary)]
    try:
        corrected = disattenuated_correlation(r, assumed[0], assumed[1])
    except EntangleError:
        reason = "none: the ratings differ by no more than their noise"
        return Reliability(moral, secondary, float("nan"), reason)
    return Reliability(moral, secondary, corrected)


def _reliability(table: RatingTable, role: str) -> float:
    """Return the reliability over the complete items with a standard error; NaN without any."""
    kept = table.table[table.complete & table.table[f"{role}_se"].notna().to_numpy()]
    means, errors = (kept[name].to_numpy(dtype=float) for name in (role, f"{role}_se"))
    if len(kept) < 2 or np.ptp(means) == 0:
        return float("nan")
    return mean_rating_reliability(means, errors)
