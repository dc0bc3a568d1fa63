"""Inference that respects scenarios: NumPy, SciPy and statsmodels, no models and no files.

Items that share a scenario are not independent draws. Every interval here resamples whole
scenarios and every p-value permutes whole scenarios; where a classical test takes items as
independent (``williams_test``, ``steiger_test``), its docstring says so.
"""

from entangle_lens.statistics.attenuation import (
    disattenuated_correlation,
    mean_rating_reliability,
    split_half_reliability,
)
from entangle_lens.statistics.components import (
    VarianceComponents,
    sign_depends_on,
    variance_components,
)
from entangle_lens.statistics.correlation import Clusters, pearson
from entangle_lens.statistics.dependent import DependentTest, steiger_test, williams_test
from entangle_lens.statistics.estimate import Estimate
from entangle_lens.statistics.false_discovery import benjamini_hochberg
from entangle_lens.statistics.intervals import (
    change_estimate,
    correlation_estimate,
    resampled_correlations,
)
from entangle_lens.statistics.mixed import LeakageSlope, leakage_slope
from entangle_lens.statistics.partial import (
    partial_correlation,
    partial_correlation_estimate,
    semipartial_correlation,
)
from entangle_lens.statistics.permutation import max_band, permutation_p, permuted_correlations
from entangle_lens.statistics.rsa import dissimilarity, rsa
from entangle_lens.statistics.semipartial import (
    CROSSED,
    semipartial,
    semipartial_change_estimate,
    semipartial_estimate,
)
from entangle_lens.statistics.separation import auc, d_prime
from entangle_lens.statistics.text_clusters import cluster_texts

__all__ = [
    "CROSSED",
    "Clusters",
    "DependentTest",
    "Estimate",
    "LeakageSlope",
    "VarianceComponents",
    "auc",
    "benjamini_hochberg",
    "change_estimate",
    "cluster_texts",
    "correlation_estimate",
    "d_prime",
    "disattenuated_correlation",
    "dissimilarity",
    "leakage_slope",
    "max_band",
    "mean_rating_reliability",
    "partial_correlation",
    "partial_correlation_estimate",
    "pearson",
    "permutation_p",
    "permuted_correlations",
    "resampled_correlations",
    "rsa",
    "semipartial",
    "semipartial_change_estimate",
    "semipartial_correlation",
    "semipartial_estimate",
    "sign_depends_on",
    "split_half_reliability",
    "steiger_test",
    "variance_components",
    "williams_test",
]
