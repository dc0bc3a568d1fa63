"""Many one-layer ablations of the same prompts: each resumes from the clean residual there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel

from entangle_lens.errors import EntangleError
from entangle_lens.running.batches import TOKENS_PER_BATCH, each_batch, pad_left
from entangle_lens.running.forward import check_layers, forward, input_device, resid_post
from entangle_lens.running.options import OptionTree, Path
from entangle_lens.running.prompts import PromptGroup

_SAME_LOG_PROB = {torch.float32: 1e-3}
_SAME_LOG_PROB_HALF = 0.25


@torch.inference_mode()
def read_ablated(
    model: TransformerBridge,
    group: PromptGroup,
    layer: int,
    units: Float[Tensor, "edit d_model"],
    *,
    desc: str | None = None,
) -> Float[Tensor, "edit prompt option"]:
    """Return option log-probabilities under each of many directional ablations at one layer.

    Edit k removes the unit vector ``units[k]`` from ``resid_post`` of ``layer`` at every
    position. The layers up to ``layer`` run once for all edits and the edits run as one batch:
    the same numbers as one intervention at a time. The model itself must be clean.

    Raises:
        EntangleError: an architecture whose later layers cannot be resumed on their own; this
            is checked on every batch against the whole model, so it is never silently wrong.
    """
    check_layers(model, [layer])
    tree = OptionTree(group.options)
    out = torch.zeros(len(units), len(group.tokens), len(group.options))

    def run(batch: Sequence[int]) -> None:
        next_log_probs: dict[Path, Tensor] = {}
        for context in tree.contexts:
            tokens = [(*group.tokens[index], *context) for index in batch]
            next_log_probs[context] = _ablated_log_probs(
                model, tokens, layer, units, tree.next_tokens(context)
            )
        for edit in range(len(units)):
            chosen = {context: log_probs[edit] for context, log_probs in next_log_probs.items()}
            out[edit, list(batch)] = tree.log_probs(chosen)

    each_batch(group.tokens, run, tokens_per_batch=TOKENS_PER_BATCH // 4, desc=desc)
    return out


def _ablated_log_probs(
    model: TransformerBridge,
    tokens: Sequence[Sequence[int]],
    layer: int,
    units: Float[Tensor, "edit d_model"],
    columns: list[int],
) -> Float[Tensor, "edit batch next"]:
    clean, start = _record(model, tokens, layer)
    resid = start.resid.float()
    resumed = _log_probs(start.finish(start.resid), columns)
    tolerance = _SAME_LOG_PROB.get(start.resid.dtype, _SAME_LOG_PROB_HALF)
    if not torch.allclose(resumed, _log_probs(clean, columns), atol=tolerance, rtol=0):
        raise EntangleError(
            f"the layers of {model.cfg.architecture} cannot be resumed from layer {layer}: "
            "resuming without an edit changed the answer"
        )
    parts = []
    for chunk in units.split(max(1, TOKENS_PER_BATCH // resid[..., 0].numel())):
        chunk = chunk.to(resid)
        along = einsum(resid, chunk, "batch pos d_model, edit d_model -> edit batch pos")
        removed = einsum(along, chunk, "edit batch pos, edit d_model -> edit batch pos d_model")
        edited = (resid - removed).to(start.resid.dtype)
        logits = start.finish(rearrange(edited, "edit batch pos d -> (edit batch) pos d"))
        log_probs = _log_probs(logits, columns)
        parts.append(rearrange(log_probs, "(edit batch) next -> edit batch next", edit=len(chunk)))
    return torch.cat(parts)


@dataclass(frozen=True)
class _Resumable:
    """A clean pass stopped after one layer: its residual, and how the later blocks were called."""

    model: TransformerBridge
    resid: Float[Tensor, "batch pos d_model"]
    calls: tuple[tuple[nn.Module, dict[str, Any]], ...]

    def finish(self, resid: Float[Tensor, "rows pos d_model"]) -> Float[Tensor, "rows vocab"]:
        """Run the later blocks on ``resid``, a multiple of the batch; unembed the last token."""
        n_copies = len(resid) // len(self.resid)
        for block, options in self.calls:
            out = block(resid, **_tile(options, len(self.resid), n_copies))
            resid = out[0] if isinstance(out, tuple) else out
        logits = self.model.unembed(self.model.ln_final(resid[:, -1:]))[:, -1]
        config = cast(PreTrainedModel, self.model.original_model).config.get_text_config()
        cap = getattr(config, "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)


def _record(
    model: TransformerBridge, tokens: Sequence[Sequence[int]], layer: int
) -> tuple[Float[Tensor, "batch vocab"], _Resumable]:
    """Run a batch clean, keeping the residual after ``layer`` and the later blocks' arguments."""
    ids, mask = pad_left(tokens, input_device(model))
    kept: list[Tensor] = []
    calls: list[tuple[nn.Module, dict[str, Any]]] = []

    def keep_call(block: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        calls.append((block, {k: v for k, v in options.items() if k != "hidden_states"}))

    later = list(model.blocks)[layer + 1 :]
    handles = [block.register_forward_pre_hook(keep_call, with_kwargs=True) for block in later]
    try:
        with model.hooks(fwd_hooks=[(resid_post(layer), lambda resid, hook: kept.append(resid))]):
            logits = forward(model, ids, mask, logits_to_keep=1, use_cache=False)[:, -1]
    finally:
        for handle in handles:
            handle.remove()
    return logits, _Resumable(model, kept[0], tuple(calls))


def _log_probs(logits: Float[Tensor, "rows vocab"], columns: list[int]) -> Tensor:
    return logits.float().log_softmax(-1)[:, columns].cpu()


def _tile(value: Any, batch: int, n_copies: int) -> Any:
    """Repeat every tensor that has one row a prompt, wherever it stands in ``value``."""
    if isinstance(value, Tensor) and value.ndim and len(value) == batch and batch > 1:
        return repeat(value, "batch ... -> (copies batch) ...", copies=n_copies)
    if isinstance(value, dict):
        return {key: _tile(each, batch, n_copies) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_tile(each, batch, n_copies) for each in value)
    return value
