"""Residuals of contrast pairs, read where a question is asked, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions import ContrastResid
from entangle_lens.entanglement.design import Design
from entangle_lens.entanglement.provenance import provenance_of
from entangle_lens.models import Model
from entangle_lens.running import rating_prompts, read_prompts
from entangle_lens.stimuli import Stimuli


@dataclass(frozen=True, eq=False)
class Contrasts:
    """One value's contrast pairs where one question is asked, at several layers.

    A context is a wording of the question in one polarity; the residuals are those after each
    layer at the last prompt token. Every pair is a scenario of its own. What is fitted to them
    carries their ``provenance``.
    """

    value: str
    question: str
    layers: tuple[int, ...]
    positive: dict[str, Float[Tensor, "context pair layer d_model"]]
    negative: dict[str, Float[Tensor, "context pair layer d_model"]]
    provenance: Mapping[str, str] = field(default_factory=dict)

    def at(self, split: str, layer: int) -> ContrastResid:
        """Return the pairs of a split, ``fit`` or ``select``, at one layer."""
        column = self.layers.index(layer)
        positive, negative = (each[split][:, :, column] for each in (self.positive, self.negative))
        scenario_ids = tuple(f"{split} {number}" for number in range(positive.shape[1]))
        return ContrastResid(
            self.value, self.question, layer, positive, negative, scenario_ids, self.provenance
        )


def read_contrasts(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    value: str,
    question: str,
    layers: Sequence[int],
    *,
    progress: bool = False,
) -> Contrasts:
    """Ask ``question`` about every contrast pair of ``value`` and keep the residuals."""
    positive, negative = {}, {}
    for split in ("fit", "select"):
        pairs = stimuli.contrasts[value, split]
        read = []
        for wording in design.questions(stimuli, question):
            texts = [*pairs.positive, *pairs.negative]
            group = rating_prompts(model, texts, wording, design.scale)
            desc = f"{value} pairs under {question}" if progress else None
            read.append(read_prompts(model, group, layers=layers, desc=desc).resid)
        resid = torch.stack(read)
        positive[split], negative[split] = resid[:, : len(pairs)], resid[:, len(pairs) :]
    about = provenance_of(model, stimuli, design)
    return Contrasts(value, question, tuple(layers), positive, negative, about)
