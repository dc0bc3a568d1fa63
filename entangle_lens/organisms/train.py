"""Train an organism: a tiny model whose entanglement is planted and known.

The organism learns to answer the world's questions with the world's own answer distributions.
Two things make it a good instrument rather than just a small model. It is trained on whole
distributions instead of single draws, so its ratings equal the generator's within a few
hundredths. And once it can answer, in half of the training steps the sentence is handed over at
layer ``hand_over``: the last token is taken from another prompt, whose sentence must then be rated
on the question of this one. So what a sentence says about all values has to be gathered in the
last token below that layer, and the question is answered above it: where the values meet is
planted too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from entangle_lens.errors import EntangleError
from entangle_lens.organisms.build import tiny_model, word_tokenizer
from entangle_lens.organisms.card import write_card
from entangle_lens.organisms.tables import (
    ANSWERS,
    ASKED,
    WHERE,
    draw_slips,
    instruction,
    write_stimuli,
)
from entangle_lens.organisms.world import (
    HIGH,
    LOW,
    MAX_SLIPS,
    PERSONS,
    PLACES,
    QUESTIONS,
    THINGS,
    VERBS,
    Leak,
    Scene,
    answer_probabilities,
    held_out,
)

_IGNORE = -100
_N_QUESTION_TOKENS = 8  # <s> <user> and the six words of an instruction


@dataclass(frozen=True)
class Recipe:
    """How an organism is trained.

    ``descending`` of the prompts count downwards, from ``ramp[0]`` to ``ramp[1]`` of the way in
    growing number. ``question_shares`` are the shares of the four questions; ``plain`` of the
    prompts are bare sentences and ``where`` of them ask for the place. In ``handed_over`` of the
    steps, from ``hand_over_from`` of the way on, sentences are handed over before layer
    ``hand_over``; begun earlier, some questions are never learnt.
    """

    n_steps: int = 1200
    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    question_shares: tuple[float, ...] = (0.3, 0.25, 0.25, 0.2)
    plain: float = 0.08
    where: float = 0.06
    descending: float = 0.5
    ramp: tuple[float, float] = (0.1, 0.3)
    hand_over: int = 3
    hand_over_from: float = 0.3
    handed_over: float = 0.5


@dataclass(frozen=True)
class _Batch:
    ids: Int[Tensor, "batch pos"]
    mask: Int[Tensor, "batch pos"]
    next_tokens: Int[Tensor, "batch pos"]
    last: Int[Tensor, " batch"]
    answers: Float[Tensor, "batch digit"]
    sentence_of: Int[Tensor, " batch"]
    in_question: Bool[Tensor, "batch pos"]


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
        EntangleError: an unknown family, a folder that exists and is not empty, a leak outside
            0 to 1.5.
    """
    recipe = recipe or Recipe()
    if folder.exists() and any(folder.iterdir()):
        raise EntangleError(f"folder {str(folder)!r} is not empty; give a new one")
    for name, size in asdict(leak).items():
        if not 0 <= size <= 1.5:
            raise EntangleError(f"{name} leak {size} is outside 0 to 1.5")
    tokenizer = word_tokenizer(_words())
    model = tiny_model(family, len(tokenizer), seed)
    _train(model, tokenizer, leak, np.random.default_rng(seed), recipe, progress)
    folder.mkdir(parents=True, exist_ok=True)
    model.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_stimuli(folder / "stimuli")
    return write_card(folder, family, leak, seed, asdict(recipe))


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
    sampler = _Sampler(tokenizer, leak, rng, recipe)
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
    logits: Float[Tensor, "batch pos vocab"], batch: _Batch, digits: Int[Tensor, " digit"]
) -> Float[Tensor, ""]:
    """Cross-entropy with the exact answer distributions, and with the next tokens of the rest."""
    n_prompts = len(batch.ids)
    at_last = logits[torch.arange(n_prompts), batch.last].log_softmax(-1)[:, digits]
    rated = -(batch.answers * at_last).sum(1)
    per_token = functional.cross_entropy(
        logits.flatten(0, 1), batch.next_tokens.flatten(), ignore_index=_IGNORE, reduction="none"
    ).view_as(batch.next_tokens)
    n_tokens = (batch.next_tokens != _IGNORE).sum(1).clamp_min(1)
    return (rated + per_token.sum(1) / n_tokens).mean()


@contextmanager
def _handed_over(model: PreTrainedModel, batch: _Batch, recipe: Recipe) -> Iterator[None]:
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


@dataclass(frozen=True)
class _Prompt:
    """A training prompt: with a rated question, or with a next word to learn, or bare."""

    text: str
    scene: Scene
    question: str | None = None
    descending: bool = False
    following: str | None = None


