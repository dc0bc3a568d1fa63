"""How well a projection tells two groups apart."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata


def auc(
    high: Float[np.ndarray, "high ..."], low: Float[np.ndarray, "low ..."]
) -> Float[np.ndarray, "..."]:
    """Return P(a high score exceeds a low one), ties counting half, over the first axis."""
    n_high, n_low = len(high), len(low)
    ranks = rankdata(np.concatenate([high, low]), axis=0)
    rank_sum = ranks[:n_high].sum(0)
    return np.asarray((rank_sum - n_high * (n_high + 1) / 2) / (n_high * n_low))


def d_prime(
    high: Float[np.ndarray, "high ..."], low: Float[np.ndarray, "low ..."]
) -> Float[np.ndarray, "..."]:
    """Return (mean high - mean low) / pooled standard deviation, over the first axis."""
    pooled = np.sqrt((high.var(0, ddof=1) + low.var(0, ddof=1)) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((high.mean(0) - low.mean(0)) / pooled)
