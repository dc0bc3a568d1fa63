"""Many tests at once: p-values corrected for the false discovery rate."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import false_discovery_control

from entangle_lens.errors import EntangleError


def benjamini_hochberg(p: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Return the p-values adjusted for the false discovery rate, in the given order.

    The adjusted p of rank i is min over j >= i of m p_(j) / j, at most 1 (Benjamini & Hochberg
    1995). A test without a p-value (NaN) stays NaN and does not count among the m. A p outside
    [0, 1] is an error.
    """
    known = ~np.isnan(p)
    wrong = np.flatnonzero(known & ~((p >= 0) & (p <= 1)))
    if len(wrong):
        raise EntangleError(f"p-value {wrong[0] + 1} is {p[wrong[0]]:g}, outside 0 to 1")
    adjusted = np.full(p.shape, np.nan)
    if known.any():
        adjusted[known] = false_discovery_control(p[known], method="bh")
    return adjusted
