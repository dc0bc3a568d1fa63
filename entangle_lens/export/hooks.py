"""Edits on a plain transformers model, by hooks of plain torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from transformers import PreTrainedModel

from entangle_lens.errors import EntangleError
from entangle_lens.running import Edit
from entangle_lens.running.edits import PointEdit
from entangle_lens.running.full_mode import check_full_mode_plainly, on_all_that_is_written
from entangle_lens.running.generation import edited


@contextmanager
def hooked(
    hf_model: PreTrainedModel, edits: Sequence[Edit], *, full: bool = False
) -> Iterator[PreTrainedModel]:
    """Apply ``edits`` in order to every pass of a plain model inside the block, generation too.

    An edit applies after the decoder blocks that it names, or where its ``sites`` say. With
    ``full``, the full mode of Arditi et al. (arXiv 2406.11717), it applies to all that is written
    to the residual stream instead, once each: the embedding, and every layer's attention and MLP
    output as they are added (behind their norm where they have one). Ablation then equals
    orthogonalised weights; ablation after the blocks alone does not. Whether it removes a direction
    is tried once a model, on a few tokens.

    The model leaves the block as it came, after an exception too.

    Raises:
        EntangleError: a model whose blocks are not found, a layer out of range, ``full`` with an
            edit of some layers only or one that depends on the position, or in a model where it
            does not remove a direction, or an edit that never fired.
    """
    blocks = _blocks(hf_model)
    for edit in edits:
        _check_layers(edit, len(blocks))
    if full:
        edits = [where for edit in edits for where in _everywhere(edit, len(blocks))]
        check_full_mode_plainly(hf_model, blocks)
    with edited(hf_model, blocks, edits):
        yield hf_model


def _everywhere(edit: Edit, n_layers: int) -> tuple[Edit, Edit]:
    if set(edit.layers) != set(range(n_layers)):
        raise EntangleError(
            f"full mode edits all layers, 0 to {n_layers - 1}, and the edit names {edit.layers}"
        )
    if not isinstance(edit, PointEdit):
        raise EntangleError(
            f"full mode takes edits that are the same at every position, and {type(edit).__name__} "
            "is not"
        )
    return on_all_that_is_written(edit, n_layers)


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
