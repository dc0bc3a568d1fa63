"""The bare decoder behind a bridge, for passes that need none of the bridge's hook points.

It is a second tree of modules over the same parameters: no copy of any weight, and none of the
bridge's per-module hooks, which cost a fifth of the time on small models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import DynamicCache, PreTrainedModel

from entangle_lens.errors import EntangleError
from entangle_lens.models import info
from entangle_lens.running.edits import Edit

_HEAD_TOLERANCE = 1e-3
_ATTENTION_KINDS = {"full_attention", "sliding_attention"}


@dataclass(frozen=True)
class Decoder:
    """A causal language model taken apart: body (embedding, blocks, final norm) and head."""

    body: nn.Module
    blocks: tuple[nn.Module, ...]
    norm: nn.Module
    head: nn.Module
    soft_cap: float | None
    config: Any

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        return next(self.body.parameters()).device

    def logits(self, hidden: Float[Tensor, "... d_model"]) -> Float[Tensor, "... vocab"]:
        """Unembed hidden states that have passed the final norm."""
        logits = self.head(hidden)
        return logits if self.soft_cap is None else self.soft_cap * (logits / self.soft_cap).tanh()

    def cache(self) -> DynamicCache:
        """Return an empty cache of keys and values, right for sliding and hybrid layers."""
        return DynamicCache(config=self.config)


def decoder_of(model: TransformerBridge) -> Decoder | None:
    """Return the bare decoder behind ``model``; None where only the bridge itself is right.

    That is so while hooks are on the bridge, when its weights were replaced, and for models
    that were not loaded by this package.
    """
    plain = info(model).plain
    if plain is None or any(point.fwd_hooks for point in model.hook_points()):
        return None
    own = {id(parameter) for parameter in model.original_model.parameters()}
    if own != {id(parameter) for parameter in plain.parameters()}:
        return None
    return _take_apart(plain)


def _take_apart(plain: PreTrainedModel) -> Decoder | None:
    body = plain.get_decoder()
    head = plain.get_output_embeddings()
    blocks = getattr(body, "layers", None)
    kinds = set(getattr(plain.config.get_text_config(), "layer_types", None) or ())
    if not kinds <= _ATTENTION_KINDS:
        return None
    norm = getattr(body, "norm", None)
    if head is None or blocks is None or norm is None:
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
    """Check once a model that body and head together give the whole model's logits."""
    known = getattr(plain, "_entangle_head_agrees", None)
    if known is None:
        ids = torch.tensor([[1, 2, 3]], device=decoder.device)
        whole = plain(input_ids=ids, use_cache=False).logits
        parts = decoder.logits(decoder.body(input_ids=ids, use_cache=False).last_hidden_state)
        known = bool(torch.allclose(whole.float(), parts.float(), atol=_HEAD_TOLERANCE, rtol=1e-3))
        plain._entangle_head_agrees = known  # type: ignore[assignment]
    return bool(known)


@dataclass(frozen=True)
class Pass:
    """What one pass of the body left behind.

    ``hidden`` has passed the final norm. ``resid`` holds the residual stream after the layers that
    were asked for, ``calls`` how each block was called (without its input), where recorded.
    """

    hidden: Float[Tensor, "batch pos d_model"] | None
    resid: Mapping[int, Float[Tensor, "batch ... d_model"]]
    calls: Mapping[int, dict[str, Any]]


@dataclass(frozen=True)
class Wanted:
    """What a pass should keep: residuals after ``layers`` (at ``rows_last`` only, if given).

    ``record`` keeps the blocks' arguments too. ``only_residuals`` stops after the last layer
    asked for, since nothing above it is needed.
    """

    layers: Sequence[int] = ()
    last: Int[Tensor, " batch"] | None = None
    record: bool = False
    only_residuals: bool = False


class _ForwardStopped(Exception):  # noqa: N818 - a signal, no error
    pass


def run_body(
    decoder: Decoder,
    ids: Int[Tensor, "batch pos"],
    cache: DynamicCache | None = None,
    edits: Sequence[Edit] = (),
    wanted: Wanted = Wanted(),
) -> Pass:
    """Run token ids through the body, after the keys and values in ``cache`` if there are any.

    Prompts are padded on the right: a causal model never looks there, so no mask is needed and
    positions count from the cache on.
    """
    watcher = _Watcher(decoder, edits, wanted)
    handles = watcher.attach()
    hidden = None
    try:
        output = decoder.body(input_ids=ids, past_key_values=cache, use_cache=cache is not None)
        hidden = output.last_hidden_state
    except _ForwardStopped:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if edits and not watcher.edited:
        raise EntangleError("an intervention never fired: its layers were not run")
    return Pass(hidden, watcher.resid, watcher.calls)


@dataclass
class _Watcher:
    """Hooks on the blocks that edit, keep and record, then are taken off again."""

    decoder: Decoder
    edits: Sequence[Edit]
    wanted: Wanted
    resid: dict[int, Tensor] = field(default_factory=dict)
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    edited: bool = False

    def attach(self) -> list[Any]:
        handles = []
        touched = {layer for edit in self.edits for layer in edit.layers} | set(self.wanted.layers)
        for layer, block in enumerate(self.decoder.blocks):
            if self.wanted.record:
                handles.append(
                    block.register_forward_pre_hook(self._recorder(layer), with_kwargs=True)
                )
            if layer in touched:
                handles.append(block.register_forward_hook(self._after(layer)))
        return handles

    def _recorder(self, layer: int) -> Any:
        def record(block: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
            self.calls[layer] = {k: v for k, v in options.items() if k != "hidden_states"}

        return record

    def _after(self, layer: int) -> Any:
        editing = [edit for edit in self.edits if layer in edit.layers]
        stop = self.wanted.only_residuals and layer == max(self.wanted.layers, default=-1)

        def after(block: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            resid = output[0] if isinstance(output, tuple) else output
            for edit in editing:
                resid = edit.edit(resid)
                self.edited = True
            if layer in self.wanted.layers:
                last = self.wanted.last
                self.resid[layer] = resid if last is None else resid[torch.arange(len(last)), last]
            if stop:
                raise _ForwardStopped
            return (resid, *output[1:]) if isinstance(output, tuple) else resid

        return after
