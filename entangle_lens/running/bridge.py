"""Running through the bridge itself, hook points and all: the way that always applies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from entangle_lens.errors import EntangleError
from entangle_lens.model_names import check_layer_range
from entangle_lens.running.batches import padded
from entangle_lens.running.edits import Edit, apply, sites_of
from entangle_lens.running.rows import Rows
from entangle_lens.running.sites import hook_name


def resid_post(layer: int) -> str:
    """Name the hook point of the residual stream after ``layer``."""
    return f"blocks.{layer}.hook_resid_post"


def check_layers(model: TransformerBridge, layers: Sequence[int]) -> None:
    """Refuse layers that the model does not have."""
    check_layer_range(layers, int(model.cfg.n_layers))


def check_edit(model: TransformerBridge, edit: Edit) -> None:
    """Refuse an edit of no layer, or of layers that the model does not have."""
    if not edit.layers:
        raise EntangleError("an intervention names no layer; name at least one")
    check_layers(model, edit.layers)


def check_hooks(model: TransformerBridge, names: Sequence[str]) -> None:
    """Refuse hook points that TransformerLens does not give this model."""
    for name in names:
        if name not in model.hook_dict:
            raise EntangleError(
                f"the model has no hook point {name}: blocks of {model.cfg.architecture} are put "
                "together in another way"
            )


def input_device(model: TransformerBridge) -> torch.device:
    """Return the device that token ids go to."""
    return next(model.original_model.parameters()).device


def edit_hooks(edits: Sequence[Edit], rows: Rows | None = None) -> list[tuple[str, Any]]:
    """Return the hooks that make ``edits``, in order, on a pass over ``rows``."""
    return [
        (hook_name(site, layer), partial(_edit, edit, rows, layer, site))
        for edit in edits
        for layer in edit.layers
        for site in sites_of(edit)
    ]


def forward(
    model: TransformerBridge,
    ids: Int[Tensor, "batch pos"],
    mask: Int[Tensor, "batch pos"],
    **options: Any,
) -> Float[Tensor, "batch kept vocab"]:
    """Run token ids with their attention mask (never strings: those double the BOS token)."""
    logits: Tensor = model.forward(ids, attention_mask=mask, return_type="logits", **options)
    return logits


def only_last(model: TransformerBridge) -> dict[str, int]:
    """Return the option by which a model unembeds the last token only, where that is harmless.

    Blocks that read the keys and values of lower ones are then run at the last token only, so that
    nothing can be captured at the others.
    """
    config = cast(Any, model.original_model).config
    shared = getattr(config.get_text_config(), "num_kv_shared_layers", None)
    return {} if shared else {"logits_to_keep": 1}


def last_logits(
    model: TransformerBridge,
    tokens: Sequence[Sequence[int]],
    layers: Sequence[int] = (),
    edits: Sequence[Edit] = (),
    n_after: int = 0,
    keep: Callable[[Tensor], Tensor] = lambda resid: resid[:, -1],
) -> tuple[Float[Tensor, "batch vocab"], Mapping[int, Float[Tensor, "batch ..."]]]:
    """Run one batch padded on the left; return last logits and what ``keep`` takes of ``layers``.

    That is the last residuals by default. The last ``n_after`` tokens of each row are what was put
    after a prompt.
    """
    ids, mask = padded(tokens, left=True, device=input_device(model))
    captured: dict[int, Tensor] = {}
    hooks = edit_hooks(edits, Rows.of_prompts(mask, n_after))
    hooks += [(resid_post(layer), partial(_keep, captured, layer, keep)) for layer in layers]
    with model.hooks(fwd_hooks=hooks):
        return forward(model, ids, mask, **only_last(model))[:, -1], captured


def _edit(edit: Edit, rows: Rows | None, layer: int, site: str, resid: Tensor, hook: Any) -> Tensor:
    return apply(edit, rows, layer, site, resid)


def _keep(
    captured: dict[int, Tensor],
    layer: int,
    keep: Callable[[Tensor], Tensor],
    resid: Tensor,
    hook: Any,
) -> None:
    captured[layer] = keep(resid)
