"""Ways to fit a direction: one small function each, from the two poles to a vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions.logistic import logistic_regression
from entangle_lens.directions.poles import Poles
from entangle_lens.errors import EntangleError, choices

_NO_SCALE = 1e-6  # of the largest singular value; below it vectors lie in each other's span

Method = Callable[[Poles], Float[Tensor, " coord"]]


def difference_of_means(poles: Poles) -> Float[Tensor, " coord"]:
    """Return r = mean(h | positive) - mean(h | negative).

    Marks & Tegmark (arXiv 2310.06824); Arditi et al. (arXiv 2406.11717, equation 1).
    """
    return poles.difference


def mean_centred(poles: Poles) -> Float[Tensor, " coord"]:
    """Return mean(h | positive) - mean(h), the second over both poles and the other residuals.

    Mean-centring of Jorgensen et al. (arXiv 2312.03813): the mean over unlike texts stands for
    what all residuals share.
    """
    everything = torch.cat([poles.high, poles.low, poles.others])
    return poles.high.mean(0) - everything.mean(0)


def whitened(poles: Poles) -> Float[Tensor, " coord"]:
    """Return Sigma^-1 r, Sigma the shrunk covariance within the two classes.

    The probe of Marks & Tegmark (arXiv 2310.06824, section 5), and Fisher's linear discriminant.
    Wordings of one pair are no independent draws: the shrinkage counts pairs.
    """
    within = torch.cat([poles.high - poles.high.mean(0), poles.low - poles.low.mean(0)])
    covariance = within.T @ within / len(within)
    sigma = shrunk(covariance, 2 * poles.n_pairs, poles.width)
    return torch.linalg.solve(sigma, poles.difference)


def shrunk(
    covariance: Float[Tensor, "coord coord"], n_draws: int, width: int
) -> Float[Tensor, "coord coord"]:
    """Return a S + (1 - a) (tr S / width) I, the S that ``n_draws`` gave, drawn to the round one.

    a = 1 - (tr S)^2 / n / (|S|^2 - (tr S)^2 / width), kept within 0 and 1: the optimal linear
    shrinkage of Bodnar, Gupta & Parolya (arXiv 1308.2608), a distribution-free relative of
    Ledoit and Wolf's. ``width`` counts the empty axes that S leaves out too.
    """
    trace = covariance.trace()
    excess = (covariance**2).sum() - trace**2 / width
    weight = (1 - trace**2 / n_draws / excess).clamp(0, 1) if excess > 0 else 0.0
    eye = torch.eye(len(covariance), dtype=covariance.dtype)
    return weight * covariance + (1 - weight) * trace / width * eye


def logistic_probe(poles: Poles) -> Float[Tensor, " coord"]:
    """Return the weight of a logistic regression, L2, C = 1, the probe of ConVA (2507.11316)."""
    weight, _ = logistic_regression(poles.high, poles.low)
    return weight


def pca_of_pair_differences(poles: Poles) -> Float[Tensor, " coord"]:
    """Return the axis along which pair differences are largest, pointing to the positive pole.

    The first right singular vector of the differences, not centred: centring would take away
    the mean difference, which is the signal. Reading vectors of Zou et al. (arXiv 2310.01405,
    section 3.1), which give the differences alternating signs for the same reason.
    """
    axis = principal_axes(poles.high - poles.low)[1][0]
    return axis if axis @ poles.difference >= 0 else -axis


def principal_axes(
    rows: Float[Tensor, "row coord"],
) -> tuple[Float[Tensor, " k"], Float[Tensor, "k coord"]]:
    """Return the singular values of ``rows`` and their right singular vectors, rank many."""
    _, scale, axes = torch.linalg.svd(rows, full_matrices=False)
    real = scale > _NO_SCALE * scale.max()
    return scale[real], axes[real]


def disentangled_difference(poles: Poles) -> Float[Tensor, " coord"]:
    """Return the difference of means less what lies in the span of the others."""
    apart = disentangled(poles.difference, poles.others)
    if apart.norm() <= _NO_SCALE * poles.difference.norm():
        raise EntangleError(
            "the others span the whole difference of means, so nothing of it is left"
        )
    return apart


def disentangled(
    vector: Float[Tensor, " d_model"], others: Float[Tensor, "other d_model"]
) -> Float[Tensor, " d_model"]:
    """Return r - Q Q^T r, the part of ``vector`` orthogonal to the span of ``others``."""
    axes, scale, _ = torch.linalg.svd(others.double().T, full_matrices=False)
    basis = axes[:, scale > _NO_SCALE * scale.max()]
    return vector.double() - basis @ (basis.T @ vector.double())


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "difference of means": difference_of_means,
        "mean-centred": mean_centred,
        "whitened": whitened,
        "logistic probe": logistic_probe,
        "PCA of pair differences": pca_of_pair_differences,
        "disentangled": disentangled_difference,
    }
)
"""The ways to fit a direction, by name."""

SAME_AS: Mapping[str, str] = MappingProxyType({"LDA": "whitened"})
"""Second names. Linear discriminant analysis of two classes is Sigma^-1 r: the whitened one."""

_READ_OTHERS = ("mean-centred", "disentangled")


def method_named(name: str, others: Float[Tensor, "other d_model"] | None) -> str:
    """Return the first name of a method; an unknown one, or others astray, is an error."""
    own = SAME_AS.get(name, name)
    if own not in METHODS:
        raise EntangleError(
            f"the method {name!r} is not known; choose one of: {choices([*METHODS, *SAME_AS])}"
        )
    if own in _READ_OTHERS and (others is None or len(others) == 0):
        raise EntangleError(f"the method {name!r} needs others, and none were given")
    if own not in _READ_OTHERS and others is not None:
        raise EntangleError(
            f"the method {name!r} reads no others; they are for: {choices(_READ_OTHERS)}"
        )
    return own
