"""One forward pass over many prompts: residuals at the last token and option probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from entangle_lens.errors import EntangleError
from entangle_lens.running.batches import TOKENS_PER_BATCH, each_batch, pad_left
from entangle_lens.running.options import OptionTree
from entangle_lens.running.prompts import PromptGroup


@dataclass(frozen=True)
class Reading:
    """What a pass over a group of prompts read, in the order of the prompts.

    ``log_probs`` are the options' log-probabilities over the whole vocabulary (their
    exponentials sum to the option mass). ``resid`` is the residual stream after each asked
    layer (``resid_post``) at the last prompt token, in float32 on the CPU.
    """

    log_probs: Float[Tensor, "prompt option"]
    resid: Float[Tensor, "prompt layer d_model"]


@torch.inference_mode()
def read_prompts(
    model: TransformerBridge,
    group: PromptGroup,
    *,
    layers: Sequence[int] = (),
    tokens_per_batch: int = TOKENS_PER_BATCH,
    desc: str | None = None,
) -> Reading:
    """Run every prompt of ``group`` and read options and residuals at its last token.

    Interventions that are active on ``model`` apply. Same numbers as one prompt at a time.

    Raises:
        EntangleError: a layer out of range.
    """
    check_layers(model, layers)
    tree = OptionTree(group.options)
    n_prompts = len(group.tokens)
    log_probs = torch.zeros(n_prompts, len(group.options))
    resid = torch.zeros(n_prompts, len(layers), int(model.cfg.d_model))

    def run(batch: Sequence[int]) -> None:
        next_log_probs = {}
        for context in tree.contexts or [()]:
            tokens = [(*group.tokens[index], *context) for index in batch]
            captured: dict[int, Tensor] = {}
            wanted = layers if context == () else ()
            logits = last_logits(model, tokens, wanted, captured)
            if group.options:
                next_log_probs[context] = (
                    logits.float().log_softmax(-1)[:, tree.next_tokens(context)].cpu()
                )
            for column, layer in enumerate(wanted):
                resid[list(batch), column] = captured[layer]
        if group.options:
            log_probs[list(batch)] = tree.log_probs(next_log_probs)

    each_batch(group.tokens, run, tokens_per_batch=tokens_per_batch, desc=desc)
    return Reading(log_probs, resid)


def last_logits(
    model: TransformerBridge,
    tokens: Sequence[Sequence[int]],
    layers: Sequence[int] = (),
    captured: dict[int, Tensor] | None = None,
) -> Float[Tensor, "batch vocab"]:
    """Run one padded batch, unembed its last position, and keep that position of ``layers``."""
    ids, mask = pad_left(tokens, input_device(model))
    store = {} if captured is None else captured
    hooks = [(resid_post(layer), partial(_keep_last, store, layer)) for layer in layers]
    with model.hooks(fwd_hooks=hooks):
        return forward(model, ids, mask, logits_to_keep=1)[:, -1]


def forward(
    model: TransformerBridge,
    ids: Int[Tensor, "batch pos"],
    mask: Int[Tensor, "batch pos"],
    **options: Any,
) -> Float[Tensor, "batch kept vocab"]:
    """Run token ids with their attention mask (never strings: those double the BOS token)."""
    logits: Tensor = model.forward(ids, attention_mask=mask, return_type="logits", **options)
    return logits


def resid_post(layer: int) -> str:
    """Name the hook point of the residual stream after ``layer``."""
    return f"blocks.{layer}.hook_resid_post"


def check_layers(model: TransformerBridge, layers: Sequence[int]) -> None:
    """Refuse layers that the model does not have."""
    n_layers = int(model.cfg.n_layers)
    for layer in layers:
        if not 0 <= layer < n_layers:
            raise EntangleError(
                f"layer {layer} is out of range: the model has layers 0 to {n_layers - 1}"
            )


def input_device(model: TransformerBridge) -> torch.device:
    """Return the device that token ids go to."""
    return next(model.original_model.parameters()).device


def _keep_last(store: dict[int, Tensor], layer: int, resid: Tensor, hook: Any) -> None:
    store[layer] = resid[:, -1].float().cpu()
