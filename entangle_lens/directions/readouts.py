"""From a residual to one number along a direction: with and without centring and scaling.

Residual streams are anisotropic: a mean that all texts share, a few loud dimensions and one loud
component can make any two projections agree. The default takes the mean out; the others say
whether more of this matters. Loud is measured on prompts without any value: among contrast pairs
the first component is the value itself (on the bundled organisms at a cosine of .94 to 1 with its
direction), and taking it out would leave its opposite.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions.direction import unit
from entangle_lens.directions.layer_directions import LayerDirections
from entangle_lens.statistics import auc, d_prime

CENTRED = "projection"
READOUTS = {
    CENTRED: "centred projection",
    "cosine_centred": "cosine, centred",
    "cosine": "cosine, not centred",
    "standardised": "standardised dimensions",
    "first_component_removed": "first component removed",
}
_NO_SPREAD = 1e-6  # of the largest spread: such a dimension is rounding, and would be blown up


def read_out(
    fitted: LayerDirections, resid: Float[Tensor, "item layer d_model"]
) -> dict[str, Float[Tensor, "layer item"]]:
    """Return the items' values along a direction at every layer, by each name in ``READOUTS``.

    With r the direction and mu the mean of what it was fitted on, sd and c spread and first
    component of the background (the last two need one, and are left out without):
    ``projection`` <h - mu, r / |r|>; ``cosine_centred`` cos(h - mu, r); ``cosine`` cos(h, r);
    ``standardised`` the projection of (h - mu) / sd on r / sd, the difference of means there
    (Timkey & van Schijndel, arXiv 2109.04404); ``first_component_removed`` the projection after
    h - mu and r have both lost their part along c (Mu & Viswanath, arXiv 1702.01417, with one
    component). In float64, on the CPU.
    """
    centred, units = resid.double() - fitted.means, unit(fitted.vectors)
    found = {
        CENTRED: _dot(centred, units),
        "cosine_centred": _dot(unit(centred), units),
        "cosine": _dot(unit(resid), units),
    }
    if fitted.background is not None:
        scale, loud = _inverse(fitted.background.spread), fitted.background.component
        freed = units - (units * loud).sum(-1, keepdim=True) * loud
        found["standardised"] = _dot(centred, unit(units * scale) * scale)
        found["first_component_removed"] = _dot(centred, unit(freed))
    return found


def validate(
    fitted: LayerDirections,
    positive: Float[Tensor, "prompt layer d_model"],
    negative: Float[Tensor, "prompt layer d_model"],
) -> LayerDirections:
    """Return ``fitted`` with its AUC and d' on held-out prompts at every layer.

    ``auc`` and ``d_prime`` are those of the centred projection.
    """
    high, low = read_out(fitted, positive), read_out(fitted, negative)
    both = {name: (high[name].T.numpy(), low[name].T.numpy()) for name in high}
    aucs = {name: auc(*poles) for name, poles in both.items()}
    return replace(fitted, auc=aucs[CENTRED], d_prime=d_prime(*both[CENTRED]), readout_auc=aucs)


def _inverse(spread: Float[Tensor, "layer d_model"]) -> Float[Tensor, "layer d_model"]:
    kept = spread > _NO_SPREAD * spread.amax(-1, keepdim=True)
    return torch.where(kept, 1 / spread, 0.0)


def _dot(
    resid: Float[Tensor, "item layer d_model"], vectors: Float[Tensor, "layer d_model"]
) -> Float[Tensor, "layer item"]:
    return einsum(resid, vectors, "item layer d, layer d -> layer item")
