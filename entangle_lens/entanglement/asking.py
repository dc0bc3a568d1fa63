"""Put the moral and the secondary question to a model, clean or with a direction ablated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.outcomes import Asked
from entangle_lens.entanglement.ratings import Ratings, rate, summarise
from entangle_lens.entanglement.residual import Fitted
from entangle_lens.interventions import Layers, ablation
from entangle_lens.models import Model
from entangle_lens.running import (
    Ablation,
    Edit,
    PromptGroup,
    rating_prompts,
    read_ablated,
    read_prompts,
)
from entangle_lens.statistics import pearson
from entangle_lens.stimuli import ItemSet, Question, Stimuli


@dataclass(frozen=True, eq=False)
class Arm:
    """One thing to ablate: a direction, and after which layers."""

    name: str
    description: str
    vector: Float[Tensor, " d_model"]
    layers: Layers

    def ablation(self, model: Model) -> Ablation:
        """Return the edit of ``model`` that this is."""
        return ablation(model, self.vector, layers=self.layers)


@dataclass(frozen=True)
class Asker:
    """Asks both questions about one item set, in the wordings kept for interventions."""

    model: Model
    stimuli: Stimuli
    design: Design
    item_set: ItemSet
    fitted: Fitted
    progress: bool = False

    def ask(self, arm: Arm | None, *, with_residuals: bool = False) -> Asked:
        """Rate the items on both values, clean (None) or under an ablation."""
        name = "clean" if arm is None else arm.name
        layers = self.fitted[MORAL, MORAL].layers if with_residuals else ()
        edits = () if arm is None else (arm.ablation(self.model),)
        moral, moral_resid = self.rate(MORAL, layers, edits, name)
        secondary, secondary_resid = self.rate(self.item_set.secondary, layers, edits, name)
        if not with_residuals:
            return Asked(moral, secondary)
        own = self.item_set.secondary
        correlation = pearson(
            self.fitted[MORAL, MORAL].project(moral_resid),
            self.fitted[own, own].project(secondary_resid),
        )
        return Asked(moral, secondary, correlation)

    def residuals(self, layer: int) -> Float[Tensor, "prompt d_model"]:
        """Return the clean residuals after ``layer`` at each prompt of the secondary question."""
        read = [
            read_prompts(self.model, group, layers=[layer]).resid[:, 0]
            for group in map(self._prompts, self._questions(self.item_set.secondary))
        ]
        return torch.cat(read)

    def ratings_without(
        self, value: str, ablations: Sequence[Ablation], desc: str, *, with_mass: bool = True
    ) -> tuple[Float[np.ndarray, "ablation item"], Float[np.ndarray, "ablation item"]]:
        """Return mean ratings and option masses under each of many one-layer ablations.

        Without masses (one throughout) only the options are unembedded.
        """
        asked = self._questions(value)
        ratings = np.zeros((len(ablations), len(self.item_set)))
        mass = np.zeros_like(ratings)
        shown = f"{self.item_set.name}, {value} ratings: {desc}" if self.progress else None
        for question in asked:
            log_probs = read_ablated(
                self.model,
                self._prompts(question),
                ablations,
                renormalised=not with_mass,
                desc=shown,
            )
            mean, _, total = summarise(log_probs, question, self.design.scale)
            ratings += mean / len(asked)
            mass += total / len(asked)
        return ratings, mass

    def rate(
        self,
        value: str,
        layers: tuple[int, ...] = (),
        edits: Sequence[Edit] = (),
        name: str = "clean",
        preamble: str = "",
    ) -> tuple[Ratings, Float[Tensor, "item layer d_model"]]:
        """Rate the items on one value under ``edits``; return residuals after ``layers`` too.

        ``preamble`` is said before every question.
        """
        return rate(
            self.model,
            self.item_set.texts,
            [question.after(preamble) for question in self._questions(value)],
            self.design.scale,
            layers=layers,
            edits=edits,
            desc=f"{self.item_set.name}, {value} ratings: {name}" if self.progress else None,
        )

    def _prompts(self, question: Question) -> PromptGroup:
        return rating_prompts(self.model, self.item_set.texts, question, self.design.scale)

    def _questions(self, value: str) -> tuple[Question, ...]:
        return self.design.repair_questions(self.stimuli, value)
