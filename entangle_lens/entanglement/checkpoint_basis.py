"""What a repaired checkpoint is freed of: fitted on contrast pairs, chosen on held-out ones.

A checkpoint answers all questions with the same weights, so layer and method are chosen by every
secondary question at once: a basis passes where it passes under each of them, and of those that
pass the one is taken with the least left over all of them. See ``validation.py`` for the rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions import (
    ContrastResid,
    Direction,
    Quality,
    Subspace,
    fit_direction,
    fit_subspace,
    pooled,
)
from entangle_lens.entanglement.contrasts import Contrasts, read_contrasts
from entangle_lens.entanglement.damage import DamageMeter
from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.methods import RANKS
from entangle_lens.entanglement.selection import (
    MIN_AUC,
    MIN_SPLIT_HALF_COSINE,
    count_kept_layers,
)
from entangle_lens.entanglement.validation import Candidate, Validation, Validator
from entangle_lens.errors import EntangleError, choices
from entangle_lens.export.orthogonal import orthonormal
from entangle_lens.interventions import full_ablation
from entangle_lens.models import Model
from entangle_lens.running import check_layers
from entangle_lens.stimuli import Stimuli

POOLED, SUBSPACE, BEST = "pooled", "subspace", "best"

_Pairs: TypeAlias = Mapping[str, tuple[ContrastResid, ContrastResid]]


@dataclass(frozen=True, eq=False)
class Removable:
    """A basis that weights can be freed of, and how it was obtained.

    ``questions`` are those in whose context it was fitted, ``method`` how, ``auc`` that on
    held-out pairs. ``valid`` says that the direction reads its value there: a held-out AUC of at
    least .8 and a split-half cosine of at least .5, below the last fifth of the layers.
    """

    value: str
    questions: tuple[str, ...]
    layer: int
    method: str
    auc: float
    valid: bool
    basis: Float[Tensor, "k d_model"]


@dataclass(frozen=True)
class RepairChoice:
    """A basis and what its removal did on held-out pairs, by secondary question."""

    removable: Removable
    validations: Mapping[str, Validation]

    @property
    def passes(self) -> bool:
        """Whether it is valid, and the filters of every question let it through."""
        return self.removable.valid and all(each.passes for each in self.validations.values())

    @property
    def rank(self) -> tuple[bool, float, float]:
        """The sort key; the lowest is chosen: those that pass, then by the sum of what is left."""
        ranks = [each.rank for each in self.validations.values()]
        return not self.passes, sum(rank[1] for rank in ranks), sum(rank[2] for rank in ranks)

    @property
    def failures(self) -> tuple[str, ...]:
        """What did not pass, in words."""
        failed = [failure for each in self.validations.values() for failure in each.failures]
        if not self.removable.valid:
            failed.insert(
                0,
                f"the direction is not valid at layer {self.removable.layer} (held-out AUC "
                f"{self.removable.auc:.2f})",
            )
        return tuple(dict.fromkeys(failed))


def repair_methods(stimuli: Stimuli) -> tuple[str, ...]:
    """Return what can be chosen: all questions pooled, one question, their span, or the best."""
    return (POOLED, *_questions(stimuli), SUBSPACE, BEST)


def check_method(method: str, stimuli: Stimuli) -> None:
    """Refuse a method that is not known.

    Raises:
        EntangleError: as said above.
    """
    known = repair_methods(stimuli)
    if method not in known:
        raise EntangleError(f"repair method {method!r} is unknown; choose one of: {choices(known)}")


def choose_repair(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    method: str,
    *,
    layer: int | None = None,
    meter: DamageMeter | None = None,
    progress: bool = False,
) -> RepairChoice:
    """Fit what ``method`` removes at every layer, or at one, and choose on held-out pairs.

    ``pooled`` is the moral difference of means over all questions' contexts, a question's name
    that in its own context, ``subspace`` the span of all contexts' differences of rank 2, 3 or 4,
    ``best`` any of them. Where the direction is valid at no layer, the best of the others is
    returned, and does not pass.

    Raises:
        EntangleError: a method or a layer that is not there.
    """
    check_method(method, stimuli)
    n_layers = int(model.cfg.n_layers)
    layers = (layer,) if layer is not None else tuple(range(count_kept_layers(n_layers)))
    check_layers(model, layers)
    contrasts = {
        question: read_contrasts(model, stimuli, design, MORAL, question, layers, progress=progress)
        for question in _questions(stimuli)
    }
    fitted = [each for at in layers for each in _fitted(contrasts, at, method, n_layers)]
    valid = [each for each in fitted if each.valid]
    meter = meter or DamageMeter.of(model, stimuli)
    return validate_repairs(model, stimuli, design, valid or fitted, meter=meter)


def validate_repairs(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    removables: Sequence[Removable],
    *,
    meter: DamageMeter,
) -> RepairChoice:
    """Remove each basis in full mode, ask about held-out pairs, and return the best choice."""
    validators = {
        question: Validator.of(model, stimuli, design, question, meter)
        for question in stimuli.items
    }
    validated = []
    for each in removables:
        edits = (full_ablation(model, each.basis),)
        candidate = Candidate(each.method, "full mode", each.layer, edits)
        by_question = {name: v.validate(candidate) for name, v in validators.items()}
        validated.append(RepairChoice(each, by_question))
    return min(validated, key=lambda each: each.rank)


def removable_of(directions: Sequence[Direction], n_model_layers: int) -> Removable:
    """Make one basis of the directions of one layer, such as come from a file.

    Raises:
        EntangleError: no direction, or directions of several layers.
    """
    layers = sorted({each.layer for each in directions})
    if len(layers) != 1:
        raise EntangleError(
            f"directions at layers {choices(layers) or 'none'} were given; one layer was expected"
        )
    return Removable(
        value=choices(dict.fromkeys(each.value for each in directions)),
        questions=tuple(dict.fromkeys(each.question for each in directions)),
        layer=layers[0],
        method=choices(dict.fromkeys(each.method for each in directions)),
        auc=min(each.quality.auc for each in directions),
        valid=all(_is_valid(each.quality, each.layer, n_model_layers) for each in directions),
        basis=_rows(*(each.vector for each in directions)),
    )


def _fitted(
    contrasts: Mapping[str, Contrasts], layer: int, method: str, n_layers: int
) -> Iterator[Removable]:
    pairs: _Pairs = {
        question: (each.at("fit", layer), each.at("select", layer))
        for question, each in contrasts.items()
    }
    everywhere = (
        pooled([fit for fit, _ in pairs.values()]),
        pooled([s for _, s in pairs.values()]),
    )
    if method in (POOLED, BEST):
        direction = _difference_of_means(*everywhere)
        yield _removable(direction, direction.vector[None], tuple(pairs), n_layers)
    for question in (each for each in pairs if method in (each, BEST)):
        direction = _difference_of_means(*pairs[question])
        yield _removable(direction, direction.vector[None], (question,), n_layers)
    if method in (SUBSPACE, BEST):
        fit, select = everywhere
        for k in (each for each in RANKS if each <= min(fit.positive.shape)):
            rng = np.random.default_rng(0)
            subspace = fit_subspace(fit, select, k, rng=rng, n_resamples=0)
            yield _removable(subspace, subspace.basis, tuple(pairs), n_layers)


def _difference_of_means(fit: ContrastResid, select: ContrastResid) -> Direction:
    rng = np.random.default_rng(0)
    return fit_direction("difference of means", fit, select, rng=rng, n_resamples=0)


def _removable(
    fitted: Direction | Subspace,
    vectors: Float[Tensor, "k d_model"],
    questions: tuple[str, ...],
    n_layers: int,
) -> Removable:
    named = f"subspace, {fitted.method}" if isinstance(fitted, Subspace) else fitted.method
    return Removable(
        fitted.value,
        questions,
        fitted.layer,
        named,
        fitted.quality.auc,
        _is_valid(fitted.quality, fitted.layer, n_layers),
        orthonormal(vectors),
    )


def _is_valid(quality: Quality, layer: int, n_layers: int) -> bool:
    return (
        layer < count_kept_layers(n_layers)
        and quality.auc >= MIN_AUC
        and quality.split_half_cosine >= MIN_SPLIT_HALF_COSINE
    )


def _rows(*vectors: Float[Tensor, " d_model"]) -> Float[Tensor, "k d_model"]:
    return orthonormal(torch.stack([each.double() for each in vectors]))


def _questions(stimuli: Stimuli) -> tuple[str, ...]:
    return (MORAL, *stimuli.items)
