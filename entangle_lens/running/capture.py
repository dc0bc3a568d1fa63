"""Activations at any hook point, layers and tokens, whole or summed into moments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from entangle_lens.errors import EntangleError
from entangle_lens.running import account, bridge
from entangle_lens.running.batches import padded
from entangle_lens.running.decoder import Decoder
from entangle_lens.running.edits import Edit
from entangle_lens.running.forward import Beginning, Runner, batch_budget
from entangle_lens.running.moments import Moments, RunningMoments
from entangle_lens.running.passes import Keep, Wanted, run_body
from entangle_lens.running.positions import LAST, Span, mean_over, read_spans
from entangle_lens.running.prefix import repeated
from entangle_lens.running.prompts import PromptGroup
from entangle_lens.running.rows import Rows
from entangle_lens.running.sites import hook_name

Take = Callable[[list[int], list[Tensor]], None]


@dataclass(frozen=True)
class _Where:
    """What is captured: a hook point, layers, and the rule that says at which tokens."""

    site: str
    layers: tuple[int, ...]
    position: str

    @classmethod
    def of(
        cls, model: TransformerBridge, site: str, layers: Sequence[int] | None, position: str
    ) -> _Where:
        chosen = tuple(range(int(model.cfg.n_layers)) if layers is None else layers)
        bridge.check_layers(model, chosen)
        if not chosen:
            raise EntangleError("no layer was given; name one at least")
        bridge.check_hooks(model, [hook_name(site, layer) for layer in chosen])
        return cls(site, chosen, position)

    @property
    def only_last(self) -> bool:
        """Whether nothing inside the last block is read but what leaves it at the last token."""
        return self.position == LAST and self.site in ("resid_pre", "resid_post")

    def keep(self, spans: Sequence[Span], start: int) -> Keep:
        """Return what a hook keeps of a batch whose first token stands at ``start``."""
        if self.position == "all":
            return lambda activation: activation
        return partial(mean_over, spans=spans, start=start)


@dataclass(frozen=True, eq=False)
class Activations:
    """Activations at ``site`` of ``layers``, in float32 on the CPU.

    One row a prompt, in the order of the prompts; with position ``all`` one row a token.
    ``prompt`` says which prompt each row belongs to.
    """

    values: Float[Tensor, "row layer d"]
    site: str
    layers: tuple[int, ...]
    position: str
    prompt: Int[Tensor, " row"]


@torch.inference_mode()
def capture(
    model: TransformerBridge,
    group: PromptGroup,
    *,
    site: str = "resid_post",
    layers: Sequence[int] | None = None,
    position: str = LAST,
    edits: Sequence[Edit] = (),
    tokens_per_batch: int | None = None,
    desc: str | None = None,
) -> Activations:
    """Return the activations of every prompt, at all layers unless some are named.

    ``site`` is ``resid_pre``, ``resid_mid``, ``resid_post``, ``attn_out``, ``mlp_out`` or
    ``mlp_pre`` (the MLP's gate before its activation), as TransformerLens names its hook points.
    ``position`` is ``last`` (the last prompt token), ``item_last``, ``item_mean`` or ``all``.
    Layers above the last one asked for are not run. Same numbers as one prompt at a time.

    Raises:
        EntangleError: an unknown site or position, a site that this family has not, a layer out of
            range, an item that is not found, no prompt.
    """
    where = _Where.of(model, site, layers, position)
    rows: dict[int, Tensor] = {}

    def take(batch: list[int], activations: list[Tensor]) -> None:
        together = torch.cat(activations).float().cpu()
        rows.update(zip(batch, together.split([len(each) for each in activations]), strict=True))

    _each_activation(model, group, where, edits, take, tokens_per_batch, desc)
    values = [rows[index] for index in range(len(group.tokens))]
    prompt = torch.repeat_interleave(
        torch.arange(len(values)), torch.tensor([len(each) for each in values])
    )
    return Activations(torch.cat(values), site, where.layers, position, prompt)


@torch.inference_mode()
def capture_moments(
    model: TransformerBridge,
    group: PromptGroup,
    *,
    site: str = "resid_post",
    layers: Sequence[int] | None = None,
    position: str = LAST,
    covariance: bool = True,
    edits: Sequence[Edit] = (),
    tokens_per_batch: int | None = None,
    desc: str | None = None,
) -> Moments:
    """Return count, mean and covariance of what :func:`capture` would return, and keep no more.

    Memory does not grow with the number of prompts. Sums are made in float64 on the model's
    device. Without ``covariance`` only the mean is kept.
    """
    where = _Where.of(model, site, layers, position)
    running = RunningMoments(covariance=covariance)

    def take(batch: list[int], activations: list[Tensor]) -> None:
        running.add(torch.cat(activations))

    _each_activation(model, group, where, edits, take, tokens_per_batch, desc)
    return running.result()


def _each_activation(
    model: TransformerBridge,
    group: PromptGroup,
    where: _Where,
    edits: Sequence[Edit],
    take: Take,
    tokens_per_batch: int | None,
    desc: str | None,
) -> None:
    """Call ``take`` with a batch of prompts and, for each, its rows [row layer d]."""
    if not group.tokens:
        raise EntangleError("no prompt was given; nothing can be captured")
    spans = read_spans(group, where.position)
    in_beginnings = Wanted(() if where.position == LAST else where.layers, where.site)
    runner = Runner(model, edits, in_beginnings, stop_after=max(where.layers))
    budget = tokens_per_batch or batch_budget(model)
    if where.position == "all" and tokens_per_batch is None:
        budget = max(1, budget // len(where.layers))

    def run(decoder: Decoder | None, start: Beginning, batch: list[int]) -> None:
        prompts = [group.tokens[index] for index in batch]
        read = [spans[index] for index in batch]
        if decoder is None:
            own = _through_bridge(model, prompts, read, where, edits)
        else:
            own = _continue(decoder, start, prompts, read, where, edits)
        take(batch, _joined(start, own, prompts, read, where))

    account.asked(group.tokens)
    runner.each_batch(group.tokens, run, tokens_per_batch=budget, desc=desc)


def _continue(
    decoder: Decoder,
    start: Beginning,
    prompts: Sequence[Sequence[int]],
    spans: Sequence[Span],
    where: _Where,
    edits: Sequence[Edit],
) -> Float[Tensor, "batch layer ..."]:
    """Run what prompts have of their own; keep its part of what is read, or all of it."""
    own = [prompt[start.length :] for prompt in prompts]
    ids, mask = padded(own, left=False, device=decoder.device)
    cache = None if start.cache is None else repeated(start.cache, len(own))
    wanted = Wanted(
        where.layers,
        where.site,
        where.keep(spans, start.length),
        last=mask.sum(1) - 1 if where.only_last else None,
        stop_after=max(where.layers),
    )
    kept = run_body(decoder, ids, cache, edits, wanted, Rows.of_prompts(mask)).kept
    return torch.stack([kept[layer] for layer in where.layers], 1)


def _through_bridge(
    model: TransformerBridge,
    prompts: Sequence[Sequence[int]],
    spans: Sequence[Span],
    where: _Where,
    edits: Sequence[Edit],
) -> Float[Tensor, "batch layer ..."]:
    ids, mask = padded(prompts, left=False, device=bridge.input_device(model))
    account.ran(int(mask.sum()))
    keep, kept = where.keep(spans, 0), {}

    def hook_fn(layer: int, activation: Tensor, hook: Any) -> None:
        kept[layer] = keep(activation)

    hooks = bridge.edit_hooks(edits, Rows.of_prompts(mask))
    hooks += [(hook_name(where.site, layer), partial(hook_fn, layer)) for layer in where.layers]
    with model.hooks(fwd_hooks=hooks):
        bridge.forward(model, ids, mask, **bridge.only_last(model))
    return torch.stack([kept[layer] for layer in where.layers], 1)


def _joined(
    start: Beginning,
    own: Float[Tensor, "batch layer ..."],
    prompts: Sequence[Sequence[int]],
    spans: Sequence[Span],
    where: _Where,
) -> list[Float[Tensor, "row layer d"]]:
    """Join what was kept of the beginning with what was kept after it; one entry per prompt."""
    if where.position != "all":
        for column, layer in enumerate(where.layers if start.kept else ()):
            shared = start.kept[layer].expand(len(spans), -1, -1)
            own[:, column] += mean_over(shared, spans, 0)
        return list(own[:, None])
    rows = []
    for each, prompt in zip(own, prompts, strict=True):
        after = rearrange(each[:, : len(prompt) - start.length], "layer pos d -> pos layer d")
        before = [start.kept[layer][0] for layer in where.layers] if start.kept else []
        rows.append(torch.cat([torch.stack(before, 1), after]) if before else after)
    return rows
