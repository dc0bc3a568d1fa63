"""Removals: edits that take a part of an activation away, or bring it to a reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.running import check_numbers

_NAMED = {0.0: "nothing", 1.0: "removal", 2.0: "reflection"}


@dataclass(frozen=True, eq=False)
class Removal:
    """The affine removal h' = h - s L R (h - mu), at some sites of some layers.

    With R = L^T = B of orthonormal rows it is the ablation of a subspace; with mu a class mean,
    affine (mean) ablation or a clamp; with LEACE's pair of matrices, its erasure. mu is zero where
    ``mean`` is None. ``strength`` s = 1 removes; :func:`name_strength` names the rest.
    """

    left: Float[Tensor, "d_model k"]
    right: Float[Tensor, "k d_model"]
    layers: tuple[int, ...]
    mean: Float[Tensor, " d_model"] | None = None
    strength: float = 1.0
    sites: tuple[str, ...] = ("resid_post",)

    def __post_init__(self) -> None:
        mean = {} if self.mean is None else {"mean": self.mean}
        check_numbers("a removal", left=self.left, right=self.right, strength=self.strength, **mean)

    def edit(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return the edited activations: computed in float32 at least, in the dtype they came in.

        Strength 0 returns them as they are.
        """
        if self.strength == 0:
            return resid
        wide = resid.to(torch.promote_types(resid.dtype, torch.float32))
        from_mean = wide if self.mean is None else wide - self.mean.to(wide)
        removed = from_mean @ self.right.to(wide).T @ self.left.to(wide).T
        return (wide - self.strength * removed).to(resid.dtype)


def name_strength(strength: float) -> str:
    """Name what a removal of ``strength`` is: 1 a removal, 2 a reflection, and so on."""
    if strength in _NAMED:
        return _NAMED[strength]
    if strength < 0:
        return f"amplification ({strength:g})"
    return f"{'partial removal' if strength < 1 else 'removal and beyond'} ({strength:g})"
