"""Generation under interventions: batched, with keys and values kept where that is possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Any, cast

import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import GenerationConfig, PreTrainedModel

from entangle_lens.errors import EntangleError
from entangle_lens.models import info
from entangle_lens.running import account, bridge
from entangle_lens.running.batches import check_prompts, each_batch, padded, progress
from entangle_lens.running.decoder import Decoder, decoder_of
from entangle_lens.running.edits import Edit, apply, sites_of
from entangle_lens.running.forward import batch_budget
from entangle_lens.running.prompts import PromptGroup
from entangle_lens.running.rows import RowsReader
from entangle_lens.running.sites import alter
from entangle_lens.running.vocabulary import context_window

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
        EntangleError: a layer out of range, a temperature below 0, no token to generate, or text
            that would be longer than the model's context.
    """
    if temperature < 0 or max_new_tokens < 1:
        raise EntangleError(
            f"temperature {temperature} and max_new_tokens {max_new_tokens} were given; a "
            "temperature of 0 or more and at least one token were expected"
        )
    for edit in edits:
        bridge.check_edit(model, edit)
    check_prompts(group.tokens)
    _check_length(model, group, max_new_tokens)
    decoder = decoder_of(model, {site for edit in edits for site in sites_of(edit)})
    hf_model = cast(PreTrainedModel, info(model).plain if decoder else model.original_model)
    ends = _ends(hf_model)
    config = _config(hf_model, max_new_tokens, temperature, ends)
    out: list[list[int]] = [[] for _ in group.tokens]

    def run(batch: list[int]) -> None:
        prompts = [group.tokens[index] for index in batch]
        if decoder is None:
            made = _step_by_step(model, prompts, edits, config)
        else:
            made = _with_keys_kept(hf_model, decoder, prompts, edits, config)
        for index, row in zip(batch, made, strict=True):
            stop = next((place for place, token in enumerate(row) if token in ends), len(row))
            out[index] = row[:stop]
            moved(1)

    account.asked(group.tokens)
    lengths = [len(prompt) + max_new_tokens for prompt in group.tokens]
    with progress(len(group.tokens), desc) as moved, _seeded(seed, bridge.input_device(model)):
        each_batch(lengths, run, budget=tokens_per_batch or batch_budget(model))
    return out


def _with_keys_kept(
    hf_model: PreTrainedModel,
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    edits: Sequence[Edit],
    config: GenerationConfig,
) -> list[list[int]]:
    """Let transformers continue a batch."""
    ids, mask = padded(prompts, left=True, device=decoder.device)
    generate = cast(Any, hf_model.generate)
    with edited(hf_model, decoder.blocks, edits), _configured(hf_model, config):
        made = generate(input_ids=ids, attention_mask=mask, generation_config=config)
    account.ran(int(mask.sum()) + len(prompts) * (made.shape[1] - ids.shape[1] - 1))
    new: list[list[int]] = made[:, ids.shape[1] :].tolist()
    return new


def _step_by_step(
    model: TransformerBridge,
    prompts: Sequence[Sequence[int]],
    edits: Sequence[Edit],
    config: GenerationConfig,
) -> list[list[int]]:
    """Continue a batch through the bridge, which runs the whole text for every new token.

    What families keep between tokens differs too much for anything else to be right in all of them.
    """
    ends = set(config.eos_token_id or ())
    texts = [list(prompt) for prompt in prompts]
    for n_made in range(config.max_new_tokens):
        account.ran(sum(map(len, texts)))
        logits, _ = bridge.last_logits(model, texts, (), edits, n_made)
        if config.do_sample:
            chosen = (logits.float() / config.temperature).softmax(-1).multinomial(1)[:, 0]
        else:
            chosen = logits.argmax(-1)
        for text, token in zip(texts, chosen.tolist(), strict=True):
            text.append(token)
        made = [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]
        if all(ends & set(each) for each in made):
            break
    return made


def _check_length(model: TransformerBridge, group: PromptGroup, max_new_tokens: int) -> None:
    window = context_window(model)
    longest = max(map(len, group.tokens), default=0)
    if window is not None and longest + max_new_tokens > window:
        raise EntangleError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones are longer than the "
            f"context of model {info(model).name!r}, which is {window} tokens"
        )


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
            for number, edit in enumerate(edits):
                for layer, site in product(edit.layers, sites_of(edit)):
                    made = partial(change, number, edit, layer, site)
                    # One by one: where a place is missing, the hooks made before it come off again.
                    handles.append(alter(blocks[layer], site, made))
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
