"""Generation under interventions: batched, with keys and values kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import GenerationConfig, PreTrainedModel

from entangle_lens.errors import EntangleError
from entangle_lens.models import info
from entangle_lens.running import account, bridge
from entangle_lens.running.batches import each_batch, padded, progress
from entangle_lens.running.decoder import decoder_of
from entangle_lens.running.edits import Edit, apply, sites_of
from entangle_lens.running.forward import batch_budget
from entangle_lens.running.prompts import PromptGroup
from entangle_lens.running.rows import RowsReader
from entangle_lens.running.sites import alter

NEVER_FIRED = (
    "an intervention never fired: the model was not run inside the 'with' block, or another copy "
    "of it was"
)


@torch.inference_mode()
def generate_tokens(
    model: TransformerBridge,
    group: PromptGroup,
    *,
    max_new_tokens: int = 64,
    edits: Sequence[Edit] = (),
    temperature: float = 0.0,
    seed: int = 0,
    tokens_per_batch: int | None = None,
    desc: str | None = None,
) -> list[list[int]]:
    """Continue every prompt, in batches, prompts and new tokens under ``edits``.

    Greedy at temperature 0, else sampled from the whole distribution with ``seed`` (samples
    depend on the batches, greedy text does not). Each continuation ends before the
    end-of-sequence token, which is taken from the generation config.

    Raises:
        EntangleError: a layer out of range, a temperature below 0, no token to generate, or a
            model that only its bridge can run.
    """
    if temperature < 0 or max_new_tokens < 1:
        raise EntangleError(
            f"temperature {temperature} and max_new_tokens {max_new_tokens} were given; a "
            "temperature of 0 or more and at least one token were expected"
        )
    for edit in edits:
        bridge.check_layers(model, edit.layers)
    hf_model = info(model).plain
    decoder = decoder_of(model, {site for edit in edits for site in sites_of(edit)})
    if decoder is None or hf_model is None:
        raise EntangleError(
            "generation in batches needs a model loaded by entangle_lens.load without hooks on "
            "it; inside a 'with' block call model.generate"
        )
    ends = _ends(hf_model)
    generate = cast(Any, hf_model.generate)
    config = _config(hf_model, max_new_tokens, temperature, ends)
    out: list[list[int]] = [[] for _ in group.tokens]

    def run(batch: list[int]) -> None:
        prompts = [group.tokens[index] for index in batch]
        ids, mask = padded(prompts, left=True, device=decoder.device)
        with edited(hf_model, decoder.blocks, edits), _configured(hf_model, config):
            made = generate(input_ids=ids, attention_mask=mask, generation_config=config)
        account.ran(int(mask.sum()) + len(batch) * (made.shape[1] - ids.shape[1] - 1))
        for index, row in zip(batch, made[:, ids.shape[1] :].tolist(), strict=True):
            stop = next((place for place, token in enumerate(row) if token in ends), len(row))
            out[index] = row[:stop]
            moved(1)

    account.asked(group.tokens)
    lengths = [len(prompt) + max_new_tokens for prompt in group.tokens]
    with progress(len(group.tokens), desc) as moved, _seeded(seed, decoder.device):
        each_batch(lengths, run, budget=tokens_per_batch or batch_budget(model))
    return out


def decoded(model: TransformerBridge, tokens: Sequence[Sequence[int]]) -> list[str]:
    """Return token ids as text, special tokens left out."""
    tokenizer = info(model).tokenizer
    return [str(tokenizer.decode(list(ids), skip_special_tokens=True)) for ids in tokens]


def _ends(hf_model: PreTrainedModel) -> set[int]:
    for configured in (hf_model.generation_config, hf_model.config.get_text_config()):
        known = getattr(configured, "eos_token_id", None)
        if known is not None:
            return {known} if isinstance(known, int) else set(known)
    return set()


def _config(
    hf_model: PreTrainedModel, max_new_tokens: int, temperature: float, ends: set[int]
) -> GenerationConfig:
    sampled = {"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=temperature > 0,
        eos_token_id=sorted(ends) or None,
        pad_token_id=min(ends, default=0),
        use_cache=True,
        **sampled,
    )


@contextmanager
def edited(
    hf_model: torch.nn.Module, blocks: Sequence[torch.nn.Module], edits: Sequence[Edit]
) -> Iterator[None]:
    """Put ``edits``, in order, on the blocks of a transformers model for the while.

    Raises:
        EntangleError: an edit that never fired: the model was not run, or another copy of it was.
    """
    fired: set[int] = set()
    reader = RowsReader()

    def change(number: int, edit: Edit, layer: int, site: str, resid: torch.Tensor) -> torch.Tensor:
        fired.add(number)
        return apply(edit, reader.rows, layer, site, resid)

    handles: list[Any] = []
    with reader.watching(hf_model):
        try:
            handles += [
                alter(blocks[layer], site, partial(change, number, edit, layer, site))
                for number, edit in enumerate(edits)
                for layer in edit.layers
                for site in sites_of(edit)
            ]
            yield
        finally:
            for handle in handles:
                handle.remove()
    if len(fired) < len(edits):
        raise EntangleError(NEVER_FIRED)


@contextmanager
def _configured(hf_model: PreTrainedModel, config: GenerationConfig) -> Iterator[None]:
    """Put the model's own generation settings aside for the while.

    ``generate`` fills what ``config`` leaves open from them: the penalties and filters that many
    checkpoints come with would change what is generated.
    """
    own = hf_model.generation_config
    hf_model.generation_config = config
    try:
        yield
    finally:
        hf_model.generation_config = own


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed once for all batches, so that a prompt in two of them has two samples."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
