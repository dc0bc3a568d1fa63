"""One direction in the residual stream, and how well it finds its value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.errors import EntangleError

_SMALL, _LARGE = 1e-6, 1e100  # numbers between them can be squared and added as they are


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


@dataclass(frozen=True, eq=False)
class Direction:
    """One value's direction in the residual stream after one layer.

    ``vector`` is what ``method`` gives, at its own length: by default the raw difference of class
    means, in residual-stream units; ``mean`` the mean of the two class means, from which
    projections are measured. ``question`` is the value whose question the fitting prompts asked.
    ``provenance`` says which model, tables and prompts it came from.

    Raises:
        EntangleError: a vector and a mean that are not two lists of as many finite numbers.
    """

    value: str
    question: str
    layer: int
    vector: Float[Tensor, " d_model"]
    mean: Float[Tensor, " d_model"]
    quality: Quality
    method: str = "difference of means"
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        said = f"the {self.value} direction at layer {self.layer}"
        for name, vector in (("vector", self.vector), ("mean", self.mean)):
            check_vector(vector, f"the {name} of {said}")
        if len(self.vector) != len(self.mean):
            raise EntangleError(
                f"the vector of {said} has {len(self.vector)} numbers and its mean "
                f"{len(self.mean)}; as many were expected"
            )

    @property
    def unit(self) -> Float[Tensor, " d_model"]:
        """The vector scaled to length one."""
        return unit(self.vector)

    def project(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "..."]:
        """Return the centred projection <h - mean, r/|r|>, in residual-stream units."""
        return (resid.double() - self.mean) @ self.unit


def unit(vectors: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
    """Scale vectors to length one, however long they are; a vector of zeros stays."""
    wide = vectors.double()
    largest = wide.abs().amax(-1, keepdim=True)
    # the square of 1e300 is not finite, and what is shorter than 1e-12 would not be scaled.
    extreme = (largest > _LARGE) | ((largest < _SMALL) & (largest > 0))
    return torch.nn.functional.normalize(wide / torch.where(extreme, largest, 1.0), dim=-1)


def check_vector(vector: object, what: str) -> None:
    """Refuse what is not one list of finite floating-point numbers.

    Raises:
        EntangleError: as said above; ``what`` begins the sentence.
    """
    if not isinstance(vector, Tensor):
        raise EntangleError(f"{what} is a {type(vector).__name__}; a tensor was expected")
    if vector.ndim != 1 or not len(vector) or not vector.is_floating_point():
        raise EntangleError(
            f"{what} is {vector.dtype} of shape {tuple(vector.shape)}; floating-point numbers "
            "[d_model] were expected"
        )
    if not bool(vector.isfinite().all()):
        raise EntangleError(f"{what} has numbers that are not finite")
