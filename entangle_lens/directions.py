"""Directions in the residual stream: difference of means, their quality, and controls.

Mathematics on arrays alone: no model is run here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from entangle_lens.errors import EntangleError
from entangle_lens.statistics import auc, d_prime

_NO_SCALE = 1e-6  # of the largest singular value; below it vectors lie in each other's span
_SMALLEST_SCALE = 1e-3  # of the largest standard deviation; below it there is only noise
_SMALLEST_EXPONENT, _LARGEST_EXPONENT = -4.0, 1.0


@dataclass(frozen=True)
class Quality:
    """How well a direction finds its own value in scenarios it was not fitted on.

    ``auc``: P(a positive prompt projects higher than a negative one), over all held-out prompts
    of all paraphrases and polarities, so one threshold has to serve them all. ``d_prime``: the
    same separation in standard deviations. ``split_half_cosine``: cosine between the directions
    fitted on the odd and on the even pairs.
    """

    auc: float
    d_prime: float
    split_half_cosine: float


@dataclass(frozen=True)
class Direction:
    """One value's direction in the residual stream after one layer.

    ``vector`` is the raw difference of class means, in residual-stream units; ``mean`` the mean
    of the two class means, from which projections are measured. ``question`` is the value whose
    question the fitting prompts asked. ``provenance`` says which model, tables and prompts it
    came from.
    """

    value: str
    question: str
    layer: int
    vector: Float[Tensor, " d_model"]
    mean: Float[Tensor, " d_model"]
    quality: Quality
    method: str = "difference of means"
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def unit(self) -> Float[Tensor, " d_model"]:
        """The vector scaled to length one."""
        return unit(self.vector)

    def project(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "..."]:
        """Return the centred projection <h - mean, r/|r|>, in residual-stream units."""
        return (resid.double() - self.mean) @ self.unit


@dataclass(frozen=True)
class LayerDirections:
    """One value's difference of means at each of several layers, in one question's context.

    ``auc`` and ``d_prime`` are NaN until :func:`validate` has seen held-out scenarios.
    """

    value: str
    question: str
    layers: tuple[int, ...]
    vectors: Float[Tensor, "layer d_model"]
    means: Float[Tensor, "layer d_model"]
    split_half_cosine: Float[np.ndarray, " layer"]
    auc: Float[np.ndarray, " layer"]
    d_prime: Float[np.ndarray, " layer"]

    def at(self, layer: int, provenance: Mapping[str, str] | None = None) -> Direction:
        """Return the direction at ``layer``."""
        row = self.row(layer)
        quality = Quality(
            float(self.auc[row]), float(self.d_prime[row]), float(self.split_half_cosine[row])
        )
        return Direction(
            self.value,
            self.question,
            layer,
            self.vectors[row],
            self.means[row],
            quality,
            provenance=dict(provenance or {}),
        )

    def row(self, layer: int) -> int:
        """Return where ``layer`` stands in the arrays."""
        if layer not in self.layers:
            raise EntangleError(
                f"no direction was fitted at layer {layer}; the fitted layers are {self.layers}"
            )
        return self.layers.index(layer)

    def project(
        self, resid: Float[Tensor, "item layer d_model"]
    ) -> Float[np.ndarray, "layer item"]:
        """Return the centred projection of every item at every layer."""
        centred = resid.double() - self.means
        units = unit(self.vectors)
        return einsum(centred, units, "item layer d, layer d -> layer item").numpy()


def unit(vectors: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
    """Scale vectors to length one."""
    return torch.nn.functional.normalize(vectors.double(), dim=-1)


def fit_difference_of_means(
    value: str,
    question: str,
    layers: Sequence[int],
    positive: Float[Tensor, "pair layer d_model"],
    negative: Float[Tensor, "pair layer d_model"],
) -> LayerDirections:
    """Fit r_l = mean(h_l | positive) - mean(h_l | negative) at every layer, summed in float64.

    The difference-of-means direction of Marks & Tegmark (arXiv 2310.06824) and Arditi et al.
    (arXiv 2406.11717, equation 1).

    Raises:
        EntangleError: residuals at another number of layers than ``layers`` names.
    """
    if positive.shape[1] != len(layers):
        raise EntangleError(
            f"residuals at {positive.shape[1]} layers were given for {len(layers)} layers: "
            f"{tuple(layers)}"
        )
    difference = positive.double() - negative.double()
    halves = torch.stack([difference[0::2].mean(0), difference[1::2].mean(0)])
    cosine = torch.nn.functional.cosine_similarity(halves[0], halves[1], dim=-1)
    unknown = np.full(len(layers), np.nan)
    return LayerDirections(
        value=value,
        question=question,
        layers=tuple(layers),
        vectors=difference.mean(0),
        means=(positive.double().mean(0) + negative.double().mean(0)) / 2,
        split_half_cosine=cosine.numpy(),
        auc=unknown,
        d_prime=unknown,
    )


def validate(
    fitted: LayerDirections,
    positive: Float[Tensor, "prompt layer d_model"],
    negative: Float[Tensor, "prompt layer d_model"],
) -> LayerDirections:
    """Return ``fitted`` with its AUC and d' on held-out prompts at every layer."""
    high, low = fitted.project(positive).T, fitted.project(negative).T
    return LayerDirections(
        fitted.value,
        fitted.question,
        fitted.layers,
        fitted.vectors,
        fitted.means,
        fitted.split_half_cosine,
        auc=auc(high, low),
        d_prime=d_prime(high, low),
    )


