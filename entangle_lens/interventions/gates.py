"""Where and when an edit applies: at some positions only, or where a gate is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entangle_lens.errors import EntangleError, choices
from entangle_lens.running import Edit, Rows, apply, sites_of

Positions = Literal["prompt", "last prompt token", "generated"]
_POSITIONS = ("prompt", "last prompt token", "generated")
_READ_AT = "resid_post"


@dataclass(frozen=True)
class At:
    """An edit at some positions only: the prompt's, its last token's, or the generated ones."""

    inner: Edit
    positions: Positions

    def __post_init__(self) -> None:
        if self.positions not in _POSITIONS:
            raise EntangleError(
                f"positions {self.positions!r} are unknown; choose {choices(_POSITIONS)}"
            )

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers of the edit."""
        return self.inner.layers

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites of the edit."""
        return sites_of(self.inner)

    def edit_rows(
        self, resid: Float[Tensor, "batch pos d_model"], rows: Rows, layer: int, site: str
    ) -> Float[Tensor, "batch pos d_model"]:
        """Return the activations edited at those positions."""
        changed = apply(self.inner, rows, layer, site, resid)
        return torch.where(self._chosen(rows)[..., None], changed, resid)

    def _chosen(self, rows: Rows) -> Bool[Tensor, "batch pos"]:
        if self.positions == "generated":
            return rows.generated
        if self.positions == "prompt" or rows.last is None:
            return ~rows.generated
        places = torch.arange(rows.real.shape[1], device=rows.real.device)
        return places == rows.last[:, None]


@runtime_checkable
class Gate(Protocol):
    """A condition on the residual stream after ``layer``.

    ``per`` "prompt" reads the prompt's last token once, for all its positions and for all that is
    generated after it; "token" reads every token for itself.
    """

    @property
    def layer(self) -> int:
        """The layer after which it is read."""

    @property
    def per(self) -> Literal["prompt", "token"]:
        """What it is read of."""

    def open(self, resid: Float[Tensor, "... d_model"]) -> Bool[Tensor, "..."]:
        """Return where the condition holds."""


@dataclass(frozen=True, eq=False)
class ProbeGate:
    """Open where a linear probe's probability sigmoid(w.h + b) is above ``threshold``."""

    weight: Float[Tensor, " d_model"]
    bias: float
    layer: int
    threshold: float = 0.5
    per: Literal["prompt", "token"] = "prompt"

    def open(self, resid: Float[Tensor, "... d_model"]) -> Bool[Tensor, "..."]:
        """Return where the probability is above the threshold."""
        wide = resid.to(torch.promote_types(resid.dtype, torch.float32))
        return (wide @ self.weight.to(wide) + self.bias).sigmoid() > self.threshold


@dataclass(frozen=True, eq=False)
class CosineGate:
    """Open where the cosine of h - mu and a condition vector is above ``threshold``.

    In the manner of CAST's condition (Lee et al., arXiv 2409.05907), which takes the cosine of h
    and its projection on the condition vector: its absolute value, without a mean.
    """

    vector: Float[Tensor, " d_model"]
    layer: int
    threshold: float = 0.0
    mean: Float[Tensor, " d_model"] | None = None
    per: Literal["prompt", "token"] = "prompt"

    def open(self, resid: Float[Tensor, "... d_model"]) -> Bool[Tensor, "..."]:
        """Return where the cosine is above the threshold."""
        wide = resid.to(torch.promote_types(resid.dtype, torch.float32))
        wide = wide if self.mean is None else wide - self.mean.to(wide)
        cosine = torch.nn.functional.cosine_similarity(wide, self.vector.to(wide), dim=-1)
        return cosine > self.threshold


@dataclass(frozen=True)
class Gated:
    """An edit where its gate is open; where it is closed, activations stay bit for bit.

    Each row of a batch has its own gate, padded or not, and keeps it while text is generated.

    Raises:
        EntangleError: a gate that would be read after the edit has begun.
    """

    inner: Edit
    gate: Gate

    def __post_init__(self) -> None:
        first = min(self.inner.layers)
        before = self.gate.layer < first
        if not before and not (self.gate.layer == first and sites_of(self.inner) == (_READ_AT,)):
            raise EntangleError(
                f"the gate reads after layer {self.gate.layer} and the edit begins at layer "
                f"{first}; a gate has to be read first"
            )

    @property
    def layers(self) -> tuple[int, ...]:
        """The layer of the gate and those of the edit."""
        return tuple(sorted({self.gate.layer, *self.inner.layers}))

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites of the edit, and where the gate is read."""
        return tuple(dict.fromkeys((_READ_AT, *sites_of(self.inner))))

    def edit_rows(
        self, resid: Float[Tensor, "batch pos d_model"], rows: Rows, layer: int, site: str
    ) -> Float[Tensor, "batch pos d_model"]:
        """Read the gate where it is read; return the activations edited where it is open."""
        if layer == self.gate.layer and site == _READ_AT:
            self._read(resid, rows)
        if layer not in self.inner.layers or site not in sites_of(self.inner):
            return resid
        changed = apply(self.inner, rows, layer, site, resid)
        return torch.where(rows.remembered(id(self))[..., None], changed, resid)

    def _read(self, resid: Float[Tensor, "batch pos d_model"], rows: Rows) -> None:
        if self.gate.per == "token":
            rows.memory[id(self)] = self.gate.open(resid)
        elif rows.last is not None:
            rows.memory[id(self)] = self.gate.open(rows.at_last(resid))[:, None]
