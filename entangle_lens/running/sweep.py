"""Many edits of the same prompts: each starts from the clean residual at its first layer.

The clean pass over a batch is made once. An edit changes nothing below the first layer it edits, so
its copy of the batch begins with the edited clean residual there, joins the copies that began
further down, and all of them go through the blocks above together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import DynamicCache

from entangle_lens.running import account, bridge
from entangle_lens.running.batches import check_prompts, each_batch, padded, progress
from entangle_lens.running.decoder import Decoder, decoder_of
from entangle_lens.running.edits import Ablation, Edit, PointEdit, sites_of
from entangle_lens.running.finite import check_finite
from entangle_lens.running.forward import batch_budget
from entangle_lens.running.options import OptionTree, Path
from entangle_lens.running.passes import Pass, Wanted, run_body
from entangle_lens.running.prefix import each_beginning, prefix_tree, repeated
from entangle_lens.running.prompts import PromptGroup
from entangle_lens.running.rows import Rows
from entangle_lens.running.scoring import option_log_probs, read_prompts


@torch.inference_mode()
def read_ablated(
    model: TransformerBridge,
    group: PromptGroup,
    edits: Sequence[Edit],
    *,
    renormalised: bool = False,
    tokens_per_batch: int | None = None,
    desc: str | None = None,
) -> Float[Tensor, "edit prompt option"]:
    """Return option log-probabilities under each of many edits.

    Same numbers as one edit at a time, and made in one sweep where an edit is the same at every
    position and applies after blocks; the others do run one at a time. With ``renormalised`` the
    options' probabilities add up to one: enough for a rating, and much less work where the
    vocabulary is large.

    Raises:
        EntangleError: a layer out of range, or an edit of no layer.
    """
    check_prompts(group.tokens)
    for each in edits:
        bridge.check_edit(model, each)
    decoder = decoder_of(model)
    if decoder is not None and decoder.shares_keys:
        decoder = None
    out = torch.zeros(len(edits), len(group.tokens), len(group.options))
    swept = [row for row, each in enumerate(edits) if _can_resume(each)] if decoder else []
    for row in sorted(set(range(len(edits))) - set(swept)):
        alone = read_prompts(model, group, edits=[edits[row]], desc=desc).log_probs
        out[row] = alone.log_softmax(-1) if renormalised else alone
    if decoder is None or not swept:
        return out
    tree = OptionTree(group.options)
    budget = tokens_per_batch or batch_budget(model)
    resumed = [each for row in swept if isinstance(each := edits[row], PointEdit)]
    out[swept] = _read(_Sweep(decoder, resumed, tree, renormalised, budget), group, desc)
    check_finite(model, *out)
    return out


def _can_resume(edit: Edit) -> bool:
    """Return whether a copy of a batch can begin from the clean residual after a block."""
    return isinstance(edit, PointEdit) and sites_of(edit) == ("resid_post",)


def _read(
    sweep: _Sweep, group: PromptGroup, desc: str | None
) -> Float[Tensor, "edit prompt option"]:
    contexts = sweep.tree.contexts
    out = torch.zeros(len(sweep.edits), len(group.tokens), len(group.options))
    account.asked(group.tokens, len(sweep.edits) * len(contexts))
    with progress(len(group.tokens), desc) as moved:
        for trail, prompts in each_beginning(prefix_tree(group.tokens), sweep.begin, _Trail()):

            def run(batch: list[int], trail: _Trail = trail) -> None:
                out[:, batch] = sweep.log_probs(
                    trail, [group.tokens[index][trail.length :] for index in batch]
                )
                moved(len(batch))

            each_batch(
                [len(prompt) - trail.length for prompt in group.tokens],
                run,
                # The clean residuals of every layer stay in memory.
                budget=max(1, sweep.budget // 2),
                among=prompts,
                same_length=len(contexts) > 1,
            )
    return out


@dataclass(frozen=True)
class _Trail:
    """Clean passes over the stretches of a beginning, one after the other, and their cache."""

    length: int = 0
    cache: DynamicCache | None = None
    passes: tuple[Pass, ...] = ()


@dataclass(frozen=True)
class _Sweep:
    """Everything that all batches of a sweep share."""

    decoder: Decoder
    edits: Sequence[PointEdit]
    tree: OptionTree
    renormalised: bool
    budget: int

    def begin(self, before: _Trail, shared: tuple[int, ...]) -> _Trail:
        """Run a shared stretch clean and record it."""
        cache = self.decoder.cache() if before.cache is None else repeated(before.cache)
        ids = torch.tensor([shared], device=self.decoder.device)
        last = torch.tensor([len(shared) - 1], device=ids.device)
        clean = run_body(self.decoder, ids, cache, wanted=self._recording(last))
        return _Trail(before.length + len(shared), cache, (*before.passes, clean))

    def log_probs(
        self, trail: _Trail, own: Sequence[Sequence[int]]
    ) -> Float[Tensor, "edit batch option"]:
        """Run a batch clean, then from there under every edit, and read the options."""
        contexts = self.tree.contexts
        ids, mask = padded(own, left=False, device=self.decoder.device)
        cache = self.decoder.cache()
        if trail.cache is not None:
            cache = repeated(trail.cache, len(own))
        used = cache if trail.passes or len(contexts) > 1 else None
        last = mask.sum(1) - 1
        clean = run_body(
            self.decoder, ids, used, wanted=self._recording(last), rows=Rows.of_prompts(mask)
        )
        after = {context: self._clean_after(context, cache, len(own)) for context in contexts[1:]}
        out = torch.zeros(len(self.edits), len(own), len(self.tree.options))
        order = sorted(range(len(self.edits)), key=lambda i: min(self.edits[i].layers))
        at_once = max(1, self.budget // ids.numel())
        for first in range(0, len(order), at_once):
            chunk = order[first : first + at_once]
            copies = _Copies(self.decoder, [self.edits[index] for index in chunk], len(own))
            steps = self._read(copies, trail, clean, after, last)
            log_probs = self.tree.log_probs(steps, renormalised=self.renormalised)
            out[chunk] = rearrange(log_probs, "(copy b) n -> copy b n", copy=len(chunk))
        return out

    def _read(
        self,
        copies: _Copies,
        trail: _Trail,
        clean: Pass,
        after: dict[Path, Pass],
        last: Int[Tensor, " batch"],
    ) -> dict[Path, Tensor]:
        cache = self.decoder.cache()
        for each in trail.passes:
            n_tokens = next(iter(each.kept.values())).shape[1]
            copies.climb(each, torch.tensor([n_tokens - 1], device=last.device), cache)
        if trail.passes:
            cache = repeated(cache, len(last))
        used = cache if trail.passes or after else None
        hidden: dict[Path, Tensor] = {(): copies.climb(clean, last, used)}
        for context, each in after.items():
            at_end = torch.full_like(last, len(context) - 1)
            hidden[context] = copies.climb(each, at_end, repeated(cache))
        return {
            context: option_log_probs(
                self.decoder,
                self.decoder.norm(resid),
                self.tree.next_tokens(context),
                # Only the first step of an option of several tokens has a common denominator.
                renormalised=self.renormalised and not context,
            )
            for context, resid in hidden.items()
        }

    def _clean_after(self, context: Path, cache: DynamicCache, n_prompts: int) -> Pass:
        ids = torch.tensor([context] * n_prompts, device=self.decoder.device)
        last = torch.full((n_prompts,), len(context) - 1, device=ids.device)
        return run_body(self.decoder, ids, repeated(cache), wanted=self._recording(last))

    def _recording(self, last: Int[Tensor, " batch"]) -> Wanted:
        # Nothing is resumed from what leaves the last block but what is read: one position.
        layers = sorted({min(each.layers) for each in self.edits})
        return Wanted(layers, record=True, last=last)


@dataclass(frozen=True)
class _Copies:
    """Copies of one batch, one per edit, the ones that begin lowest first."""

    decoder: Decoder
    edits: Sequence[PointEdit]
    n_prompts: int

    def climb(
        self, clean: Pass, last: Int[Tensor, " batch"], cache: DynamicCache | None
    ) -> Float[Tensor, "rows d_model"]:
        """Take every copy from where it begins to the end; return its residual at ``last``.

        Keys and values go to ``cache``, block by block, for the copies that have begun there.
        """
        batch, n_blocks = len(last), len(self.decoder.blocks)
        n_tokens = int(last.sum()) + batch  # padding left out
        starts = [min(each.layers) for each in self.edits]
        resid = None
        for layer in range(starts[0], n_blocks):
            begun = sum(start < layer for start in starts)
            if resid is not None:
                at_last = last.repeat(begun) if layer == n_blocks - 1 else None
                resid = self._block(layer, clean, resid, begun, at_last, cache)
                resid = self._edit_again(layer, resid, begun)
                account.ran(begun * n_tokens, 1 / n_blocks)
            joining = [each for each in self.edits if min(each.layers) == layer]
            if joining:
                copies = _edited(clean.kept[layer], joining)
                new = rearrange(copies, "copy b pos d -> (copy b) pos d")
                resid = new if resid is None else torch.cat([resid, new])
        assert resid is not None
        rows = torch.arange(len(resid), device=resid.device)
        return resid[rows, last.repeat(len(resid) // batch)]

    def _block(
        self,
        layer: int,
        clean: Pass,
        resid: Float[Tensor, "rows pos d_model"],
        n_copies: int,
        at_last: Int[Tensor, " rows"] | None,
        cache: DynamicCache | None,
    ) -> Float[Tensor, "rows pos d_model"]:
        batch = len(resid) // n_copies
        call = clean.calls[layer]
        by_place = _tiled(call.by_place, batch, n_copies)
        by_name = _tiled(dict(call.by_name), batch, n_copies) | {"past_key_values": cache}
        with self.decoder.last_block_reads_only(at_last):
            output = self.decoder.blocks[layer](resid, *by_place, **by_name)
        return output[0] if isinstance(output, tuple) else output

    def _edit_again(
        self, layer: int, resid: Float[Tensor, "rows pos d_model"], n_copies: int
    ) -> Float[Tensor, "rows pos d_model"]:
        """Apply those that edit several layers at ``layer`` too."""
        if not any(layer in each.layers for each in self.edits[:n_copies]):
            return resid
        parts = resid.chunk(n_copies)
        return torch.cat(
            [
                each.edit(part) if layer in each.layers else part
                for each, part in zip(self.edits, parts, strict=False)
            ]
        )


def _edited(
    resid: Float[Tensor, "... d_model"], edits: Sequence[PointEdit]
) -> Float[Tensor, "copy ... d_model"]:
    """Return ``resid`` once under each edit; ablations are computed as one product."""
    ablations = [each for each in edits if isinstance(each, Ablation)]
    if len(ablations) < len(edits):
        return torch.stack([each.edit(resid) for each in edits])
    wide = resid.to(torch.promote_types(resid.dtype, torch.float32))
    units = torch.stack([each.unit for each in ablations]).to(wide)
    strengths = torch.tensor([each.strength for each in ablations]).to(wide)
    along = einsum(wide, units, "... d_model, copy d_model -> copy ...")
    removed = einsum(along, strengths, units, "copy ..., copy, copy d_model -> copy ... d_model")
    return (wide - removed).to(resid.dtype)


def _tiled(value: Any, batch: int, n_copies: int) -> Any:
    """Repeat every tensor that has one row per prompt, wherever it stands in ``value``."""
    if isinstance(value, Tensor) and value.ndim and len(value) == batch and batch > 1:
        return value.repeat(n_copies, *[1] * (value.ndim - 1))
    if isinstance(value, dict):
        return {key: _tiled(each, batch, n_copies) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_tiled(each, batch, n_copies) for each in value)
    return value
