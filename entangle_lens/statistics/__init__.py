"""Inference that respects scenarios: NumPy and SciPy only, no models and no files.

Items that share a scenario are not independent draws. Every interval here resamples whole
scenarios and every p-value permutes whole scenarios.
"""

from entangle_lens.statistics.correlation import Clusters, pearson
from entangle_lens.statistics.estimate import Estimate
from entangle_lens.statistics.intervals import (
    change_estimate,
    correlation_estimate,
    resampled_correlations,
)
from entangle_lens.statistics.permutation import max_band, permutation_p, permuted_correlations
from entangle_lens.statistics.separation import auc, d_prime

__all__ = [
    "Clusters",
    "Estimate",
    "auc",
    "change_estimate",
    "correlation_estimate",
    "d_prime",
    "max_band",
    "pearson",
    "permutation_p",
    "permuted_correlations",
    "resampled_correlations",
]
