"""Check on a user's own model that every fast way of running it gives the plain way's numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.errors import EntangleError
from entangle_lens.interventions import ablate, ablation, full_ablation
from entangle_lens.models import Model, PlainModel, info
from entangle_lens.running import (
    NotFiniteError,
    PromptGroup,
    Reading,
    blocks_of,
    one_by_one,
    plain_behind,
    rating_prompts,
    read_ablated,
    read_plainly,
    read_prompts,
    read_right_padded,
)
from entangle_lens.stimuli import Question, Scale, Stimuli

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1, "float16": 0.02}
# Nats beyond which nothing is measured: far above rounding, also where it changes an expert.
REFUSED = {"float32": 0.01, "bfloat16": 1.0, "float16": 0.3}
FINITE = "finite numbers: prompts without"
ITEM = "the item in the prompt: prompts that equal another"
FULL = "full mode removes: share of the direction left"
_ASKED = Question("moral", "1", "ascending", "Rate this from {low} to {high}:", "Rating:")
_TEXTS = (
    "I swept the yard.",
    "I carried the old lamp down to the market and left it with the baker for a week.",
    "The neighbour's cat slept on my coat.",
    "I counted the boats.",
    "I counted the boats in the harbour and then the ones on the beach.",
    "A tree fell.",
    "We swept the yard before the guests came.",
    "The baker left a lamp in the road.",
    "After the long rain the road to the mill was closed, so I walked home along the river bank.",
)


@dataclass(frozen=True)
class Check:
    """One comparison of two ways of running a model: their largest difference.

    Residuals are compared in units of their root mean square (at least 1), log-probabilities in
    nats. ``refused`` is why the package does not do this with the model at all.
    """

    name: str
    difference: float
    tolerance: float
    refused: str = ""

    @property
    def passed(self) -> bool:
        """Whether the two ways agree, or nothing is done that could be wrong."""
        return bool(self.refused) or self.difference <= self.tolerance

    def __str__(self) -> str:
        if self.refused:
            return f"none  {self.name}: {self.refused}"
        return (
            f"{'ok  ' if self.passed else 'FAIL'}  {self.name}: largest difference "
            f"{self.difference:.1e}, allowed {self.tolerance:.0e}"
        )


def examine(model: Model, plain: PlainModel, dtype: str = "float32") -> tuple[Check, ...]:
    """Compare the ways of running ``model``; ``plain`` is the same checkpoint, unwrapped.

    Raises:
        EntangleError: a model that does not run, or whose tokenizer does not belong to it.
    """
    group = rating_prompts(model, _TEXTS, _ASKED, Scale())
    tolerance = TOLERANCE.get(dtype, 1e-4)
    with _in_one_sentence(model):
        try:
            batched = read_prompts(model, group, layers=range(int(model.cfg.n_layers)))
        except NotFiniteError as error:  # nothing can be compared with what is not finite
            return (Check(FINITE, float(error.n_prompts), 0.0),)
        # Of words that a tokenizer does not know it makes the same tokens, in every prompt.
        own = info(model).tokenizer(list(_TEXTS), add_special_tokens=False)["input_ids"]
        same = len(set(map(tuple, own))) - len(set(group.tokens))
        return (
            Check(FINITE, 0.0, 0.0),
            Check(ITEM, float(same), 0.0),
            *(
                Check(name, largest_difference(fast, slow), tolerance)
                for name, (fast, slow) in _comparisons(model, plain, group, batched).items()
            ),
            _full_mode(model, group, batched, dtype),
        )


def _comparisons(
    model: Model, plain: PlainModel, group: PromptGroup, batched: Reading
) -> dict[str, tuple[Reading, Reading]]:
    """Read the prompts in every way, clean and ablated; each fast one beside a slow one."""
    layers = range(int(model.cfg.n_layers))
    middle, blocks = len(layers) // 2, blocks_of(model, plain)
    unit = _unit(model)
    with ablate(model, unit, layers=middle):
        ablated = read_prompts(model, group, layers=layers)
    edit = ablation(model, unit, layers=middle)
    swept = read_ablated(model, group, [edit])[0]
    return {
        "batched = one prompt at a time": (batched, _single(model, group, layers)),
        "padded left = padded right": (batched, read_right_padded(model, group, layers)),
        "TransformerLens = plain transformers": (
            batched,
            read_plainly(plain, group, layers, blocks=blocks),
        ),
        "ablation by hooks = by plain transformers hooks": (
            ablated,
            read_plainly(plain, group, layers, (middle, edit.edit), blocks=blocks),
        ),
        "ablation without the bridge = by hooks": (
            read_prompts(model, group, layers=layers, edits=[edit]),
            ablated,
        ),
        "ablation resumed from the clean residual = by hooks": (
            Reading(swept, ablated.resid),
            ablated,
        ),
        "after an ablation = before it": (batched, read_prompts(model, group, layers=layers)),
    }


def _full_mode(model: Model, group: PromptGroup, clean: Reading, dtype: str) -> Check:
    """Check how much of a direction full mode leaves after any block, where it is on offer."""
    unit = _unit(model)
    try:
        edit = full_ablation(model, unit)
    except EntangleError as error:
        return Check(FULL, float("nan"), 0.0, str(error))
    left = read_prompts(model, group, layers=range(int(model.cfg.n_layers)), edits=[edit]).resid
    held = (clean.resid @ unit).pow(2).mean(0).sqrt()
    share = float(((left @ unit).pow(2).mean(0).sqrt() / held).max())
    return Check(FULL, share, 1e-3 if dtype == "float32" else 0.1)


def examine_briefly(model: Model, stimuli: Stimuli, design: Design) -> None:
    """Refuse a model whose numbers cannot be trusted, after two of the study's own prompts.

    They are the shortest and the longest item. Seconds are spent here so that hours are not spent
    on numbers that are none, or that depend on which prompts share a batch.

    Raises:
        EntangleError: numbers that are not finite, two items that give one prompt, a prompt that
            reads differently in a batch, a bridge that differs from transformers, or a model that
            does not run.
    """
    group = _two_prompts(model, stimuli, design)
    name, allowed = info(model).name, REFUSED.get(info(model).dtype, REFUSED["float32"])
    with _in_one_sentence(model):
        ways = _ways(model, group)
    for what, (one, other) in ways.items():
        difference = _nats(one, other)
        if not difference <= allowed:
            raise EntangleError(
                f"model {name!r} cannot be measured: {what} differ by {difference:.2g} nats, and "
                f"{allowed:g} are allowed; 'entangle-lens doctor' compares all ways of running it"
            )


def _two_prompts(model: Model, stimuli: Stimuli, design: Design) -> PromptGroup:
    """Ask the first question of the shortest and of the longest item, up to the rating."""
    texts = sorted({text for items in stimuli.items.values() for text in items.texts}, key=len)
    short, long = texts[0], texts[-1]
    question = design.questions(stimuli, MORAL)[0]
    asked = rating_prompts(model, [short, long], question, design.scale)
    if short != long and asked.tokens[0] == asked.tokens[1]:
        raise EntangleError(
            f"the items {short!r} and {long!r} give one and the same prompt for model "
            f"{info(model).name!r}: its chat template or its tokenizer loses the item"
        )
    tokens, options = asked.tokens, tuple(dict.fromkeys(each[:1] for each in asked.options))
    if len(set(map(len, tokens))) == 1:  # half of one too, or a batch of them would need no padding
        tokens = (*tokens, tokens[0][: len(tokens[0]) // 2])
    return PromptGroup(tokens, options)


def _ways(model: Model, group: PromptGroup) -> dict[str, tuple[Reading, Reading]]:
    last = [int(model.cfg.n_layers) - 1]
    batched, alone = read_prompts(model, group, layers=last), _single(model, group, last)
    plain = plain_behind(model)
    plainly = alone
    if plain is not None:
        plainly = read_plainly(plain, group, last, blocks=blocks_of(model, plain))
    return {
        "a prompt in a batch and the same prompt alone": (batched, alone),
        "the model with and without TransformerLens's hook points": (
            read_right_padded(model, group, last),
            batched,
        ),
        "TransformerLens and plain transformers": (alone, plainly),
    }


def largest_difference(fast: Reading, slow: Reading) -> float:
    """Return the largest difference in scaled residuals and in log-probabilities.

    It is infinite where either holds a number that is not finite.
    """
    scale = max(1.0, float(slow.resid.pow(2).mean().sqrt()))
    return max(_largest((fast.resid - slow.resid) / scale), _nats(fast, slow))


def _nats(one: Reading, other: Reading) -> float:
    return _largest(one.log_probs - other.log_probs)


def _largest(differences: Float[Tensor, "..."]) -> float:
    """Return the largest absolute value; Python's ``max`` would pass over NaN."""
    return float(differences.abs().nan_to_num(nan=torch.inf, posinf=torch.inf).max())


def _unit(model: Model) -> Float[Tensor, " d_model"]:
    drawn = torch.randn(int(model.cfg.d_model), generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(drawn, dim=0)


@contextmanager
def _in_one_sentence(model: Model) -> Iterator[None]:
    """Turn what a model raises when it is run into an :class:`EntangleError`; memory aside."""
    try:
        yield
    except (EntangleError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        about, said = info(model), " ".join(str(error).split())[:300]
        raise EntangleError(
            f"model {about.name!r} ({about.architecture}) does not run: "
            f"{type(error).__name__}: {said}"
        ) from error


def _single(model: Model, group: PromptGroup, layers: Sequence[int]) -> Reading:
    each = [read_prompts(model, single, layers=layers) for single in one_by_one(group)]

    def joined(name: str) -> Float[Tensor, "prompt ..."]:
        return torch.cat([getattr(reading, name) for reading in each])

    return Reading(joined("log_probs"), joined("resid"))
