"""Edits on a plain transformers model, by hooks of plain torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from entangle_lens.errors import EntangleError
from entangle_lens.running import Edit
from entangle_lens.running.edits import PointEdit
from entangle_lens.running.generation import edited


@contextmanager
def hooked(
    hf_model: PreTrainedModel, edits: Sequence[Edit], *, full: bool = False
) -> Iterator[PreTrainedModel]:
    """Apply ``edits`` in order to every pass of a plain model inside the block, generation too.

    An edit applies after the decoder blocks that it names, or where its ``sites`` say. With
    ``full``, the full mode of Arditi et al. (arXiv 2406.11717), it applies to all that is written
    to the residual stream instead, once each: the embedding, and every layer's attention and MLP
    output as they are added (behind their norm in Gemma 2 and 3). Ablation then equals
    orthogonalised weights; ablation after the blocks alone does not.

    The model leaves the block as it came, after an exception too.

    Raises:
        EntangleError: a model whose blocks are not found, a layer out of range, ``full`` with an
            edit of some layers only or one that depends on the position, or an edit that never
            fired.
    """
    blocks = _blocks(hf_model)
    for edit in edits:
        _check_layers(edit, len(blocks))
    if full:
        _check_norms(hf_model, blocks)
        edits = [where for edit in edits for where in _on_all_that_is_written(edit, len(blocks))]
    with edited(hf_model, blocks, edits):
        yield hf_model


@dataclass(frozen=True)
class _Elsewhere:
    """An edit made at other sites than its own."""

    inner: PointEdit
    layers: tuple[int, ...]
    sites: tuple[str, ...]

    def edit(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        return self.inner.edit(resid)


def _on_all_that_is_written(edit: Edit, n_layers: int) -> tuple[Edit, Edit]:
    if set(edit.layers) != set(range(n_layers)):
        raise EntangleError(
            f"full mode edits all layers, 0 to {n_layers - 1}, and the edit names {edit.layers}"
        )
    if not isinstance(edit, PointEdit):
        raise EntangleError(
            f"full mode takes edits that are the same at every position, and {type(edit).__name__} "
            "is not"
        )
    written = _Elsewhere(edit, tuple(range(n_layers)), ("attn_out", "mlp_out"))
    return _Elsewhere(edit, (0,), ("resid_pre",)), written


def _blocks(hf_model: PreTrainedModel) -> Sequence[nn.Module]:
    blocks = getattr(hf_model.get_decoder(), "layers", None)
    if not isinstance(blocks, nn.ModuleList):
        raise EntangleError(
            f"the decoder blocks of {type(hf_model).__name__} are not found; a list named 'layers' "
            "was looked for, as Qwen, Llama, Mistral and Gemma have it"
        )
    return list(blocks)


def _check_layers(edit: Edit, n_layers: int) -> None:
    for layer in edit.layers:
        if not 0 <= layer < n_layers:
            raise EntangleError(
                f"layer {layer} is out of range: the model has layers 0 to {n_layers - 1}"
            )


def _check_norms(hf_model: PreTrainedModel, blocks: Sequence[nn.Module]) -> None:
    """Refuse blocks that put their norms elsewhere than Gemma does."""
    if any(
        hasattr(block, "post_feedforward_layernorm")
        and not hasattr(block, "pre_feedforward_layernorm")
        for block in blocks
    ):
        raise EntangleError(
            f"it is not known what the blocks of {type(hf_model).__name__} add to the stream"
        )
