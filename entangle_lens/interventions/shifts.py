"""Shifts: edits that move activations along a direction, by a fixed step or by the least one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.errors import EntangleError
from entangle_lens.running import Rows, check_numbers


@dataclass(frozen=True, eq=False)
class Steering:
    """Steering h' = h + c v, with v the raw difference of class means.

    ``coefficient`` c is in units of the distance between the classes: 1 moves the mean of the
    negative class onto that of the positive one, -1 back.
    """

    vector: Float[Tensor, " d_model"]
    coefficient: float
    layers: tuple[int, ...]
    sites: tuple[str, ...] = ("resid_post",)

    def __post_init__(self) -> None:
        check_numbers("a steering", vector=self.vector, coefficient=self.coefficient)
        check_numbers("a steering", step=self.coefficient * self.vector.float())

    def edit(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return the shifted activations; coefficient 0 returns them as they are."""
        if self.coefficient == 0:
            return resid
        wide = resid.to(torch.promote_types(resid.dtype, torch.float32))
        return (wide + self.coefficient * self.vector.to(wide)).to(resid.dtype)


@dataclass(frozen=True, eq=False)
class LeastShift:
    """The least shift along a probe's weight that makes its probability ``probability``, or more.

    ConVA (arXiv 2507.11316): P(e) = sigmoid(w.e + b), v = w/|w|, h' = h + eps v with
    eps = max(0, (logit P0 - w.e - b)/|w|); with ``suppress`` it is min(0, .), and P(e) becomes P0
    or less. Here e is each token's own activation; :class:`PromptLeastShift` reads the prompt's.
    """

    weight: Float[Tensor, " d_model"]
    bias: float
    layer: int
    probability: float
    suppress: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.probability < 1:
            raise EntangleError(
                f"probability {self.probability} was given; one between 0 and 1 was expected"
            )
        check_numbers("a least shift", weight=self.weight, bias=self.bias)
        if not 0 < self.weight.norm() < math.inf:
            raise EntangleError("the probe's weight is zero or not finite: it points nowhere")

    @property
    def layers(self) -> tuple[int, ...]:
        """The one layer that the probe was fitted at."""
        return (self.layer,)

    def step(self, read: Float[Tensor, "... d_model"]) -> Float[Tensor, "..."]:
        """Return eps for each activation that is read."""
        weight = self.weight.to(read)
        logit = math.log(self.probability / (1 - self.probability))
        eps = (logit - read @ weight - self.bias) / weight.norm()
        return eps.clamp(max=0) if self.suppress else eps.clamp(min=0)

    def edit(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return every activation shifted by its own least step."""
        wide = resid.to(torch.promote_types(resid.dtype, torch.float32))
        return self.shifted(resid, self.step(wide)[..., None])

    def shifted(
        self, resid: Float[Tensor, "... d_model"], eps: Float[Tensor, "... 1"]
    ) -> Float[Tensor, "... d_model"]:
        """Return h + eps v, and what needs no step as it is."""
        wide = resid.to(eps)
        unit = self.weight.to(eps) / self.weight.to(eps).norm()
        return torch.where(eps == 0, resid, (wide + eps * unit).to(resid.dtype))


@dataclass(frozen=True)
class PromptLeastShift:
    """A :class:`LeastShift` read once, at the prompt's last token, and added at all positions.

    Generated tokens get the step of their prompt.
    """

    shift: LeastShift

    @property
    def layers(self) -> tuple[int, ...]:
        """The one layer that the probe was fitted at."""
        return self.shift.layers

    def edit_rows(
        self, resid: Float[Tensor, "batch pos d_model"], rows: Rows, layer: int, site: str
    ) -> Float[Tensor, "batch pos d_model"]:
        """Return every row shifted by the least step of its prompt."""
        if rows.last is not None:
            at_last = rows.at_last(resid)
            wide = at_last.to(torch.promote_types(resid.dtype, torch.float32))
            rows.memory[id(self)] = self.shift.step(wide)[:, None, None]
        return self.shift.shifted(resid, rows.remembered(id(self)))
