"""A value's subspace of the residual stream: several orthonormal axes instead of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions.contrast import ContrastResid, check_held_out
from entangle_lens.directions.direction import Direction, Quality
from entangle_lens.directions.methods import principal_axes
from entangle_lens.directions.poles import Poles, poles_along, span_of
from entangle_lens.directions.quality import subspace_quality
from entangle_lens.errors import EntangleError, choices


@dataclass(frozen=True, eq=False)
class Subspace:
    """One value's subspace of the residual stream after one layer.

    ``basis`` has orthonormal rows, the largest share of the class differences first and each
    pointing to the positive pole; ``mean`` is the mean of the two class means. ``explained`` is
    each axis's share of the sum of squared differences that the subspace was fitted to.
    """

    value: str
    question: str
    layer: int
    basis: Float[Tensor, "k d_model"]
    mean: Float[Tensor, " d_model"]
    explained: Float[Tensor, " k"]
    quality: Quality
    method: str = "class means"
    provenance: Mapping[str, str] = field(default_factory=dict)

    def project(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "... k"]:
        """Return the centred coordinates B (h - mean), in residual-stream units."""
        return (resid.double() - self.mean) @ self.basis.T

    def remove(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return h - B^T B h, computed in float64 and given back in the type of ``resid``."""
        wide = resid.double()
        return (wide - wide @ self.basis.T @ self.basis).to(resid.dtype)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Each axis as a direction of length one; the quality is the whole's, so theirs is NaN."""
        unknown = Quality(float("nan"), float("nan"), float("nan"))
        return tuple(
            Direction(
                self.value,
                self.question,
                self.layer,
                axis,
                self.mean,
                unknown,
                f"{self.method}, axis {number} of {len(self.basis)}",
                self.provenance,
            )
            for number, axis in enumerate(self.basis, start=1)
        )


Differences = Callable[[Poles], Float[Tensor, "row coord"]]


def class_mean_differences(poles: Poles) -> Float[Tensor, "context coord"]:
    """Return the difference of class means in each context."""
    return poles.positive.mean(1) - poles.negative.mean(1)


def pair_differences(poles: Poles) -> Float[Tensor, "prompt coord"]:
    """Return the difference of each pair in each context."""
    return poles.high - poles.low


SUBSPACE_METHODS: Mapping[str, Differences] = MappingProxyType(
    {"class means": class_mean_differences, "pair differences": pair_differences}
)
"""The differences that a subspace can be fitted to, by name."""


def fit_subspace(
    fit: ContrastResid,
    select: ContrastResid,
    k: int,
    method: str = "class means",
    *,
    rng: np.random.Generator,
    n_resamples: int = 200,
) -> Subspace:
    """Fit the ``k`` axes along which the poles differ most, and measure them on held-out pairs.

    The top right singular vectors of the differences, not centred: of the class means, one a
    context, or of all pairs (then the first is the direction "PCA of pair differences"). The
    ``quality`` is as :func:`fit_direction`'s, with squared cosines of principal angles averaged.

    Raises:
        EntangleError: as :func:`fit_direction`, or ``k`` not from 1 to the differences' rank.
    """
    differences = _method_named(method)
    check_held_out(fit, select)
    basis = span_of(fit)
    poles, held_out = poles_along(basis, fit), poles_along(basis, select)
    scale, axes = principal_axes(differences(poles))
    _check_rank(k, len(axes), method)

    def span(drawn: Poles) -> Float[Tensor, "k coord"]:
        return principal_axes(differences(drawn))[1][:k]

    quality = subspace_quality(span, poles, held_out, rng, n_resamples)
    sign = torch.where(axes[:k] @ poles.difference < 0, -1.0, 1.0).double()
    return Subspace(
        fit.value,
        fit.question,
        fit.layer,
        (sign[:, None] * axes[:k]) @ basis.T,
        basis @ poles.middle,
        (scale**2 / (scale**2).sum())[:k],
        quality,
        method,
        dict(fit.provenance),
    )


def _method_named(method: str) -> Differences:
    if method not in SUBSPACE_METHODS:
        raise EntangleError(
            f"the subspace method {method!r} is not known; choose one of: "
            f"{choices(SUBSPACE_METHODS)}"
        )
    return SUBSPACE_METHODS[method]


def _check_rank(k: int, rank: int, method: str) -> None:
    if not 1 <= k <= rank:
        raise EntangleError(
            f"{k} axes were asked of {method!r}, whose differences have rank {rank}; "
            f"k must be from 1 to {rank}"
        )