def disentangled(
    vector: Float[Tensor, " d_model"], others: Float[Tensor, "other d_model"]
) -> Float[Tensor, " d_model"]:
    """Return r - Q Q^T r, the part of ``vector`` orthogonal to the span of ``others``."""
    axes, scale, _ = torch.linalg.svd(others.double().T, full_matrices=False)
    basis = axes[:, scale > _NO_SCALE * scale.max()]
    return vector.double() - basis @ (basis.T @ vector.double())


def random_units(
    resid: Float[Tensor, "prompt d_model"],
    matched: Float[Tensor, " d_model"],
    n_directions: int,
    rng: np.random.Generator,
    pool_per_direction: int = 20,
) -> Float[Tensor, "direction d_model"]:
    """Draw random unit vectors, orthogonal to ``matched``, that remove as much variance as it does.

    Candidates are drawn from N(0, (P Sigma P)^g), Sigma the covariance of ``resid`` and P the
    projection off ``matched``; g (1: like the activations, 0: in all directions alike) is found
    by bisection so that the median removed variance u^T Sigma u is that of ``matched``. Those
    nearest to it on a log scale are kept. g stays at or below 1, since beyond it the draws would
    all be the first principal axis: a direction of more variance than the activations have
    elsewhere is matched as nearly as they allow.
    """
    along = unit(matched)
    centred = resid.double() - resid.double().mean(0)
    centred = centred - (centred @ along)[:, None] * along
    _, scale, axes = torch.linalg.svd(centred, full_matrices=False)
    real = scale > _SMALLEST_SCALE * scale.max()
    scale, axes = scale[real], axes[real]
    z = torch.from_numpy(rng.standard_normal((n_directions * pool_per_direction, len(scale))))
    target = removed_variance(resid, along[None]).log()

    def drawn(exponent: float) -> tuple[Float[Tensor, "draw axis"], Float[Tensor, " draw"]]:
        """Return coordinates on the principal axes, and the log of the variance removed."""
        coordinates = unit(z * scale**exponent)
        return coordinates, (coordinates**2 @ scale**2 / (len(resid) - 1)).log()

    low, high = _SMALLEST_EXPONENT, _LARGEST_EXPONENT
    for _ in range(20):
        middle = (low + high) / 2
        _, reached = drawn(middle)
        low, high = (low, middle) if reached.median() > target else (middle, high)
    coordinates, reached = drawn((low + high) / 2)
    nearest = (reached - target).abs().argsort()[:n_directions]
    return coordinates[nearest] @ axes


def removed_variance(
    resid: Float[Tensor, "prompt d_model"], units: Float[Tensor, "direction d_model"]
) -> Float[Tensor, " direction"]:
    """Return u^T Sigma u for each unit vector: the variance that ablating it removes."""
    centred = resid.double() - resid.double().mean(0)
    return (centred @ units.double().T).var(0)
