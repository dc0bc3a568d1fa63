"""The difference of means at many layers in one go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions.direction import Direction, Quality, unit
from entangle_lens.errors import EntangleError


@dataclass(frozen=True, eq=False)
class Background:
    """What residuals are like whatever is said, at each layer, over prompts without any value.

    ``spread`` is the standard deviation of every dimension, ``component`` the first principal
    component, of length one.
    """

    spread: Float[Tensor, "layer d_model"]
    component: Float[Tensor, "layer d_model"]

    @classmethod
    def of(cls, resid: Float[Tensor, "text layer d_model"]) -> Background:
        """Measure it; the component is found among the texts, which are fewer than dimensions."""
        resid = resid.double()
        centred = rearrange(resid - resid.mean(0), "text layer d -> layer text d")
        _, shares = torch.linalg.eigh(centred @ centred.transpose(1, 2))
        loudest = einsum(shares[..., -1], centred, "layer text, layer text d -> layer d")
        return cls(resid.std(0), unit(loudest))


@dataclass(frozen=True, eq=False)
class LayerDirections:
    """One value's difference of means at each of several layers, in one question's context.

    ``auc`` and ``d_prime`` are NaN, and ``readout_auc`` is empty, until :func:`validate` has seen
    held-out scenarios. ``background`` is what the residual stream is like whatever is said, where
    that was measured. ``provenance`` says which model, tables and prompts they came from, and goes
    with each :class:`Direction`.
    """

    value: str
    question: str
    layers: tuple[int, ...]
    vectors: Float[Tensor, "layer d_model"]
    means: Float[Tensor, "layer d_model"]
    split_half_cosine: Float[np.ndarray, " layer"]
    auc: Float[np.ndarray, " layer"]
    d_prime: Float[np.ndarray, " layer"]
    readout_auc: Mapping[str, Float[np.ndarray, " layer"]] = field(default_factory=dict)
    background: Background | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    def at(self, layer: int, provenance: Mapping[str, str] | None = None) -> Direction:
        """Return the direction at ``layer``, with another ``provenance`` than its own if given."""
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
            provenance=dict(self.provenance if provenance is None else provenance),
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


def fit_difference_of_means(
    value: str,
    question: str,
    layers: Sequence[int],
    positive: Float[Tensor, "pair layer d_model"],
    negative: Float[Tensor, "pair layer d_model"],
    provenance: Mapping[str, str] | None = None,
) -> LayerDirections:
    """Fit r_l = mean(h_l | positive) - mean(h_l | negative) at every layer, summed in float64.

    The difference-of-means direction of Marks & Tegmark (arXiv 2310.06824) and Arditi et al.
    (arXiv 2406.11717, equation 1). ``provenance`` is kept: with the model's name and revision, the
    directions can be saved and are known again by their model.

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
        provenance=dict(provenance or {}),
    )
