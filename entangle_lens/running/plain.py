"""The plain, slow ways of running a model that the fast ones are checked against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel

from entangle_lens.running.bridge import forward, input_device, resid_post
from entangle_lens.running.options import OptionTree
from entangle_lens.running.prompts import PromptGroup
from entangle_lens.running.scoring import Reading

Edit = Callable[[Tensor], Tensor]


@torch.inference_mode()
def read_plainly(
    hf_model: PreTrainedModel,
    group: PromptGroup,
    layers: Sequence[int],
    edit: tuple[int, Edit] | None = None,
    *,
    blocks: Sequence[nn.Module] | None = None,
) -> Reading:
    """Run an unwrapped transformers model, one prompt at a time, with ordinary torch hooks.

    ``edit`` is a layer and what to do with the residual stream after it. ``blocks`` are the
    model's own, as :func:`blocks_of` finds them; by default its decoder's ``layers``.
    """
    blocks = hf_model.get_decoder().layers if blocks is None else blocks
    tree = OptionTree(group.options)
    device = next(hf_model.parameters()).device
    resid, log_probs = [], []
    for prompt in group.tokens:
        captured: dict[int, Tensor] = {}
        next_log_probs = {}
        for context in tree.contexts:
            handles = [] if edit is None else [_hook(blocks[edit[0]], partial(_edited, edit[1]))]
            if context == ():
                handles += [
                    _hook(blocks[layer], partial(_stored, captured, layer)) for layer in layers
                ]
            try:
                ids = torch.tensor([[*prompt, *context]], device=device)
                logits = hf_model(input_ids=ids, use_cache=False).logits[:, -1]
            finally:
                for handle in handles:
                    handle.remove()
            log_p = logits.float().log_softmax(-1)
            next_log_probs[context] = log_p[:, tree.next_tokens(context)].cpu()
        log_probs.append(tree.log_probs(next_log_probs)[0])
        resid.append(torch.stack([captured[layer] for layer in layers]))
    return Reading(torch.stack(log_probs), torch.stack(resid))


def blocks_of(model: TransformerBridge, hf_model: PreTrainedModel) -> list[nn.Module]:
    """Return the decoder blocks of a plain model, from where TransformerLens has them in ``model``.

    They have another place and name in most families.
    """
    path = model.adapter.get_component_mapping()["blocks"].name
    return list(cast(nn.ModuleList, hf_model.get_submodule(str(path))))


@torch.inference_mode()
def read_right_padded(
    model: TransformerBridge, group: PromptGroup, layers: Sequence[int]
) -> Reading:
    """Run all prompts as one batch padded on the right; options must be single tokens."""
    longest = max(map(len, group.tokens))
    last = torch.tensor([len(prompt) - 1 for prompt in group.tokens])
    ids = torch.zeros(len(group.tokens), longest, dtype=torch.long)
    for row, prompt in enumerate(group.tokens):
        ids[row, : len(prompt)] = torch.tensor(prompt)
    mask = (torch.arange(longest) <= last[:, None]).long()
    captured: dict[int, Tensor] = {}
    rows = torch.arange(len(last))

    def keep(layer: int, resid: Tensor, hook: Any) -> None:
        captured[layer] = resid[rows, last].float().cpu()

    device = input_device(model)
    hooks = [(resid_post(layer), partial(keep, layer)) for layer in layers]
    with model.hooks(fwd_hooks=hooks):
        logits = forward(model, ids.to(device), mask.to(device))[rows, last]
    columns = [option[0] for option in group.options]
    log_probs = logits.float().log_softmax(-1)[:, columns].cpu()
    return Reading(log_probs, torch.stack([captured[layer] for layer in layers], dim=1))


def one_by_one(group: PromptGroup) -> list[PromptGroup]:
    """Split a group into groups of one prompt."""
    return [PromptGroup((prompt,), group.options) for prompt in group.tokens]


def _hook(block: nn.Module, change: Callable[[Tensor], Tensor | None]) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        resid = output[0] if isinstance(output, tuple) else output
        changed = change(resid)
        if changed is None:
            return None
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return block.register_forward_hook(hook)


def _edited(edit: Edit, resid: Float[Tensor, "1 pos d_model"]) -> Float[Tensor, "1 pos d_model"]:
    return edit(resid)


def _stored(captured: dict[int, Tensor], layer: int, resid: Tensor) -> None:
    captured[layer] = resid[0, -1].float().cpu()
