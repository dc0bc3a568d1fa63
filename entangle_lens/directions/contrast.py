"""What the fits here read: residuals of contrast pairs at one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.errors import EntangleError, choices

POOLED = "pooled"
_MIN_FIT_SCENARIOS = 4  # two in each half, so that either half has a spread of its own


@dataclass(frozen=True, eq=False)
class ContrastResid:
    """Residuals at one layer of the two poles of one value's contrast pairs.

    ``context`` counts the wordings (templates, scale polarities) in which every pair was asked;
    one is enough. ``question`` is the value whose question was asked, or ``"pooled"``.
    ``scenario_ids`` names each pair's scenario, which is what gets resampled. Results carry
    ``provenance`` on.

    Raises:
        EntangleError: poles of unlike shape, fewer than two pairs, another number of scenario
            ids than pairs, or a residual that is not finite.
    """

    value: str
    question: str
    layer: int
    positive: Float[Tensor, "context pair d_model"]
    negative: Float[Tensor, "context pair d_model"]
    scenario_ids: tuple[str, ...]
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = tuple(self.positive.shape)
        if len(shape) != 3 or shape != tuple(self.negative.shape):
            raise EntangleError(
                f"the positive residuals have shape {shape} and the negative ones "
                f"{tuple(self.negative.shape)}; both must be [context, pair, d_model]"
            )
        if 0 in shape or shape[1] < 2:
            raise EntangleError(
                f"residuals of shape {shape} hold {shape[1]} pairs in {shape[0]} contexts; "
                "a contrast needs at least 2 pairs in 1 context"
            )
        if len(self.scenario_ids) != shape[1]:
            raise EntangleError(
                f"{len(self.scenario_ids)} scenario ids were given for {shape[1]} pairs"
            )
        if not (torch.isfinite(self.positive).all() and torch.isfinite(self.negative).all()):
            raise EntangleError(
                f"the residuals of {self.value!r} at layer {self.layer} are not all finite numbers"
            )

    @property
    def n_scenarios(self) -> int:
        """Number of different scenarios."""
        return len(set(self.scenario_ids))


def pooled(contrasts: Sequence[ContrastResid]) -> ContrastResid:
    """Return one contrast whose contexts are those of all ``contrasts``, question ``"pooled"``.

    The same pairs of one value, asked under several questions, become more contexts of the same
    pairs. Nothing is centred: what a question adds to every residual stays in. Of the
    provenance, the entries on which all agree are kept.

    Raises:
        EntangleError: no contrasts, or contrasts of unlike value, layer, d_model or pairs.
    """
    if not contrasts:
        raise EntangleError("no contrasts were given to pool; give at least one")
    first = contrasts[0]
    for other in contrasts[1:]:
        _check_alike(first, other)
    shared = set.intersection(*(set(each.provenance.items()) for each in contrasts))
    return ContrastResid(
        first.value,
        POOLED,
        first.layer,
        torch.cat([each.positive for each in contrasts]),
        torch.cat([each.negative for each in contrasts]),
        first.scenario_ids,
        {**dict(sorted(shared)), "pooled_questions": choices(each.question for each in contrasts)},
    )


def check_held_out(fit: ContrastResid, select: ContrastResid) -> None:
    """Raise an error unless ``select`` can judge what is fitted on ``fit``."""
    if _place(fit) != _place(select):
        raise EntangleError(
            f"fit is {_place(fit)} and select {_place(select)}; value, question, layer and "
            "d_model must be the same"
        )
    shared = sorted(set(fit.scenario_ids) & set(select.scenario_ids))
    if shared:
        raise EntangleError(
            f"{len(shared)} scenarios are in both fit and select, the first {shared[0]!r}; "
            "select must be scenarios that the fit has not seen"
        )
    if fit.positive.equal(fit.negative):
        raise EntangleError(
            f"the two poles of {fit.value!r} hold the same residuals at layer {fit.layer}, so "
            "there is nothing to fit"
        )
    if fit.n_scenarios < _MIN_FIT_SCENARIOS:
        raise EntangleError(
            f"{fit.n_scenarios} scenarios were given to fit; split halves need at least "
            f"{_MIN_FIT_SCENARIOS}"
        )


def _place(contrast: ContrastResid) -> tuple[str, str, int, int]:
    return contrast.value, contrast.question, contrast.layer, contrast.positive.shape[-1]


def _check_alike(first: ContrastResid, other: ContrastResid) -> None:
    for name, one, two in (
        ("value", first.value, other.value),
        ("layer", first.layer, other.layer),
        ("d_model", first.positive.shape[-1], other.positive.shape[-1]),
        ("scenarios", first.scenario_ids, other.scenario_ids),
    ):
        if one != two:
            raise EntangleError(
                f"the contrasts to pool differ in {name}, {one} and {two}; pool the same pairs of "
                "one value at one layer under several questions"
            )