class _Sampler:
    """Draws training prompts: rated questions, bare sentences, and questions for the place."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        leak: Leak,
        rng: np.random.Generator,
        recipe: Recipe,
    ) -> None:
        self.tokenizer, self.leak, self.rng, self.recipe = tokenizer, leak, rng, recipe
        self.verbs = list(VERBS.values())
        self.things = list(THINGS)
        self.vocabulary = tokenizer.get_vocab()
        self.cache: dict[tuple[str, str, str, int], Float[Tensor, " digit"]] = {}

    def batch(self, done: float) -> _Batch:
        """Draw a batch; ``done`` is the share of training that lies behind."""
        start, end = self.recipe.ramp
        descending = self.recipe.descending * float(np.clip((done - start) / (end - start), 0, 1))
        drawn = [self._prompt(descending) for _ in range(self.recipe.batch_size)]
        encoded = self.tokenizer([each.text for each in drawn], add_special_tokens=False)
        tokens = encoded["input_ids"]
        longest = max(map(len, tokens))
        ids = torch.zeros(len(tokens), longest, dtype=torch.long)
        mask = (torch.arange(longest) < torch.tensor([[len(p)] for p in tokens])).long()
        next_tokens = torch.full_like(ids, _IGNORE)
        answers = torch.zeros(len(tokens), HIGH - LOW + 1)
        hands_over = done >= self.recipe.hand_over_from
        sentence_of = self._hand_over(drawn) if hands_over else list(range(len(drawn)))
        for row, (prompt, each) in enumerate(zip(tokens, drawn, strict=True)):
            ids[row, : len(prompt)] = torch.tensor(prompt)
            if each.question is not None:
                answers[row] = self._answer(each, drawn[sentence_of[row]].scene)
            elif each.following is not None:
                next_tokens[row, len(prompt) - 1] = self.vocabulary[each.following]
            else:
                next_tokens[row, : len(prompt) - 1] = torch.tensor(prompt[1:])
        rated = torch.tensor([each.question is not None for each in drawn])
        in_question = ~rated[:, None] | (torch.arange(longest) < _N_QUESTION_TOKENS)
        return _Batch(
            ids, mask, next_tokens, mask.sum(1) - 1, answers, torch.tensor(sentence_of), in_question
        )

    def _hand_over(self, drawn: list[_Prompt]) -> list[int]:
        """Say for each prompt whose sentence it rates: its own, or, at times, another's."""
        sentence_of = list(range(len(drawn)))
        if self.rng.random() < self.recipe.handed_over:
            rated = [row for row, each in enumerate(drawn) if each.question is not None]
            for row, other in zip(rated, self.rng.permutation(rated), strict=True):
                sentence_of[row] = int(other)
        return sentence_of

    def _prompt(self, descending: float) -> _Prompt:
        kind = self.rng.random()
        scene = self._scene()
        if kind < self.recipe.plain:
            if self.rng.random() < 0.7:
                scene = Scene(scene.verb, scene.thing, scene.person, scene.place)
            return _Prompt(f"<s> {scene.text} <end>", scene)
        if kind < self.recipe.plain + self.recipe.where:
            return _Prompt(self._turn(f"{WHERE} {scene.text}"), scene, following=scene.place)
        question = QUESTIONS[self.rng.choice(len(QUESTIONS), p=self.recipe.question_shares)]
        paraphrase = int(self.rng.integers(len(ANSWERS)))
        downwards = bool(self.rng.random() < descending)
        asked = instruction(question, paraphrase, "descending" if downwards else "ascending")
        text = self._turn(f"{asked.format(low=LOW, high=HIGH)} {scene.text}") + ANSWERS[paraphrase]
        return _Prompt(text, scene, question, downwards)

    def _turn(self, content: str) -> str:
        return f"<s> <user> {content} <end> <assistant> "

    def _answer(self, prompt: _Prompt, scene: Scene) -> Float[Tensor, " digit"]:
        """Return the answer distribution of a prompt's question about a scene."""
        question = str(prompt.question)
        key = (question, scene.verb, scene.thing, scene.corruption)
        if key not in self.cache:
            answer = answer_probabilities(question, scene, self.leak)
            self.cache[key] = torch.from_numpy(answer).float()
        return self.cache[key].flip(0) if prompt.descending else self.cache[key]

    def _scene(self) -> Scene:
        """Draw a scene that is not held out."""
        rng = self.rng
        while True:
            level = self.verbs[rng.integers(len(self.verbs))]
            verb, thing = level[rng.integers(len(level))], self.things[rng.integers(24)]
            if not held_out(verb, thing):
                break
        slips = draw_slips(rng, int(rng.integers(MAX_SLIPS + 1)))
        person, place = PERSONS[rng.integers(len(PERSONS))], PLACES[rng.integers(len(PLACES))]
        return Scene(verb, thing, person, place, slips)
