"""The bare decoder behind a bridge, for passes that need none of the bridge's hook points.

It is a second tree of modules over the same parameters: no copy of any weight, and none of the
bridge's per-module hooks, which cost a fifth of the time on small models.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import DynamicCache, PreTrainedModel

from entangle_lens.models import info
from entangle_lens.running.sites import STREAM_SITES, agrees

_HEAD_TOLERANCE = 1e-3
_ATTENTION_KINDS = {"full_attention", "sliding_attention"}


@dataclass(frozen=True)
class Decoder:
    """A causal language model taken apart: body (embedding, blocks, final norm) and head."""

    body: nn.Module
    blocks: tuple[nn.Module, ...]
    norm: nn.Module
    head: nn.Linear
    soft_cap: float | None
    config: Any

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        return next(self.body.parameters()).device

    def logits(
        self, hidden: Float[Tensor, "... d_model"], columns: list[int] | slice = slice(None)
    ) -> Float[Tensor, "... vocab"]:
        """Unembed hidden states that have passed the final norm, on some rows of the head only."""
        bias = None if self.head.bias is None else self.head.bias[columns]
        logits = nn.functional.linear(hidden, self.head.weight[columns], bias)
        return logits if self.soft_cap is None else self.soft_cap * (logits / self.soft_cap).tanh()

    @property
    def shares_keys(self) -> bool:
        """Whether some blocks read keys and values of lower ones, as in Gemma 4 E2B.

        A pass cannot be resumed in the middle of such blocks.
        """
        return bool(getattr(self.config.get_text_config(), "num_kv_shared_layers", None))

    def cache(self) -> DynamicCache:
        """Return an empty cache of keys and values, right for sliding and hybrid layers."""
        return DynamicCache(config=self.config)

    @contextmanager
    def last_block_reads_only(self, last: Int[Tensor, " batch"] | None) -> Iterator[None]:
        """Let the last block attend and feed forward at position ``last`` of each row only.

        Its keys and values are still made everywhere. What it returns is right at ``last`` and
        meaningless elsewhere: there the two outputs, of one position each, are added to every
        position. None, and blocks of another make, change nothing.
        """
        attention = getattr(self.blocks[-1], "self_attn", None)
        inner = [getattr(attention, "o_proj", None), getattr(self.blocks[-1], "mlp", None)]
        modules = [each for each in inner if isinstance(each, nn.Module)]
        handles = []
        if last is not None and len(modules) == len(inner):
            slice_input = partial(_slice_input, last)
            handles = [each.register_forward_pre_hook(slice_input) for each in modules]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _slice_input(
    last: Int[Tensor, " batch"], module: nn.Module, args: tuple[Any, ...]
) -> tuple[Any, ...]:
    rows = torch.arange(len(last), device=last.device)
    return (args[0][rows, last][:, None], *args[1:])


def decoder_of(model: TransformerBridge, sites: Collection[str] = ()) -> Decoder | None:
    """Return the bare decoder behind ``model``; None where only the bridge itself is right.

    That is so while hooks are on the bridge, when its weights were replaced, for models that
    were not loaded by this package, and where one of ``sites`` is not found in the blocks, or is
    found to hold something else than the bridge shows there.
    """
    plain = plain_behind(model)
    decoder = None if plain is None else _take_apart(plain)
    if (
        plain is None
        or decoder is None
        or not all(_site_agrees(model, plain, decoder, site) for site in sites)
    ):
        return None
    return decoder


def plain_behind(model: TransformerBridge) -> PreTrainedModel | None:
    """Return the plain model that gives the numbers of ``model`` as it is now, if there is one."""
    plain = info(model).plain
    if plain is None or any(point.fwd_hooks for point in model.hook_points()):
        return None
    own = {id(parameter) for parameter in model.original_model.parameters()}
    return plain if own == {id(parameter) for parameter in plain.parameters()} else None


def _take_apart(plain: PreTrainedModel) -> Decoder | None:
    body = plain.get_decoder()
    head = plain.get_output_embeddings()
    blocks = getattr(body, "layers", None)
    kinds = set(getattr(plain.config.get_text_config(), "layer_types", None) or ())
    if not kinds <= _ATTENTION_KINDS:
        return None
    norm = getattr(body, "norm", None)
    if not isinstance(head, nn.Linear) or blocks is None or norm is None:
        return None
    cap = getattr(plain.config.get_text_config(), "final_logit_softcapping", None)
    decoder = Decoder(body, tuple(blocks), norm, head, cap, plain.config)
    _follow_device(decoder)
    return decoder if _head_agrees(plain, decoder) else None


def _follow_device(decoder: Decoder) -> None:
    """Move buffers to where the (shared) parameters have been moved."""
    if any(buffer.device != decoder.device for buffer in decoder.body.buffers()):
        decoder.body.to(decoder.device)


@torch.inference_mode()
def _head_agrees(plain: PreTrainedModel, decoder: Decoder) -> bool:
    """Check once a model that body, head and a cut last block give the whole model's logits."""
    known = getattr(plain, "_entangle_head_agrees", None)
    if known is None:
        ids = torch.tensor([[1, 2, 3], [3, 2, 1]], device=decoder.device)
        last = torch.tensor([2, 1], device=decoder.device)
        rows = torch.arange(2, device=decoder.device)
        whole = plain(input_ids=ids, use_cache=False).logits[rows, last]
        with decoder.last_block_reads_only(last):
            hidden = decoder.body(input_ids=ids, use_cache=False).last_hidden_state
        parts = decoder.logits(hidden[rows, last])
        known = bool(torch.allclose(whole.float(), parts.float(), atol=_HEAD_TOLERANCE, rtol=1e-3))
        plain._entangle_head_agrees = known  # type: ignore[assignment]
    return bool(known)


def _site_agrees(
    model: TransformerBridge, plain: PreTrainedModel, decoder: Decoder, site: str
) -> bool:
    """Check once a model that ``site`` holds in every block what the bridge shows there."""
    known: dict[str, bool] = plain.__dict__.setdefault("_entangle_sites_agree", {})
    if site not in known:
        known[site] = site in STREAM_SITES or agrees(model, decoder.body, decoder.blocks, site)
    return known[site]
