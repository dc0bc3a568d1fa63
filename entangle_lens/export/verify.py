"""A repaired checkpoint measured again, from its weights alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from entangle_lens.errors import EntangleError
from entangle_lens.export.checkpoint import (
    BASIS,
    FORMAT,
    REPAIR,
    check_shapes,
    projection_for,
)
from entangle_lens.export.layout import read_layout
from entangle_lens.export.orthogonal import orthonormal
from entangle_lens.export.shards import is_finite, open_weights, read_json
from entangle_lens.paths import is_file

_SMALLEST_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Verification:
    """How much of the removed basis every matrix still writes.

    ``leftover`` is |Q W| / |Q * W| per tensor, the largest over the basis: 0 for none of it,
    about 1 for a matrix that was never edited. Rounding to the stored dtype leaves less than
    ``tolerance``. ``facts`` is the checkpoint's ``repair.json``. ``broken`` are the tensors that
    hold numbers which are not finite, whether they write to the stream or not.
    """

    folder: Path
    facts: Mapping[str, Any]
    leftover: Mapping[str, float]
    tolerance: float
    untied: bool
    broken: tuple[str, ...] = ()

    @property
    def worst(self) -> str:
        """The tensor that writes most of the basis; one of which that is unknown comes first."""
        unknown = (name for name, left in self.leftover.items() if not math.isfinite(left))
        return next(unknown, None) or max(self.leftover, key=lambda name: self.leftover[name])

    @property
    def holds(self) -> bool:
        """Whether the basis is gone from all that is written, and the unembedding untied.

        Nothing holds of weights that are not all finite numbers.
        """
        gone = self.leftover[self.worst] <= self.tolerance
        return self.untied and gone and not self.broken

    def __str__(self) -> str:
        said = "holds" if self.holds else "does NOT hold"
        reason = "" if self.untied else "; the unembedding is tied to the edited embedding"
        if self.broken:
            more = f" and {len(self.broken) - 1} more" if len(self.broken) > 1 else ""
            reason += f"; {self.broken[0]}{more} holds numbers that are not finite"
        return (
            f"the repair {said}: of {len(self.leftover)} tensors that write to the residual "
            f"stream, {self.worst} writes most of the removed basis, "
            f"{self.leftover[self.worst]:.1e} (tolerance {self.tolerance:.0e}; 1 is an unedited "
            f"tensor){reason}"
        )


def verify_checkpoint(folder: str | Path) -> Verification:
    """Measure again that no matrix of a repaired checkpoint writes the basis it was freed of.

    What writes to the stream is found anew in the weights; of ``repair.json`` only the basis is
    believed, and it has to be the one whose digest is written there.

    Raises:
        EntangleError: no repaired checkpoint, a basis file that was changed, or a strength other
            than 1, which removes nothing.
    """
    folder = Path(folder)
    facts = _facts(folder)
    basis = _basis(folder, facts)
    weights = open_weights(folder)
    layout = read_layout(weights.stored, weights.config, str(folder))
    check_shapes(weights, layout, int(basis.shape[1]))
    dtypes = {name: stored.dtype for name, stored in weights.stored.items()}
    broken = tuple(name for name in weights.stored if not is_finite(weights.tensor(name)))
    leftover = {
        writer.name: math.nan
        if {writer.name, writer.norm} & set(broken)
        else projection_for(writer, weights, basis, dtypes).leftover(
            weights.tensor(writer.name), writer.d_model_axis
        )
        for writer in layout.writers
    }
    rounding = max(torch.finfo(dtypes[name]).eps for name in leftover)
    tied = (weights.config.get("text_config") or weights.config).get("tie_word_embeddings", True)
    return Verification(
        folder,
        facts,
        leftover,
        tolerance=max(_SMALLEST_TOLERANCE, 2 * rounding),
        untied=not (layout.tied or tied),
        broken=broken,
    )


def _facts(folder: Path) -> dict[str, Any]:
    if not is_file(folder / REPAIR):
        raise EntangleError(
            f"{str(folder)!r} holds no {REPAIR}; a folder that 'entangle-lens repair' wrote was "
            "expected"
        )
    facts = read_json(folder / REPAIR)
    if facts.get("format") != FORMAT:
        raise EntangleError(f"{str(folder / REPAIR)!r} is none that entangle_lens wrote")
    if facts.get("finished", True) is not True:
        raise EntangleError(
            f"{str(folder)!r} is unfinished: the repair that wrote it was stopped before the "
            "checkpoint was measured; repair the original again"
        )
    if facts.get("strength") != 1:
        raise EntangleError(
            f"{str(folder)!r} was made with strength {facts.get('strength')}, and only strength 1 "
            "removes something whose absence can be verified"
        )
    return facts


def _basis(folder: Path, facts: Mapping[str, Any]) -> Float[Tensor, "k d_model"]:
    path = folder / BASIS
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        basis = load_file(path)["basis"]
    except (OSError, SafetensorError, KeyError) as error:
        raise EntangleError(f"{str(path)!r} holds no basis that can be read ({error})") from None
    if digest != facts.get("basis_sha256"):
        raise EntangleError(f"{str(path)!r} is not the basis whose digest {REPAIR} holds")
    if len(orthonormal(basis)) < len(basis):
        raise EntangleError(f"the rows of the basis in {str(path)!r} depend on each other")
    return basis.double()
