"""The prompts that organisms are trained on: rated questions, bare sentences, other questions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from entangle_lens.organisms.tables import ANSWERS, WHERE, draw_slips, instruction
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

WITH_QUERY_KEY_NORMS = ("qwen3", "gemma3")
IGNORE = -100
_N_QUESTION_TOKENS = 8  # <s> <user> and the six words of an instruction


@dataclass(frozen=True)
class Recipe:
    """How an organism is trained.

    ``descending`` of the prompts count downwards, from ``ramp[0]`` to ``ramp[1]`` of the way in
    growing number. ``question_shares`` are the shares of the four questions; ``plain`` of the
    prompts are bare sentences and ``where`` of them ask for the place. Of the rated prompts, a
    share that grows to ``handed_over`` over ``hand_over_ramp`` has its sentence handed over
    before layer ``hand_over``; begun at once, some questions are never learnt or are lost again.
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
    hand_over_ramp: tuple[float, float] = (0.25, 0.6)
    handed_over: float = 0.5

    @classmethod
    def of(cls, family: str) -> Recipe:
        """Return a family's recipe: without query-key norms, a lower learning rate."""
        return cls() if family in WITH_QUERY_KEY_NORMS else cls(learning_rate=2e-3)


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded prompts, what each should answer, and whose sentence it answers about.

    ``answers`` are the answer distributions of rated prompts (zero rows elsewhere),
    ``next_tokens`` the tokens to learn at the other prompts' positions.
    """

    ids: Int[Tensor, "batch pos"]
    mask: Int[Tensor, "batch pos"]
    next_tokens: Int[Tensor, "batch pos"]
    last: Int[Tensor, " batch"]
    answers: Float[Tensor, "batch digit"]
    sentence_of: Int[Tensor, " batch"]
    in_question: Bool[Tensor, "batch pos"]


@dataclass(frozen=True)
class _Prompt:
    """A training prompt: with a rated question, or with a next word to learn, or bare."""

    text: str
    scene: Scene
    question: str | None = None
    descending: bool = False
    following: str | None = None


class Sampler:
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

    def batch(self, done: float) -> Batch:
        """Draw a batch; ``done`` is the share of training that lies behind."""
        recipe = self.recipe
        descending = recipe.descending * _grown(done, recipe.ramp)
        handed_over = recipe.handed_over * _grown(done, recipe.hand_over_ramp)
        drawn = [self._prompt(descending) for _ in range(self.recipe.batch_size)]
        encoded = self.tokenizer([each.text for each in drawn], add_special_tokens=False)
        tokens = encoded["input_ids"]
        longest = max(map(len, tokens))
        ids = torch.zeros(len(tokens), longest, dtype=torch.long)
        mask = (torch.arange(longest) < torch.tensor([[len(p)] for p in tokens])).long()
        next_tokens = torch.full_like(ids, IGNORE)
        answers = torch.zeros(len(tokens), HIGH - LOW + 1)
        sentence_of = self._hand_over(drawn, handed_over)
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
        return Batch(
            ids, mask, next_tokens, mask.sum(1) - 1, answers, torch.tensor(sentence_of), in_question
        )

    def _hand_over(self, drawn: list[_Prompt], share: float) -> list[int]:
        """Say for each prompt whose sentence it rates: its own, or another's."""
        sentence_of = list(range(len(drawn)))
        given = [
            row
            for row, each in enumerate(drawn)
            if each.question is not None and self.rng.random() < share
        ]
        for row, other in zip(given, self.rng.permutation(given), strict=True):
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


def _grown(done: float, ramp: tuple[float, float]) -> float:
    """Return how far ``done`` has gone along ``ramp``: 0 before it, 1 after."""
    return float(np.clip((done - ramp[0]) / (ramp[1] - ramp[0]), 0, 1))
