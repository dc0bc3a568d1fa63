"""The same edit of the weights, on a loaded model and for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from entangle_lens.errors import EntangleError
from entangle_lens.export.layout import Writer, read_layout
from entangle_lens.export.orthogonal import (
    Projection,
    before_norm,
    before_stream,
    check_strength,
    orthonormal,
)
from entangle_lens.export.shards import is_finite


@contextmanager
def orthogonalised(
    hf_model: PreTrainedModel, basis: Float[Tensor, "vector d_model"], *, strength: float = 1.0
) -> Iterator[PreTrainedModel]:
    """Orthogonalise a plain transformers model's weights inside the ``with`` block.

    The edit of :func:`~entangle_lens.export.checkpoint.orthogonalise_checkpoint`, without its
    files. Tied embeddings are untied for the while. The model leaves the block bit for bit as it
    came, after an exception too; memory holds a second copy of the matrices that are edited.

    Raises:
        EntangleError: a model whose writers to the stream are not all known, or whose weights are
            quantised or not finite, a basis of another d_model or of numbers that are not
            finite, or such a strength.
    """
    check_strength(strength)
    parameters = dict(hf_model.named_parameters())
    name = str(getattr(hf_model, "name_or_path", "")) or type(hf_model).__name__
    layout = read_layout(parameters, hf_model.config.to_dict(), name)
    rows = orthonormal(basis)
    width = parameters[layout.embedding].shape[1]
    if rows.shape[1] != width:
        raise EntangleError(f"the basis has d_model {rows.shape[1]}, and the model {width}")
    if not all(parameters[writer.name].is_floating_point() for writer in layout.writers):
        raise EntangleError("the model's weights are quantised, and cannot be edited exactly")
    used = (name for writer in layout.writers for name in (writer.name, writer.norm) if name)
    broken = next((each for each in used if not is_finite(parameters[each].detach())), None)
    if broken is not None:
        raise EntangleError(f"{broken} of {name!r} holds numbers that are not finite")
    head = hf_model.get_output_embeddings()
    if not isinstance(head, nn.Module):
        raise EntangleError(f"{name!r} has no unembedding; a causal language model was expected")
    own_head = head.weight
    kept = {writer.name: parameters[writer.name].data for writer in layout.writers}
    try:
        if own_head is parameters[layout.embedding]:
            head.weight = nn.Parameter(own_head.data, requires_grad=own_head.requires_grad)
        with torch.no_grad():
            for writer in layout.writers:
                projection = _projection(writer, parameters, rows)
                new = projection.edited(kept[writer.name], writer.d_model_axis, strength)
                parameters[writer.name].data = new
        yield hf_model
    finally:
        for each, data in kept.items():
            parameters[each].data = data
        head.weight = own_head


def _projection(
    writer: Writer, parameters: dict[str, nn.Parameter], basis: Float[Tensor, "k d_model"]
) -> Projection:
    if writer.norm is None:
        return before_stream(basis)
    return before_norm(basis, 1 + parameters[writer.norm].detach().cpu().double())
