"""A repaired checkpoint: the original's weights, freed of a basis, shard by shard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from entangle_lens.errors import EntangleError, choices
from entangle_lens.export.card import RepairCard, render_readme
from entangle_lens.export.folders import check_folders, copy_the_rest, the_rest
from entangle_lens.export.layout import Layout, Writer, read_layout
from entangle_lens.export.orthogonal import (
    Projection,
    before_norm,
    before_stream,
    check_strength,
    orthonormal,
)
from entangle_lens.export.shards import Checkpoint, is_finite, open_weights, read_json, write_shards
from entangle_lens.staging import staged

REPAIR, BASIS = "repair.json", "repair/basis.safetensors"  # a file beside the weights is loaded
FORMAT = "entangle_lens repair 1"
_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_VERSIONS = ("entangle-lens", "torch", "safetensors", "transformers")


def orthogonalise_checkpoint(
    source_folder: str | Path,
    out_folder: str | Path,
    basis: Float[Tensor, "vector d_model"],
    *,
    strength: float = 1.0,
    dtype: torch.dtype | None = None,
    card: RepairCard,
) -> Path:
    """Write a checkpoint that no longer writes ``basis`` to its residual stream; return its folder.

    Weight orthogonalisation (Arditi et al., arXiv 2406.11717): W <- (I - s B^T B) W for the token
    embedding, every attention and MLP output matrix, and their biases, B an orthonormal basis of
    the rows of ``basis``. At s = 1 the outcome equals ablation from the embedding and from every
    attention and MLP output. In Gemma 2 and 3, which put a norm behind these matrices, B is
    removed from all that is written as exactly, but the numbers differ from that ablation's:
    see :func:`~entangle_lens.export.orthogonal.before_norm`.

    One tensor is edited at a time, so memory is bounded by the largest tensor and one output
    shard. Tied embeddings are untied: the unembedding stays what it was.

    Args:
        source_folder: config.json and safetensors, one file or sharded; the rest is copied.
        out_folder: a new or empty folder, written whole or not at all.
        basis: directions in the residual stream, of any length and angle to each other.
        strength: s; 1 removes, anything else does not.
        dtype: of the new weights; None keeps each tensor's own.
        card: what is removed, for the model card.

    Raises:
        EntangleError: weights that are pickled, quantised or broken, an architecture whose
            writers to the stream are not all known, a basis of another d_model or of numbers that
            are not finite, a strength or a dtype that cannot be meant, a source that is a repaired
            checkpoint itself or links to files elsewhere, or an output folder that is in use.
    """
    source, out = Path(source_folder), Path(out_folder)
    _check_numbers(strength, dtype)
    weights, layout = check_repairable(source, out)
    rows = orthonormal(basis)
    check_shapes(weights, layout, int(rows.shape[1]))
    editor = _Editor(weights, layout, rows, strength, _new_dtypes(weights, layout, dtype))
    with staged(out, n_bytes=sum(editor.n_bytes.values())) as stage:
        copy_the_rest(source, stage)
        write_shards(stage, editor.n_bytes, editor.tensor)
        _write_config(stage, weights.config, dtype)
        _write_card(stage, source, card, _write_basis(stage, rows, layout, card, strength))
    return out


def check_repairable(source: Path, out: Path) -> tuple[Checkpoint, Layout]:
    """Open a checkpoint that can be repaired into ``out``; nothing but headers is read.

    Raises:
        EntangleError: as :func:`orthogonalise_checkpoint`, but for the basis.
    """
    check_folders(source, out)
    weights = open_weights(source)
    the_rest(source)
    if (source / REPAIR).exists():
        raise EntangleError(
            f"{str(source)!r} is a repaired checkpoint, and a second removal can bring back part "
            "of the first; repair the original with all directions at once"
        )
    return weights, read_layout(weights.stored, weights.config, str(source))


def record_measures(
    folder: Path, source_folder: Path, card: RepairCard, measured: Mapping[str, Any]
) -> None:
    """Write a repaired checkpoint's card anew, with what has been measured on it since.

    With a ``card`` that is ``finished``, the checkpoint is: ``repair.json`` is written last.

    ``measured`` stands in ``repair.json`` under that name, for whoever measures again.
    """
    facts = {**read_json(folder / REPAIR), **card.as_dict(), "measured": dict(measured)}
    _write_card(folder, source_folder, card, facts)


@dataclass(frozen=True, eq=False)
class _Editor:
    """The new checkpoint's tensors, each made from the old one's when it is asked for."""

    weights: Checkpoint
    layout: Layout
    basis: Float[Tensor, "k d_model"]
    strength: float
    dtypes: Mapping[str, torch.dtype]

    @property
    def n_bytes(self) -> dict[str, int]:
        """The new tensors' sizes; they keep their shapes."""
        return {
            name: torch.Size(self.weights.stored[self._origin(name)].shape).numel() * dtype.itemsize
            for name, dtype in self.dtypes.items()
        }

    def tensor(self, name: str) -> Tensor:
        """Return a new tensor, edited if it writes to the stream."""
        tensor = self.weights.finite(self._origin(name))
        writer = next((each for each in self.layout.writers if each.name == name), None)
        if writer is not None:
            wide = tensor.to(torch.promote_types(tensor.dtype, self.dtypes[name]))
            projection = projection_for(writer, self.weights, self.basis, self.dtypes)
            tensor = projection.edited(wide, writer.d_model_axis, self.strength)
        new = tensor.to(self.dtypes[name])
        if not is_finite(new):
            raise EntangleError(
                f"{name} has numbers too large for {self.dtypes[name]}; give a wider dtype"
            )
        return new

    def _origin(self, name: str) -> str:
        untied = self.layout.tied and name == self.layout.head
        return self.layout.embedding if untied else name


