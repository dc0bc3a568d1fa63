"""What else an ablation changes: neutral prompts, grammar of sentences, value-free ratings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import spearmanr
from torch import Tensor

from entangle_lens.entanglement.asking import Arm
from entangle_lens.entanglement.design import Design
from entangle_lens.entanglement.ratings import rate
from entangle_lens.models import Model
from entangle_lens.running import (
    Edit,
    chat_prompts,
    next_token_log_probs,
    plain_prompts,
    sequence_log_probs,
)
from entangle_lens.stimuli import Stimuli

ACCEPTED_KL = 0.1


@dataclass(frozen=True, eq=False)
class SideEffects:
    """Side effects of one ablation, or the clean values of the same measures.

    ``kl`` is the mean KL(clean || ablated) of the next-token distribution on neutral prompts, in
    nats (Arditi et al. discard ablations above 0.1), ``kl_each`` that of every prompt.
    ``minimal_pairs`` is the share of pairs whose grammatical member has the higher probability.
    ``controls`` holds, for each value-free set, the rank correlation of the ratings with the
    objective numbers. What the stimuli have no table for is None or empty.
    """

    arm: str
    kl: float | None
    kl_each: Float[np.ndarray, " prompt"] | None
    minimal_pairs: float | None
    controls: dict[str, float]


def measure_side_effects(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    clean: Float[Tensor, "prompt vocab"] | None,
    arm: Arm | None = None,
    *,
    progress: bool = False,
) -> SideEffects:
    """Measure one ablation, or the clean model, on text that has nothing to do with value.

    ``clean`` is what :func:`next_tokens` gives for the clean model.
    """
    name = "clean" if arm is None else arm.name
    desc = f"side effects: {name}" if progress else None
    edits = () if arm is None else (arm.ablation(model),)
    after = clean if arm is None else next_tokens(model, stimuli, edits)
    each = None if clean is None else kl_each(clean, after)
    return SideEffects(
        arm=name,
        kl=None if each is None else float(each.mean()),
        kl_each=each,
        minimal_pairs=share_of_minimal_pairs(model, stimuli, edits),
        controls=_controls(model, stimuli, design, edits, desc),
    )


def next_tokens(
    model: Model, stimuli: Stimuli, edits: Sequence[Edit] = ()
) -> Float[Tensor, "prompt vocab"] | None:
    """Return the next-token distribution after every neutral prompt, if there are any."""
    if not stimuli.neutral:
        return None
    return next_token_log_probs(model, chat_prompts(model, stimuli.neutral), edits=edits)


def kl_each(
    clean: Float[Tensor, "prompt vocab"], ablated: Float[Tensor, "prompt vocab"] | None
) -> Float[np.ndarray, " prompt"]:
    """Return KL(clean || ablated) of every prompt, in nats."""
    assert ablated is not None
    kl = torch.nn.functional.kl_div(ablated, clean, reduction="none", log_target=True).sum(-1)
    return kl.double().clamp_min(0).numpy()


def share_of_minimal_pairs(model: Model, stimuli: Stimuli, edits: Sequence[Edit]) -> float | None:
    """Return the share of pairs whose grammatical member is likelier, if there are pairs."""
    if not stimuli.minimal_pairs:
        return None
    texts = [text for pair in stimuli.minimal_pairs for text in pair]
    log_probs = sequence_log_probs(model, plain_prompts(model, texts), edits=edits).numpy()
    return float((log_probs[0::2] > log_probs[1::2]).mean())


def _controls(
    model: Model, stimuli: Stimuli, design: Design, edits: Sequence[Edit], desc: str | None
) -> dict[str, float]:
    accuracies = {}
    for control in stimuli.controls:
        asked = design.repair_questions(stimuli, control.name)
        ratings, _ = rate(model, control.texts, asked, design.scale, edits=edits, desc=desc)
        accuracies[control.name] = float(spearmanr(ratings.mean, control.numbers).statistic)
    return accuracies
