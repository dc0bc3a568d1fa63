"""Edits of a model's activations, as pure values that know nothing of any model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.errors import EntangleError
from entangle_lens.running.rows import Rows

_AFTER_BLOCKS = ("resid_post",)


@runtime_checkable
class Edit(Protocol):
    """An edit of activations: a :class:`PointEdit` or a :class:`RowEdit`.

    It applies after the blocks in ``layers``, or where its optional attribute ``sites`` says.
    """

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers at which activations are edited."""


@runtime_checkable
class PointEdit(Edit, Protocol):
    """An edit of one activation at a time, the same at every position of every prompt."""

    def edit(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return the edited activations."""


@runtime_checkable
class RowEdit(Edit, Protocol):
    """An edit that depends on the position, or on what a prompt holds elsewhere.

    What prompts share cannot be run once under it: every prompt is run whole.
    """

    def edit_rows(
        self, resid: Float[Tensor, "batch pos d_model"], rows: Rows, layer: int, site: str
    ) -> Float[Tensor, "batch pos d_model"]:
        """Return the edited activations of a batch at one place, its rows as ``rows`` says."""


def sites_of(edit: Edit) -> tuple[str, ...]:
    """Return where in a block ``edit`` applies: after it, unless it says something else."""
    return getattr(edit, "sites", _AFTER_BLOCKS)


def need_rows(edits: Sequence[Edit]) -> bool:
    """Return whether any of ``edits`` depends on the position or on the whole prompt."""
    return any(isinstance(edit, RowEdit) for edit in edits)


def check_numbers(what: str, **parts: object) -> None:
    """Refuse an edit that would turn activations into NaN.

    Raises:
        EntangleError: a part that is not a number, or not finite.
    """
    for name, part in parts.items():
        if isinstance(part, Tensor):
            finite = bool(part.isfinite().all())
        elif isinstance(part, Real) and not isinstance(part, bool):
            finite = math.isfinite(part)
        else:
            raise EntangleError(f"the {name} of {what} is {part!r}; a number was expected")
        if not finite:
            given = "" if isinstance(part, Tensor) else f" is {part}, which"
            raise EntangleError(f"the {name} of {what}{given} is not finite")


def apply(
    edit: Edit,
    rows: Rows | None,
    layer: int,
    site: str,
    resid: Float[Tensor, "batch pos d_model"],
) -> Float[Tensor, "batch pos d_model"]:
    """Return ``resid`` under ``edit``, with the rows that a :class:`RowEdit` needs."""
    if isinstance(edit, RowEdit):
        assert rows is not None, "the caller knows the rows where an edit needs them"
        return edit.edit_rows(resid, rows, layer, site)
    assert isinstance(edit, PointEdit), "an edit is one of the two kinds"
    return edit.edit(resid)


@dataclass(frozen=True, eq=False)
class Ablation:
    """Directional ablation h' = h - s r (r . h) of a unit vector r after the given layers.

    Arditi et al., arXiv 2406.11717, equation 4, on block outputs. ``strength`` s = 1 removes the
    component; other values are something else (2 reflects it).
    """

    unit: Float[Tensor, " d_model"]
    layers: tuple[int, ...]
    strength: float = 1.0

    def __post_init__(self) -> None:
        check_numbers("an ablation", unit=self.unit, strength=self.strength)

    def edit(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return the edited residual: computed in float32 at least, in the dtype it came in."""
        if self.strength == 0:
            return resid
        wide = resid.to(torch.promote_types(resid.dtype, torch.float32))
        r = self.unit.to(wide)
        return (wide - self.strength * (wide @ r)[..., None] * r).to(resid.dtype)
