"""At which tokens of a prompt activations are read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.errors import EntangleError, choices
from entangle_lens.running.prompts import PromptGroup

LAST = "last"
ONE_EACH = (LAST, "item_last", "item_mean")  # one row per prompt
POSITIONS = (*ONE_EACH, "all")
Span = tuple[int, int]


def read_spans(group: PromptGroup, position: str) -> list[Span]:
    """Return for each prompt the tokens, first to before-last, that ``position`` reads.

    ``last`` is the last prompt token, ``item_last`` the last token that holds some of the item,
    ``item_mean`` all that do, ``all`` every token.

    Raises:
        EntangleError: another rule, or prompts whose item's place is not known.
    """
    if position not in POSITIONS:
        raise EntangleError(
            f"position {position!r} is unknown; the choices are {choices(POSITIONS)}"
        )
    if position in (LAST, "all"):
        return [(0 if position == "all" else len(ids) - 1, len(ids)) for ids in group.tokens]
    if not group.spans:
        raise EntangleError(
            f"position {position!r} needs to know where the item stands, and these prompts do not "
            "say: make them with rating_prompts and a tokenizer that gives character offsets"
        )
    if position == "item_last":
        return [(end - 1, end) for _, end in group.spans]
    return list(group.spans)


def mean_over(
    activation: Float[Tensor, "batch pos d"],
    spans: Sequence[Span],
    start: int,
) -> Float[Tensor, "batch d"]:
    """Return each row's share of the mean over its span, ``start`` being the first token's place.

    What lies outside this stretch of the prompt is left to the other stretches: their results
    add up to the mean.
    """
    if len({span[1] - span[0] for span in spans}) == 1 and spans[0][1] - spans[0][0] == 1:
        places = torch.tensor([first - start for first, _ in spans], device=activation.device)
        inside = (places >= 0) & (places < activation.shape[1])
        rows = torch.arange(len(spans), device=activation.device)
        one = activation[rows, places.clamp(0, activation.shape[1] - 1)].float()
        return one * inside[:, None]
    weights = torch.zeros(len(spans), activation.shape[1], device=activation.device)
    for row, (first, end) in enumerate(spans):
        weights[row, max(0, first - start) : max(0, end - start)] = 1 / (end - first)
    return torch.einsum("bp,bpd->bd", weights, activation.float())
