"""One direction in the residual stream, and how well it finds its value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Quality:
    """How well a direction finds its own value in scenarios it was not fitted on.

    ``auc``: P(a positive prompt projects higher than a negative one), over all held-out prompts
    of all paraphrases and polarities, so one threshold has to serve them all. ``d_prime``: the
    same separation in standard deviations. ``split_half_cosine``: cosine between the directions
    fitted on two halves, odd and even pairs or, where scenarios are known, odd and even
    scenarios. ``cone_degrees``: the angle from the fitted direction within which 95 % of
    directions refitted on resampled scenarios lie; it shows the spread, not a bias that all
    refits share. ``accuracy``: share of held-out prompts on their pole's side of the fit's
    middle. ``selectivity``: accuracy less that of the same method on a control task of random
    labels (Hewitt & Liang, arXiv 1909.03368). What was not measured is NaN.
    """

    auc: float
    d_prime: float
    split_half_cosine: float
    cone_degrees: float = float("nan")
    accuracy: float = float("nan")
    selectivity: float = float("nan")


@dataclass(frozen=True)
class Direction:
    """One value's direction in the residual stream after one layer.

    ``vector`` is what ``method`` gives, at its own length: by default the raw difference of class
    means, in residual-stream units; ``mean`` the mean of the two class means, from which
    projections are measured. ``question`` is the value whose question the fitting prompts asked.
    ``provenance`` says which model, tables and prompts it came from.
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


def unit(vectors: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
    """Scale vectors to length one."""
    return torch.nn.functional.normalize(vectors.double(), dim=-1)
