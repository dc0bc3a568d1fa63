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
from entangle_lens.running import bridge
from entangle_lens.running.batches import each_batch, padded
from entangle_lens.running.decoder import decoder_of, run_body
from entangle_lens.running.edits import Edit
from entangle_lens.running.forward import Runner
from entangle_lens.running.prompts import PromptGroup

_LOGITS_PER_BATCH = 64_000_000


@torch.inference_mode()
def next_token_log_probs(
    model: TransformerBridge,
    group: PromptGroup,
    *,
    edits: Sequence[Edit] = (),
    desc: str | None = None,
) -> Float[Tensor, "prompt vocab"]:
    """Return the log-probability of every token after each prompt, in float32 on the CPU."""
    rows: dict[int, Tensor] = {}
    runner = Runner.of(model, group.tokens, edits)

    def run(batch: list[int]) -> None:
        logits, _ = runner.last_logits([group.tokens[index] for index in batch])
        rows.update(zip(batch, logits.float().log_softmax(-1).cpu(), strict=True))

    each_batch(group.tokens, run, desc=desc)
    return torch.stack([rows[index] for index in range(len(group.tokens))])


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
    decoder = decoder_of(model)

    def run(batch: list[int]) -> None:
        tokens = [group.tokens[index] for index in batch]
        ids, mask = padded(tokens, left=False, device=bridge.input_device(model))
        if decoder is None:
            with model.hooks(fwd_hooks=bridge.edit_hooks(edits)):
                logits = bridge.forward(model, ids, mask)
        else:
            hidden = run_body(decoder, ids, None, edits).hidden
            assert hidden is not None
            logits = decoder.logits(hidden)
        log_probs = logits[:, :-1].float().log_softmax(-1)
        each = log_probs.gather(-1, ids[:, 1:, None])[..., 0] * mask[:, 1:]
        total[batch] = each.double().sum(1).cpu()

    budget = max(64, _LOGITS_PER_BATCH // int(model.cfg.d_vocab))
    each_batch(group.tokens, run, tokens_per_batch=budget, desc=desc)
    return total


@torch.inference_mode()
def token_embeddings(
    model: TransformerBridge, texts: Sequence[str]
) -> Float[Tensor, "text d_model"]:
    """Return each text's mean token embedding, special tokens left out, in float64 on the CPU."""
    tokenizer = info(model).tokenizer
    hf_model = cast(PreTrainedModel, model.original_model)
    table = cast(Tensor, hf_model.get_input_embeddings().weight)
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    rows = [table[torch.tensor(ids, device=table.device)].double().mean(0).cpu() for ids in encoded]
    return torch.stack(rows)
