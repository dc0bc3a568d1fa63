"""Many one-layer ablations of the same prompts: each resumes from the clean residual there.

The clean pass over a batch is made once. An edit at layer l changes nothing below it, so it starts
from the clean residual after l, and edits at the same layer run together as one larger batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from entangle_lens.errors import EntangleError
from entangle_lens.running import bridge
from entangle_lens.running.batches import TOKENS_PER_BATCH, each_batch, padded
from entangle_lens.running.decoder import Decoder, Pass, Wanted, decoder_of, run_body
from entangle_lens.running.edits import Ablation
from entangle_lens.running.forward import read_prompts
from entangle_lens.running.options import OptionTree, Path
from entangle_lens.running.prefix import repeated, shared_length
from entangle_lens.running.prompts import PromptGroup


@torch.inference_mode()
def read_ablated(
    model: TransformerBridge,
    group: PromptGroup,
    ablations: Sequence[Ablation],
    *,
    desc: str | None = None,
) -> Float[Tensor, "ablation prompt option"]:
    """Return option log-probabilities under each of many ablations, each at one layer.

    Same numbers as one ablation at a time.

    Raises:
        EntangleError: a layer out of range, or an ablation at several layers.
    """
    for each in ablations:
        if len(each.layers) != 1:
            raise EntangleError(f"a sweep resumes at one layer each; got layers {each.layers}")
        bridge.check_layers(model, each.layers)
    decoder = decoder_of(model)
    if decoder is None:
        each_alone = [read_prompts(model, group, edits=[each], desc=desc) for each in ablations]
        return torch.stack([reading.log_probs for reading in each_alone])
    tree = OptionTree(group.options)
    out = torch.zeros(len(ablations), len(group.tokens), len(group.options))
    sweep = _Sweep.of(decoder, group.tokens, ablations)

    def run(batch: list[int]) -> None:
        next_log_probs: dict[Path, Tensor] = {}
        for context in tree.contexts:
            tokens = [(*group.tokens[index], *context) for index in batch]
            next_log_probs[context] = sweep.log_probs(tokens, tree.next_tokens(context))
        for row in range(len(ablations)):
            chosen = {context: log_probs[row] for context, log_probs in next_log_probs.items()}
            out[row, batch] = tree.log_probs(chosen)

    each_batch(group.tokens, run, tokens_per_batch=TOKENS_PER_BATCH // 4, desc=desc)
    return out


@dataclass(frozen=True)
class _Sweep:
    """Everything that all batches of a sweep share: the beginning of the prompts, run clean."""

    decoder: Decoder
    shared: Sequence[int]
    start: Pass | None
    cache: Any
    by_layer: Mapping[int, list[int]]
    ablations: Sequence[Ablation]

    @classmethod
    def of(
        cls,
        decoder: Decoder,
        tokens: Sequence[Sequence[int]],
        ablations: Sequence[Ablation],
    ) -> _Sweep:
        by_layer: dict[int, list[int]] = {}
        for row, each in enumerate(ablations):
            by_layer.setdefault(each.layers[0], []).append(row)
        shared = tokens[0][: shared_length(tokens)]
        if not shared:
            return cls(decoder, (), None, None, by_layer, ablations)
        cache = decoder.cache()
        ids = torch.tensor([shared], device=decoder.device)
        start = run_body(decoder, ids, cache, wanted=Wanted(list(by_layer), record=True))
        return cls(decoder, shared, start, cache, by_layer, ablations)

    def log_probs(
        self, tokens: Sequence[Sequence[int]], columns: list[int]
    ) -> Float[Tensor, "ablation batch next"]:
        """Run a batch clean, then resume it under every ablation; read the given columns."""
        own = [prompt[len(self.shared) :] for prompt in tokens]
        ids, mask = padded(own, left=False, device=self.decoder.device)
        cache = None if self.cache is None else repeated(self.cache, len(own))
        clean = run_body(self.decoder, ids, cache, wanted=Wanted(list(self.by_layer), record=True))
        out = torch.zeros(len(self.ablations), len(own), len(columns))
        at_once = max(1, TOKENS_PER_BATCH // ids.numel())
        for layer, rows in self.by_layer.items():
            for first in range(0, len(rows), at_once):
                chunk = rows[first : first + at_once]
                edits = [self.ablations[row] for row in chunk]
                hidden = self._resume(clean, layer, edits, mask.sum(1) - 1)
                log_probs = self.decoder.logits(hidden).float().log_softmax(-1)[:, columns].cpu()
                out[chunk] = rearrange(log_probs, "(copy b) n -> copy b n", copy=len(chunk))
        return out

    def _resume(
        self,
        clean: Pass,
        layer: int,
        edits: Sequence[Ablation],
        last: Int[Tensor, " batch"],
    ) -> Float[Tensor, "rows d_model"]:
        """Run the blocks above ``layer`` once for all ``edits``; return the normed last hidden."""
        n_copies, n_prompts = len(edits), len(last)
        cache = None
        if self.start is not None:
            cache = self.decoder.cache()
            beginning = _edited(self.start.resid[layer], edits)
            self._blocks(rearrange(beginning, "copy b pos d -> (copy b) pos d"), self.start, layer,
                         n_copies, cache)  # fmt: skip
            cache = repeated(cache, n_prompts)
        edited = rearrange(_edited(clean.resid[layer], edits), "copy b pos d -> (copy b) pos d")
        resid = self._blocks(edited, clean, layer, n_copies, cache)
        at_last = resid[torch.arange(len(resid), device=resid.device), last.repeat(n_copies)]
        return self.decoder.norm(at_last)

    def _blocks(
        self,
        resid: Float[Tensor, "rows pos d_model"],
        recorded: Pass,
        layer: int,
        n_copies: int,
        cache: Any,
    ) -> Float[Tensor, "rows pos d_model"]:
        batch = len(resid) // n_copies
        for number in range(layer + 1, len(self.decoder.blocks)):
            options = _tiled(recorded.calls[number], batch, n_copies)
            options["past_key_values"] = cache
            output = self.decoder.blocks[number](resid, **options)
            resid = output[0] if isinstance(output, tuple) else output
        return resid


def _edited(
    resid: Float[Tensor, "... d_model"], edits: Sequence[Ablation]
) -> Float[Tensor, "copy ... d_model"]:
    """Return ``resid`` once under each ablation, computed as one product."""
    wide = resid.to(torch.promote_types(resid.dtype, torch.float32))
    units = torch.stack([each.unit for each in edits]).to(wide)
    strengths = torch.tensor([each.strength for each in edits]).to(wide)
    along = einsum(wide, units, "... d_model, copy d_model -> copy ...")
    removed = einsum(along, strengths, units, "copy ..., copy, copy d_model -> copy ... d_model")
    return (wide - removed).to(resid.dtype)


def _tiled(value: Any, batch: int, n_copies: int) -> Any:
    """Repeat every tensor that has one row a prompt, wherever it stands in ``value``."""
    if isinstance(value, Tensor) and value.ndim and len(value) == batch and batch > 1:
        return value.repeat(n_copies, *[1] * (value.ndim - 1))
    if isinstance(value, dict):
        return {key: _tiled(each, batch, n_copies) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_tiled(each, batch, n_copies) for each in value)
    return value