def projection_for(
    writer: Writer,
    weights: Checkpoint,
    basis: Float[Tensor, "k d_model"],
    dtypes: Mapping[str, torch.dtype],
) -> Projection:
    """Return the map for one matrix, its norm's gain rounded as it will be stored."""
    if writer.norm is None:
        return before_stream(basis)
    return before_norm(basis, 1 + weights.finite(writer.norm).to(dtypes[writer.norm]).double())


def check_shapes(weights: Checkpoint, layout: Layout, d_model: int) -> None:
    """Refuse a basis of another width than the stream, and writers that are no plain matrices."""
    width = weights.stored[layout.embedding].shape[-1]
    if d_model != width:
        raise EntangleError(
            f"the basis has d_model {d_model}, and {str(weights.folder)!r} has {width}"
        )
    for writer in layout.writers:
        stored = weights.stored[writer.name]
        axis = 0 if len(stored.shape) == 1 else writer.d_model_axis
        if not stored.dtype.is_floating_point or stored.shape[axis] != width:
            raise EntangleError(
                f"{writer.name} is {stored.dtype} of shape {stored.shape}; floating point with "
                f"d_model {width} on axis {axis} was expected"
            )


def _check_numbers(strength: float, dtype: torch.dtype | None) -> None:
    check_strength(strength)
    if dtype is not None and dtype not in _FLOATS:
        raise EntangleError(
            f"dtype {dtype} cannot hold edited weights; choose one of {choices(_FLOATS)}"
        )


def _new_dtypes(
    weights: Checkpoint, layout: Layout, asked: torch.dtype | None
) -> dict[str, torch.dtype]:
    """Return the dtype of every new tensor, an unembedding of its own included."""
    dtypes = {name: stored.dtype for name, stored in weights.stored.items()}
    if layout.tied:
        dtypes[layout.head] = dtypes[layout.embedding]
    if asked is not None:
        dtypes = {name: asked if own.is_floating_point else own for name, own in dtypes.items()}
    return dtypes


def _write_config(stage: Path, config: Mapping[str, Any], dtype: torch.dtype | None) -> None:
    """Write the configuration, untied, and in its new dtype if there is one."""
    new = json.loads(json.dumps(config))
    new.pop("transformers_weights", None)  # the name of a file that is not copied
    for level in (new, new.get("text_config")):
        if isinstance(level, dict):
            level["tie_word_embeddings"] = False
            for key in ("dtype", "torch_dtype"):
                if dtype is not None and key in level:
                    level[key] = str(dtype).removeprefix("torch.")
    (stage / "config.json").write_text(json.dumps(new, indent=2) + "\n", encoding="utf-8")


def _write_card(folder: Path, source: Path, card: RepairCard, facts: Mapping[str, Any]) -> None:
    (folder / "README.md").write_text(render_readme(card, facts, source), encoding="utf-8")
    text = json.dumps(facts, indent=2, allow_nan=False) + "\n"
    (folder / REPAIR).write_text(text, encoding="utf-8")


def _write_basis(
    stage: Path,
    basis: Float[Tensor, "k d_model"],
    layout: Layout,
    card: RepairCard,
    strength: float,
) -> dict[str, Any]:
    """Save the basis and return the facts of the repair."""
    (stage / BASIS).parent.mkdir(exist_ok=True)
    save_file({"basis": basis.contiguous()}, stage / BASIS, metadata={"format": FORMAT})
    return {
        "format": FORMAT,
        **card.as_dict(),
        "operation": "weight orthogonalisation",
        "strength": strength,
        "rank": len(basis),
        "equals_hooks": not layout.normed,
        "untied": layout.tied,
        "n_edited": len(layout.writers),
        "n_outside": len(layout.outside),
        "basis": BASIS,
        "basis_sha256": hashlib.sha256((stage / BASIS).read_bytes()).hexdigest(),
        "versions": {name: version(name) for name in _VERSIONS},
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
