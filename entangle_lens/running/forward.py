"""One forward pass over many prompts: residuals at the last token and option probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import DynamicCache

from entangle_lens.running import bridge
from entangle_lens.running.batches import TOKENS_PER_BATCH, each_batch, padded
from entangle_lens.running.decoder import Decoder, Wanted, decoder_of, run_body
from entangle_lens.running.edits import Edit
from entangle_lens.running.options import OptionTree
from entangle_lens.running.prefix import repeated, shared_length
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
    tokens_per_batch: int = TOKENS_PER_BATCH,
    desc: str | None = None,
) -> Reading:
    """Run every prompt of ``group`` and read options and residuals at its last token.

    ``edits`` apply to every position, the shared beginning included; so do hooks that are on
    ``model``. Same numbers as one prompt at a time.

    Raises:
        EntangleError: a layer out of range.
    """
    bridge.check_layers(model, layers)
    tree = OptionTree(group.options)
    log_probs = torch.zeros(len(group.tokens), len(group.options))
    resid = torch.zeros(len(group.tokens), len(layers), int(model.cfg.d_model))
    runner = Runner.of(model, group.tokens, edits)

    def run(batch: list[int]) -> None:
        next_log_probs = {}
        for context in tree.contexts or [()]:
            tokens = [(*group.tokens[index], *context) for index in batch]
            logits, captured = runner.last_logits(tokens, layers if context == () else ())
            if group.options:
                columns = tree.next_tokens(context)
                next_log_probs[context] = logits.float().log_softmax(-1)[:, columns].cpu()
            for column, layer in enumerate(layers if context == () else ()):
                resid[batch, column] = captured[layer].float().cpu()
        if group.options:
            log_probs[batch] = tree.log_probs(next_log_probs)

    each_batch(group.tokens, run, tokens_per_batch=tokens_per_batch, desc=desc)
    return Reading(log_probs, resid)


@dataclass(frozen=True)
class Runner:
    """Runs batches of one group of prompts, each continuing from what all of them share."""

    model: TransformerBridge
    edits: Sequence[Edit]
    decoder: Decoder | None
    shared: Sequence[int]
    cache: DynamicCache | None

    @classmethod
    def of(
        cls, model: TransformerBridge, tokens: Sequence[Sequence[int]], edits: Sequence[Edit] = ()
    ) -> Runner:
        """Prepare a group: find the shared beginning and run it once, under the same edits."""
        for edit in edits:
            bridge.check_layers(model, edit.layers)
        decoder = decoder_of(model)
        n_shared = shared_length(tokens) if decoder is not None else 0
        if decoder is None or n_shared == 0:
            return cls(model, edits, decoder, (), None)
        shared, cache = tokens[0][:n_shared], decoder.cache()
        run_body(decoder, torch.tensor([shared], device=decoder.device), cache, edits)
        return cls(model, edits, decoder, shared, cache)

    def last_logits(
        self, tokens: Sequence[Sequence[int]], layers: Sequence[int] = ()
    ) -> tuple[Float[Tensor, "batch vocab"], Mapping[int, Float[Tensor, "batch d_model"]]]:
        """Return the logits after each prompt of a batch, and its last residuals at ``layers``."""
        if self.decoder is None:
            return bridge.last_logits(self.model, tokens, layers, self.edits)
        own = [prompt[len(self.shared) :] for prompt in tokens]
        ids, mask = padded(own, left=False, device=self.decoder.device)
        last = mask.sum(1) - 1
        cache = None if self.cache is None else repeated(self.cache, len(own))
        done = run_body(self.decoder, ids, cache, self.edits, Wanted(layers, last))
        assert done.hidden is not None
        hidden = done.hidden[torch.arange(len(own), device=ids.device), last]
        return self.decoder.logits(hidden), done.resid
