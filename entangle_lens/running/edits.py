"""Edits of the residual stream, as pure values that know nothing of any model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Edit(Protocol):
    """An edit of the residual stream after some layers."""

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose output is edited."""

    def edit(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return the edited residual."""


@dataclass(frozen=True)
class Ablation:
    """Directional ablation h' = h - s r (r . h) of a unit vector r after the given layers.

    Arditi et al., arXiv 2406.11717, equation 4, on block outputs. ``strength`` s = 1 removes the
    component; other values are something else (2 reflects it).
    """

    unit: Float[Tensor, " d_model"]
    layers: tuple[int, ...]
    strength: float = 1.0

    def edit(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return the edited residual: computed in float32 at least, in the dtype it came in."""
        wide = resid.to(torch.promote_types(resid.dtype, torch.float32))
        r = self.unit.to(wide)
        return (wide - self.strength * (wide @ r)[..., None] * r).to(resid.dtype)
