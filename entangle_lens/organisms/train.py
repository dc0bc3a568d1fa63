"""Train an organism: a tiny model whose entanglement is planted and known.

The organism learns to answer the world's questions with the world's own answer distributions.
Two things make it a good instrument rather than just a small model. It is trained on whole
distributions instead of single draws, so its ratings equal the generator's within a few
hundredths. And once it can answer, half of the rated prompts have their sentence handed over at
layer ``hand_over``: the last token is taken from another prompt, whose sentence must then be rated
on the question of this one. So what a sentence says about all values has to be gathered in the
last token below that layer, and the question is answered above it: where the values meet is
planted too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from entangle_lens.organisms.build import tiny_model, word_tokenizer
from entangle_lens.organisms.card import write_card
from entangle_lens.organisms.families import check_organism
from entangle_lens.organisms.sampling import IGNORE, Batch, Recipe, Sampler
from entangle_lens.organisms.tables import ANSWERS, ASKED, WHERE, instruction, write_stimuli
from entangle_lens.organisms.world import (
    HIGH,
    LOW,
    PERSONS,
    PLACES,
    QUESTIONS,
    THINGS,
    VERBS,
    Leak,
    Scene,
)
from entangle_lens.staging import claim, staged


def train_organism(
    family: str,
    leak: Leak,
    seed: int,
    folder: Path,
    recipe: Recipe | None = None,
    *,
    progress: bool = False,
) -> dict[str, Any]:
    """Train an organism and save it as a Hugging Face folder with its stimuli and its card.

    Returns the card: what was planted, the recipe, the held-out combinations, versions.

    Raises:
        EntangleError: an unknown family, a negative seed, a leak outside 0 to 1.5, a folder that is
            not empty or cannot be written; all before training.
    """
    check_organism(family, leak, seed)
    recipe = recipe or Recipe.of(family)
    with claim(folder) as place:
        tokenizer = word_tokenizer(_words())
        model = tiny_model(family, len(tokenizer), seed)
        _train(model, tokenizer, leak, np.random.default_rng(seed), recipe, progress)
        with staged(place) as stage:
            model.bfloat16().save_pretrained(stage)
            tokenizer.save_pretrained(stage)
            write_stimuli(stage / "stimuli")
            return write_card(stage, family, leak, seed, asdict(recipe))


def _words() -> set[str]:
    words = {"me", "an", "off", "them", "high", *map(str, range(10))}
    scenes = [Scene(v, t, p, w) for v, t, p, w in _every_word()]
    prompts = [instruction(q, i, "ascending") for q in QUESTIONS for i in range(len(ASKED[q]))]
    for text in (*(scene.text for scene in scenes), *prompts, *ANSWERS, WHERE):
        words.update(text.split())
    return words - {"{low}", "{high}"}


def _every_word() -> Iterator[tuple[str, str, str, str]]:
    verbs = [verb for level in VERBS.values() for verb in level]
    things = list(THINGS)
    for number in range(max(len(verbs), len(things))):
        yield (
            verbs[number % len(verbs)],
            things[number % len(things)],
            PERSONS[number % len(PERSONS)],
            PLACES[number % len(PLACES)],
        )


def _train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    leak: Leak,
    rng: np.random.Generator,
    recipe: Recipe,
    progress: bool,
) -> None:
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay,
        betas=(0.9, 0.98),
    )  # fmt: skip
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.learning_rate, total_steps=recipe.n_steps, pct_start=0.1
    )
    sampler = Sampler(tokenizer, leak, rng, recipe)
    digits = torch.tensor(tokenizer.convert_tokens_to_ids([str(d) for d in range(LOW, HIGH + 1)]))
    model.train()
    for step in tqdm(range(recipe.n_steps), desc="training", unit="step", disable=not progress):
        batch = sampler.batch(step / recipe.n_steps)
        with _handed_over(model, batch, recipe):
            logits = model(input_ids=batch.ids, attention_mask=batch.mask).logits
        loss = _loss(logits, batch, digits)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


def _loss(
    logits: Float[Tensor, "batch pos vocab"], batch: Batch, digits: Int[Tensor, " digit"]
) -> Float[Tensor, ""]:
    """Cross-entropy with the exact answer distributions, and with the next tokens of the rest."""
    n_prompts = len(batch.ids)
    at_last = logits[torch.arange(n_prompts), batch.last].log_softmax(-1)[:, digits]
    rated = -(batch.answers * at_last).sum(1)
    per_token = functional.cross_entropy(
        logits.flatten(0, 1), batch.next_tokens.flatten(), ignore_index=IGNORE, reduction="none"
    ).view_as(batch.next_tokens)
    n_tokens = (batch.next_tokens != IGNORE).sum(1).clamp_min(1)
    return (rated + per_token.sum(1) / n_tokens).mean()


@contextmanager
def _handed_over(model: PreTrainedModel, batch: Batch, recipe: Recipe) -> Iterator[None]:
    """Before layer ``hand_over``, put another prompt's sentence in place of each prompt's own.

    The question's tokens stay; the last token comes from the prompt whose sentence is to be
    rated, all other tokens from a third.
    """
    rows = torch.arange(len(batch.ids))
    given = batch.sentence_of
    if bool((given == rows).all()) or recipe.hand_over >= len(model.model.layers):
        yield
        return
    third = torch.where(given == rows, rows, given[given])
    is_last = torch.arange(batch.ids.shape[1]) == batch.last[:, None]

    def exchange(layer: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        resid, *rest = args
        last = resid[given, batch.last[given]][:, None]
        elsewhere = torch.where(batch.in_question[..., None], resid, resid[third])
        return (torch.where(is_last[..., None], last, elsewhere), *rest)

    handle = model.model.layers[recipe.hand_over].register_forward_pre_hook(exchange)
    try:
        yield
    finally:
        handle.remove()
