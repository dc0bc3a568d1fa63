"""Log-probabilities of options after prompts, with residuals at the last token and elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from entangle_lens.errors import EntangleError, choices
from entangle_lens.running import account, bridge
from entangle_lens.running.batches import logit_rows
from entangle_lens.running.decoder import Decoder
from entangle_lens.running.edits import Edit
from entangle_lens.running.finite import check_finite
from entangle_lens.running.forward import Beginning, LastRead, Runner, read_last, read_places
from entangle_lens.running.options import OptionTree, Path
from entangle_lens.running.passes import Wanted, run_body
from entangle_lens.running.positions import LAST, ONE_EACH, Span, read_spans
from entangle_lens.running.prefix import repeated
from entangle_lens.running.prompts import PromptGroup


@dataclass(frozen=True, eq=False)
class Reading:
    """What a pass over a group of prompts read, in the order of the prompts.

    ``log_probs`` are the options' log-probabilities over the whole vocabulary (their
    exponentials sum to the option mass). ``resid`` is the residual stream after each asked
    layer (``resid_post``) at the last prompt token, in float32 on the CPU; ``elsewhere`` holds it
    at the other positions that were asked for.
    """

    log_probs: Float[Tensor, "prompt option"]
    resid: Float[Tensor, "prompt layer d_model"]
    elsewhere: Mapping[str, Float[Tensor, "prompt layer d_model"]] = field(default_factory=dict)

    def at(self, position: str) -> Float[Tensor, "prompt layer d_model"]:
        """Return the residuals at ``position``, one of those that were asked for."""
        return self.resid if position == LAST else self.elsewhere[position]


@torch.inference_mode()
def read_prompts(
    model: TransformerBridge,
    group: PromptGroup,
    *,
    layers: Sequence[int] = (),
    positions: Sequence[str] = (LAST,),
    edits: Sequence[Edit] = (),
    tokens_per_batch: int | None = None,
    desc: str | None = None,
) -> Reading:
    """Run every prompt of ``group`` once; read options at its last token and residuals.

    ``positions`` are where residuals are read: always ``last``, besides ``item_last`` and
    ``item_mean`` as in :func:`capture`. ``edits`` apply in order, to shared beginnings too; so do
    hooks that are on ``model``. Same numbers as one prompt at a time.

    Raises:
        EntangleError: a layer out of range, an unknown position, an item that is not found, or
            numbers that are not finite.
    """
    bridge.check_layers(model, layers)
    elsewhere = _other_positions(positions)
    tree = OptionTree(group.options)
    places = _Places(tuple(layers), tuple(read_spans(group, each) for each in elsewhere))
    log_probs = torch.zeros(len(group.tokens), len(group.options))
    shape = (1 + len(elsewhere), len(group.tokens), len(layers), int(model.cfg.d_model))
    resid = torch.zeros(shape)
    runner = Runner(
        model,
        edits,
        Wanted(layers if elsewhere else ()),
        stop_after=None if group.options else max(layers, default=None),
    )

    def run(decoder: Decoder | None, start: Beginning, batch: list[int]) -> None:
        prompts, of_batch = [group.tokens[index] for index in batch], places.of(batch)
        if decoder is None:
            scored, captured = _through_bridge(model, prompts, tree, of_batch, edits)
        else:
            own = [prompt[start.length :] for prompt in prompts]
            scored, captured = _score(decoder, start, own, tree, of_batch, runner)
        for column, layer in enumerate(layers):
            resid[:, batch, column] = captured[layer].float().cpu().transpose(0, 1)
        if scored is not None:
            log_probs[batch] = scored

    account.asked(group.tokens, max(1, len(tree.contexts)))
    runner.each_batch(
        group.tokens,
        run,
        tokens_per_batch=tokens_per_batch,
        same_length=len(tree.contexts) > 1,
        desc=desc,
    )
    check_finite(model, log_probs, *resid)
    return Reading(log_probs, resid[0], dict(zip(elsewhere, resid[1:], strict=True)))


@dataclass(frozen=True)
class _Places:
    """Where residuals are read: after which layers, and over which spans besides the last token."""

    layers: tuple[int, ...]
    spans: tuple[list[Span], ...]

    def of(self, batch: Sequence[int]) -> _Places:
        """Return the places of some of the prompts."""
        return _Places(self.layers, tuple([each[index] for index in batch] for each in self.spans))

    def moved(self, by: Sequence[int]) -> list[list[Span]]:
        """Return the spans of prompts that stand behind padding, ``by`` tokens of it each."""
        return [
            [(first + pad, end + pad) for (first, end), pad in zip(each, by, strict=True)]
            for each in self.spans
        ]


def _other_positions(positions: Sequence[str]) -> list[str]:
    wrong = [each for each in positions if each not in ONE_EACH]
    if wrong:
        raise EntangleError(f"position {wrong[0]!r} cannot be read here: {choices(ONE_EACH)} can")
    return [each for each in dict.fromkeys(positions) if each != LAST]


def option_log_probs(
    decoder: Decoder,
    hidden: Float[Tensor, "batch d_model"],
    columns: list[int],
    *,
    renormalised: bool = False,
) -> Float[Tensor, "batch column"]:
    """Unembed normed hidden states and return the log-probabilities of ``columns``, on the CPU.

    Over the whole vocabulary; with ``renormalised`` among the columns alone, and then only their
    rows of the head are multiplied.
    """
    asked = decoder.logits(hidden, columns).float()
    total = asked.logsumexp(-1) if renormalised else _log_total(decoder, hidden)
    return (asked - total[:, None]).cpu()


def _log_total(decoder: Decoder, hidden: Float[Tensor, "batch d_model"]) -> Float[Tensor, " batch"]:
    """Return the logsumexp of all logits, a part of the vocabulary at a time.

    Every row of the head is read once, and no more logits are in memory than the part's.
    """
    n_vocab, width = decoder.head.weight.shape[0], logit_rows(len(hidden))
    parts = [
        decoder.logits(hidden, slice(first, first + width)).float().logsumexp(-1)
        for first in range(0, n_vocab, width)
    ]
    return torch.stack(parts).logsumexp(0)


def _score(
    decoder: Decoder,
    start: Beginning,
    own: Sequence[Sequence[int]],
    tree: OptionTree,
    places: _Places,
    runner: Runner,
) -> tuple[Float[Tensor, "batch option"] | None, dict[int, Tensor]]:
    """Read a batch, then go on from its keys and values for options of several tokens."""
    read = read_last(
        decoder,
        start,
        own,
        runner.edits,
        places.layers,
        spans=places.spans,
        stop_after=runner.stop_after,
        keep_cache=len(tree.contexts) > 1,
    )
    if read.hidden is None or not tree.contexts:
        return None, dict(read.kept)
    steps: dict[Path, Tensor] = {}
    for context in tree.contexts:
        hidden = _after_context(decoder, read, context, runner.edits) if context else read.hidden
        steps[context] = option_log_probs(decoder, hidden, tree.next_tokens(context))
    return tree.log_probs(steps), dict(read.kept)


def _after_context(
    decoder: Decoder, read: LastRead, context: Path, edits: Sequence[Edit]
) -> Float[Tensor, "batch d_model"]:
    assert read.cache is not None
    n_prompts = len(read.rows.real)
    ids = torch.tensor([context] * n_prompts, device=decoder.device)
    wanted = Wanted(last=torch.full((n_prompts,), len(context) - 1, device=decoder.device))
    rows = read.rows.following(len(context))
    hidden = run_body(decoder, ids, repeated(read.cache), edits, wanted, rows).hidden
    assert hidden is not None
    return hidden[:, -1]


def _through_bridge(
    model: TransformerBridge,
    prompts: Sequence[Sequence[int]],
    tree: OptionTree,
    places: _Places,
    edits: Sequence[Edit],
) -> tuple[Float[Tensor, "batch option"] | None, dict[int, Tensor]]:
    longest = max(map(len, prompts))
    spans = places.moved([longest - len(prompt) for prompt in prompts])
    ends = torch.full((len(prompts),), longest - 1)
    keep = partial(read_places, last=ends.to(bridge.input_device(model)), spans=spans, start=0)
    steps: dict[Path, Tensor] = {}
    captured: dict[int, Tensor] = {}
    for context in tree.contexts or [()]:
        tokens = [(*prompt, *context) for prompt in prompts]
        account.ran(sum(map(len, tokens)))
        logits, kept = bridge.last_logits(
            model, tokens, () if context else places.layers, edits, len(context), keep
        )
        captured.update(kept)
        if tree.contexts:
            log_probs = logits.float().log_softmax(-1)[:, tree.next_tokens(context)].cpu()
            steps[context] = log_probs
    return (tree.log_probs(steps) if steps else None), captured
