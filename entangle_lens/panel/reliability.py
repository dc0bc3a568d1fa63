"""How much of a rating table is its raters' noise, and the correlation without it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from entangle_lens.errors import EntangleError
from entangle_lens.panel.table import ROLES, RatingTable
from entangle_lens.statistics import disattenuated_correlation, mean_rating_reliability


@dataclass(frozen=True)
class Reliability:
    """Reliability of the mean ratings, and r corrected for attenuation.

    A value without standard errors has reliability NaN and is not corrected for; ``corrected`` is
    NaN where there is no correction, for ``reason``; beyond 1 it is not an estimate. The
    reliabilities are those of ``n_moral`` and ``n_secondary`` items: those with both ratings
    and a standard error.
    """

    moral: float
    secondary: float
    corrected: float
    reason: str = ""
    n_moral: int = 0
    n_secondary: int = 0


def find_reliability(table: RatingTable, r: float) -> Reliability | None:
    """Return the reliability of a table with standard errors, None of one without.

    Spearman's (1904) correction takes the noise of both values as independent.
    """
    (moral, n_moral), (secondary, n_secondary) = (_reliability(table, role) for role in ROLES)
    if np.isnan(moral) and np.isnan(secondary):
        return None
    known = Reliability(moral, secondary, float("nan"), "", n_moral, n_secondary)
    assumed = [1.0 if np.isnan(each) else each for each in (moral, secondary)]
    try:
        return replace(known, corrected=disattenuated_correlation(r, assumed[0], assumed[1]))
    except EntangleError:
        return replace(known, reason="none: the ratings differ by no more than their noise")


def _reliability(table: RatingTable, role: str) -> tuple[float, int]:
    """Return the reliability over the complete items with a standard error, and their number.

    NaN where there are none.
    """
    kept = table.table[table.complete & table.table[f"{role}_se"].notna().to_numpy()]
    means, errors = (kept[name].to_numpy(dtype=float) for name in (role, f"{role}_se"))
    if len(kept) < 2 or np.ptp(means) == 0:
        return float("nan"), len(kept)
    return mean_rating_reliability(means, errors), len(kept)
