"""Check on a user's own model that every fast way of running it gives the plain way's numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.interventions import ablate, ablation
from entangle_lens.models import Model, PlainModel
from entangle_lens.running import (
    PromptGroup,
    Reading,
    one_by_one,
    rating_prompts,
    read_ablated,
    read_plainly,
    read_prompts,
    read_right_padded,
)
from entangle_lens.stimuli import Question, Scale

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1, "float16": 0.02}
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
    nats.
    """

    name: str
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the two ways agree."""
        return self.difference <= self.tolerance


def examine(model: Model, plain: PlainModel, dtype: str = "float32") -> tuple[Check, ...]:
    """Compare the ways of running ``model``; ``plain`` is the same checkpoint, unwrapped."""
    group = rating_prompts(model, _TEXTS, _ASKED, Scale())
    layers = range(int(model.cfg.n_layers))
    middle = len(layers) // 2
    unit = torch.nn.functional.normalize(
        torch.randn(int(model.cfg.d_model), generator=torch.Generator().manual_seed(0)), dim=0
    )
    batched = read_prompts(model, group, layers=layers)
    with ablate(model, unit, layers=middle):
        ablated = read_prompts(model, group, layers=layers)
    edit = ablation(model, unit, layers=middle)
    swept = read_ablated(model, group, [edit])[0]
    comparisons = {
        "batched = one prompt at a time": (batched, _single(model, group, layers)),
        "padded left = padded right": (batched, read_right_padded(model, group, layers)),
        "TransformerLens = plain transformers": (batched, read_plainly(plain, group, layers)),
        "ablation by hooks = by plain transformers hooks": (
            ablated,
            read_plainly(plain, group, layers, (middle, edit.edit)),
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
    tolerance = TOLERANCE.get(dtype, 1e-4)
    return tuple(
        Check(name, largest_difference(fast, slow), tolerance)
        for name, (fast, slow) in comparisons.items()
    )


def largest_difference(fast: Reading, slow: Reading) -> float:
    """Return the largest difference in scaled residuals and in log-probabilities."""
    scale = max(1.0, float(slow.resid.pow(2).mean().sqrt()))
    resid = float((fast.resid - slow.resid).abs().max()) / scale
    return max(resid, float((fast.log_probs - slow.log_probs).abs().max()))


def _single(model: Model, group: PromptGroup, layers: range) -> Reading:
    each = [read_prompts(model, single, layers=layers) for single in one_by_one(group)]

    def joined(name: str) -> Float[Tensor, "prompt ..."]:
        return torch.cat([getattr(reading, name) for reading in each])

    return Reading(joined("log_probs"), joined("resid"))
