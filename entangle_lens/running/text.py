"""Log-probabilities of plain text: next tokens for side effects, whole sentences for pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel

from entangle_lens.models import info
from entangle_lens.running import account, bridge
from entangle_lens.running.batches import logit_rows, padded
from entangle_lens.running.decoder import Decoder
from entangle_lens.running.edits import Edit
from entangle_lens.running.finite import check_finite
from entangle_lens.running.forward import Beginning, Runner, read_last
from entangle_lens.running.passes import run_body
from entangle_lens.running.prompts import PromptGroup
from entangle_lens.running.rows import Rows
from entangle_lens.running.vocabulary import check_tokens


@torch.inference_mode()
def next_token_log_probs(
    model: TransformerBridge,
    group: PromptGroup,
    *,
    edits: Sequence[Edit] = (),
    desc: str | None = None,
) -> Float[Tensor, "prompt vocab"]:
    """Return the log-probability of every token after each prompt, in float32 on the CPU."""
    out = torch.zeros(len(group.tokens), int(model.cfg.d_vocab))

    def run(decoder: Decoder | None, start: Beginning, batch: list[int]) -> None:
        prompts = [group.tokens[index] for index in batch]
        if decoder is None:
            account.ran(sum(map(len, prompts)))
            logits, _ = bridge.last_logits(model, prompts, (), edits)
            out[batch] = logits.float().log_softmax(-1).cpu()
            return
        own = [prompt[start.length :] for prompt in prompts]
        hidden = read_last(decoder, start, own, edits).hidden
        assert hidden is not None
        at_once = logit_rows(int(model.cfg.d_vocab))
        for first in range(0, len(batch), at_once):
            logits = decoder.logits(hidden[first : first + at_once]).float()
            out[batch[first : first + at_once]] = logits.log_softmax(-1).cpu()

    account.asked(group.tokens)
    Runner(model, edits).each_batch(group.tokens, run, desc=desc)
    check_finite(model, out, masked=True)
    return out


@torch.inference_mode()
def sequence_log_probs(
    model: TransformerBridge,
    group: PromptGroup,
    *,
    edits: Sequence[Edit] = (),
    desc: str | None = None,
) -> Float[Tensor, " prompt"]:
    """Return each text's log-probability: the sum over its tokens after the first."""
    total = torch.zeros(len(group.tokens), dtype=torch.float64)

    def run(decoder: Decoder | None, start: Beginning, batch: list[int]) -> None:
        prompts = [group.tokens[index] for index in batch]
        total[batch] = _sums(model, decoder, prompts, edits).cpu()

    account.asked(group.tokens)
    budget = logit_rows(int(model.cfg.d_vocab))
    runner = Runner(model, edits, share_beginnings=False)
    runner.each_batch(group.tokens, run, tokens_per_batch=budget, desc=desc)
    check_finite(model, total[:, None])
    return total


def _sums(
    model: TransformerBridge,
    decoder: Decoder | None,
    prompts: Sequence[Sequence[int]],
    edits: Sequence[Edit],
) -> Float[Tensor, " batch"]:
    ids, mask = padded(prompts, left=False, device=bridge.input_device(model))
    rows = Rows.of_prompts(mask)
    if decoder is None:
        account.ran(int(mask.sum()))
        with model.hooks(fwd_hooks=bridge.edit_hooks(edits, rows)):
            logits = bridge.forward(model, ids, mask)
    else:
        hidden = run_body(decoder, ids, None, edits, rows=rows).hidden
        assert hidden is not None
        logits = decoder.logits(hidden)
    log_probs = logits[:, :-1].float().log_softmax(-1)
    each = log_probs.gather(-1, ids[:, 1:, None])[..., 0] * mask[:, 1:]
    return each.double().sum(1)


@torch.inference_mode()
def token_embeddings(
    model: TransformerBridge, texts: Sequence[str]
) -> Float[Tensor, "text d_model"]:
    """Return each text's mean token embedding, special tokens left out, in float64 on the CPU.

    Raises:
        EntangleError: a text without a token, or a tokenizer that does not belong to the model.
    """
    tokenizer = info(model).tokenizer
    hf_model = cast(PreTrainedModel, model.original_model)
    table = cast(Tensor, hf_model.get_input_embeddings().weight)
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    check_tokens(model, encoded)
    rows = [table[torch.tensor(ids, device=table.device)].double().mean(0).cpu() for ids in encoded]
    return torch.stack(rows) if rows else table.new_zeros(0, table.shape[1]).double().cpu()
