"""Log-probabilities of options after prompts, with the residuals at the last token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from entangle_lens.running import account, bridge
from entangle_lens.running.batches import logit_rows
from entangle_lens.running.decoder import Decoder
from entangle_lens.running.edits import Edit
from entangle_lens.running.forward import Beginning, LastRead, Runner, read_last
from entangle_lens.running.options import OptionTree, Path
from entangle_lens.running.passes import Wanted, run_body
from entangle_lens.running.prefix import repeated
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
    edits: Sequence[Edit] = (),
    tokens_per_batch: int | None = None,
    desc: str | None = None,
) -> Reading:
    """Run every prompt of ``group`` and read options and residuals at its last token.

    ``edits`` apply in order, to shared beginnings too; so do hooks that are on ``model``. Same
    numbers as one prompt at a time.

    Raises:
        EntangleError: a layer out of range.
    """
    bridge.check_layers(model, layers)
    tree = OptionTree(group.options)
    log_probs = torch.zeros(len(group.tokens), len(group.options))
    resid = torch.zeros(len(group.tokens), len(layers), int(model.cfg.d_model))
    runner = Runner(model, edits, stop_after=None if group.options else max(layers, default=None))

    def run(decoder: Decoder | None, start: Beginning, batch: list[int]) -> None:
        prompts = [group.tokens[index] for index in batch]
        if decoder is None:
            scored, captured = _through_bridge(model, prompts, tree, layers, edits)
        else:
            own = [prompt[start.length :] for prompt in prompts]
            scored, captured = _score(decoder, start, own, tree, layers, runner)
        for column, layer in enumerate(layers):
            resid[batch, column] = captured[layer].float().cpu()
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
    return Reading(log_probs, resid)


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
    layers: Sequence[int],
    runner: Runner,
) -> tuple[Float[Tensor, "batch option"] | None, dict[int, Tensor]]:
    """Read a batch, then go on from its keys and values for options of several tokens."""
    several = len(tree.contexts) > 1
    read = read_last(
        decoder, start, own, runner.edits, layers, stop_after=runner.stop_after, keep_cache=several
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
    layers: Sequence[int],
    edits: Sequence[Edit],
) -> tuple[Float[Tensor, "batch option"] | None, dict[int, Tensor]]:
    steps: dict[Path, Tensor] = {}
    captured: dict[int, Tensor] = {}
    for context in tree.contexts or [()]:
        tokens = [(*prompt, *context) for prompt in prompts]
        account.ran(sum(map(len, tokens)))
        logits, kept = bridge.last_logits(
            model, tokens, () if context else layers, edits, len(context)
        )
        captured.update(kept)
        if tree.contexts:
            log_probs = logits.float().log_softmax(-1)[:, tree.next_tokens(context)].cpu()
            steps[context] = log_probs
    return (tree.log_probs(steps) if steps else None), captured
