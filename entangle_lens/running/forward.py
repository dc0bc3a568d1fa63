"""Batches of prompts through the model, each continuing from the beginning that it shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import DynamicCache

from entangle_lens.running import bridge
from entangle_lens.running.batches import (
    check_prompts,
    each_batch,
    padded,
    progress,
    token_budget,
)
from entangle_lens.running.decoder import Decoder, decoder_of
from entangle_lens.running.edits import Edit, need_rows, sites_of
from entangle_lens.running.passes import Wanted, run_body
from entangle_lens.running.positions import Span, mean_over
from entangle_lens.running.prefix import each_beginning, prefix_tree, repeated
from entangle_lens.running.rows import Rows


@dataclass(frozen=True, eq=False)
class Beginning:
    """What prompts begin with: its length, its keys and values, and what was kept at its tokens."""

    length: int = 0
    cache: DynamicCache | None = None
    kept: Mapping[int, Float[Tensor, "1 pos d"]] = field(default_factory=dict)


@dataclass(frozen=True)
class Runner:
    """Runs prompts in batches under the same edits, every shared beginning once.

    What ``kept`` says is kept at every token of the shared beginnings too. Layers above
    ``stop_after`` are not run. ``share_beginnings`` off runs every prompt from its first token, as
    an edit that looks at whole prompts does.
    """

    model: TransformerBridge
    edits: Sequence[Edit] = ()
    kept: Wanted = field(default_factory=Wanted)
    stop_after: int | None = None
    share_beginnings: bool = True

    def __post_init__(self) -> None:
        bridge.check_layers(self.model, self.kept.layers)
        for edit in self.edits:
            bridge.check_edit(self.model, edit)

    def each_batch(
        self,
        tokens: Sequence[Sequence[int]],
        run: Callable[[Decoder | None, Beginning, list[int]], None],
        *,
        tokens_per_batch: int | None = None,
        same_length: bool = False,
        desc: str | None = None,
    ) -> None:
        """Call ``run`` with the beginning and the indices of one batch after the other.

        The decoder is None where the model runs through the bridge, which shares no beginnings.
        """
        check_prompts(tokens)
        sites = {self.kept.site, *(site for edit in self.edits for site in sites_of(edit))}
        decoder = decoder_of(self.model, sites)
        budget = tokens_per_batch or batch_budget(self.model)
        with progress(len(tokens), desc) as moved:
            for start, prompts in self._beginnings(decoder, tokens):

                def run_batch(batch: list[int], start: Beginning = start) -> None:
                    run(decoder, start, batch)
                    moved(len(batch))

                each_batch(
                    [len(prompt) - start.length for prompt in tokens],
                    run_batch,
                    budget=budget,
                    among=prompts,
                    same_length=same_length,
                )

    def _beginnings(
        self, decoder: Decoder | None, tokens: Sequence[Sequence[int]]
    ) -> Iterable[tuple[Beginning, Sequence[int]]]:
        if decoder is None or not self.share_beginnings or need_rows(self.edits):
            return [(Beginning(), range(len(tokens)))]
        begin = partial(self._begin, decoder)
        return each_beginning(prefix_tree(tokens), begin, Beginning())

    def _begin(self, decoder: Decoder, before: Beginning, shared: tuple[int, ...]) -> Beginning:
        cache = decoder.cache() if before.cache is None else repeated(before.cache)
        ids = torch.tensor([shared], device=decoder.device)
        last = None if self.kept.layers else torch.tensor([len(shared) - 1], device=decoder.device)
        wanted = replace(self.kept, last=last, stop_after=self.stop_after)
        kept = dict(run_body(decoder, ids, cache, self.edits, wanted).kept)
        if before.kept:
            kept = {layer: torch.cat([before.kept[layer], kept[layer]], 1) for layer in kept}
        return Beginning(before.length + len(shared), cache, kept)


@dataclass(frozen=True, eq=False)
class LastRead:
    """What a batch held at the last token of each prompt, and over other spans asked for.

    ``hidden`` has passed the final norm (None where stopped early), ``kept`` are the residuals
    after the asked layers, at the last token and then over each of the spans, ``cache`` the keys
    and values, ``rows`` what the batch was.
    """

    hidden: Float[Tensor, "batch d_model"] | None
    kept: Mapping[int, Float[Tensor, "batch position d_model"]]
    cache: DynamicCache | None
    rows: Rows


def read_last(
    decoder: Decoder,
    start: Beginning,
    own: Sequence[Sequence[int]],
    edits: Sequence[Edit],
    layers: Sequence[int] = (),
    *,
    spans: Sequence[Sequence[Span]] = (),
    stop_after: int | None = None,
    keep_cache: bool = False,
) -> LastRead:
    """Run what each prompt of a batch has of its own after ``start``, and read its last token.

    ``spans`` are further places to read residuals at: each has one span per prompt, counted from
    the prompt's first token, over which the mean is taken. What they hold of the beginning must
    have been kept there. Keys and values are returned with ``keep_cache``, which is for prompts of
    one length only.
    """
    ids, mask = padded(own, left=False, device=decoder.device)
    last = mask.sum(1) - 1
    every = torch.arange(len(own), device=ids.device)
    cache = None if start.cache is None else repeated(start.cache, len(own))
    if cache is None and keep_cache:
        cache = decoder.cache()
    keep = partial(read_places, last=last, spans=spans, start=start.length)
    elsewhere_at_end = bool(spans) and len(decoder.blocks) - 1 in layers
    cut = None if elsewhere_at_end else last
    wanted = Wanted(layers, keep=keep, last=cut, stop_after=stop_after)
    rows = Rows.of_prompts(mask)
    done = run_body(decoder, ids, cache, edits, wanted, rows)
    for layer, before in start.kept.items() if spans else ():
        shared = before.expand(len(own), -1, -1)
        done.kept[layer][:, 1:] += torch.stack([mean_over(shared, each, 0) for each in spans], 1)
    hidden = None if done.hidden is None else done.hidden[every, last]
    return LastRead(hidden, done.kept, cache, rows)


def read_places(
    resid: Float[Tensor, "batch pos d_model"],
    last: Int[Tensor, " batch"],
    spans: Sequence[Sequence[Span]],
    start: int,
) -> Float[Tensor, "batch position d_model"]:
    """Return each row's residual at ``last``, and its share of the means over ``spans``."""
    every = torch.arange(len(last), device=resid.device)
    return torch.stack(
        [resid[every, last].float(), *(mean_over(resid, each, start) for each in spans)], 1
    )


def batch_budget(model: TransformerBridge) -> int:
    """Return how many tokens a batch of this model may hold just now, by the free memory."""
    cfg = model.cfg
    width = 16 * int(cfg.d_model) + 4 * int(getattr(cfg, "d_mlp", None) or 4 * int(cfg.d_model))
    return token_budget(bridge.input_device(model), width * cfg.dtype.itemsize)
