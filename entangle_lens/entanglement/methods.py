"""The interventions that are compared: what each one fits, and the edits that it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions import (
    ContrastResid,
    fit_direction,
    fit_leace,
    fit_probe,
    fit_subspace,
    pooled,
)
from entangle_lens.errors import EntangleError
from entangle_lens.interventions import (
    ablation,
    affine_ablation,
    erasure,
    full_ablation,
    least_shift,
    steering,
    subspace_ablation,
)
from entangle_lens.models import Model
from entangle_lens.running import Edit, check_full_mode

RANKS = (2, 3, 4)
COEFFICIENTS = (-0.25, -0.5, -1.0)
PROBABILITIES = (0.5, 0.25)
_ONE = "one layer"


@dataclass(frozen=True, eq=False)
class Fits:
    """What a method may fit on: moral pairs at one layer, in one question's context and in all.

    ``fit`` and ``select`` are asked under the secondary question, ``fit_all`` and ``select_all``
    under every question (pooled); ``others`` are the graded values' directions in that context.
    """

    model: Model
    layer: int
    fit: ContrastResid
    select: ContrastResid
    fit_all: ContrastResid
    select_all: ContrastResid
    others: Float[Tensor, "other d_model"]

    @property
    def rng(self) -> np.random.Generator:
        """The same draws for every method."""
        return np.random.default_rng(0)

    def vector(self, method: str, *, everywhere: bool = False) -> Float[Tensor, " d_model"]:
        """Fit a direction by one of the methods of :data:`entangle_lens.directions.METHODS`."""
        fit, select = (self.fit_all, self.select_all) if everywhere else (self.fit, self.select)
        others = self.others if method == "disentangled" else None
        fitted = fit_direction(method, fit, select, others=others, rng=self.rng, n_resamples=0)
        return fitted.vector


Candidates = Mapping[str, tuple[Edit, ...]]
"""Edits by the name of their setting."""


@dataclass(frozen=True)
class Method:
    """One published way to remove a value: its formula, where it is from, when it is the one.

    ``make`` returns the edits at one layer, one entry a setting that validation chooses among.
    """

    name: str
    formula: str
    source: str
    when: str
    make: Callable[[Fits], Candidates]


def _along(method: str) -> Callable[[Fits], Candidates]:
    def make(fits: Fits) -> Candidates:
        return {_ONE: (ablation(fits.model, fits.vector(method), layers=fits.layer),)}

    return make


def _all_layers(fits: Fits) -> Candidates:
    vector = fits.vector("difference of means")
    return {"every block output": (ablation(fits.model, vector, layers="all"),)}


def _full(fits: Fits) -> Candidates:
    return {"full mode": (full_ablation(fits.model, fits.vector("difference of means")),)}


def _pooled(fits: Fits) -> Candidates:
    vector = fits.vector("difference of means", everywhere=True)
    return {_ONE: (ablation(fits.model, vector, layers=fits.layer),)}


def _affine(fits: Fits) -> Candidates:
    vector = fits.vector("difference of means")
    middle = (fits.fit.positive.double() + fits.fit.negative.double()).mean((0, 1)) / 2
    edit = affine_ablation(fits.model, vector, reference=middle, layers=fits.layer)
    return {_ONE: (edit,)}


def _subspaces(method: str) -> Callable[[Fits], Candidates]:
    def make(fits: Fits) -> Candidates:
        rank = min(fits.fit.positive.shape[:2]) if method == "class means" else max(RANKS)
        made = {}
        for k in (each for each in RANKS if each <= rank):
            fitted = fit_subspace(fits.fit, fits.select, k, method, rng=fits.rng, n_resamples=0)
            made[f"rank {k}"] = (subspace_ablation(fits.model, fitted),)
        return made

    return make


def _span_of_questions(fits: Fits) -> Candidates:
    """Take the directions of the question's own context and of all questions together."""
    both = [fits.vector("difference of means", everywhere=each) for each in (False, True)]
    basis = torch.stack(both)
    return {_ONE: (subspace_ablation(fits.model, basis, layers=fits.layer),)}


def _leace(fits: Fits) -> Candidates:
    eraser = fit_leace(fits.fit, fits.select, rng=fits.rng, n_resamples=0)
    return {_ONE: (erasure(fits.model, eraser),)}


def _steering(fits: Fits) -> Candidates:
    vector = fits.vector("difference of means")
    return {
        f"coefficient {c:g}": (steering(fits.model, vector, c, layers=fits.layer),)
        for c in COEFFICIENTS
    }


def _conva(fits: Fits) -> Candidates:
    probe = fit_probe(fits.fit, fits.select)
    return {
        f"P0 = {p:g}": (least_shift(fits.model, probe, fits.layer, p, suppress=True),)
        for p in PROBABILITIES
    }


_FULL = "ablation, full mode"
_DIM = "h' = h - r (r . h), r = mean(h|+) - mean(h|-)"
_ARDITI = "Arditi et al., arXiv 2406.11717"
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        each.name: each
        for each in (
            Method("ablation", _DIM, _ARDITI, "the plain way", _along("difference of means")),
            Method(
                "ablation, every block output", _DIM, _ARDITI,
                "the value is written again after one layer", _all_layers,
            ),
            Method(
                _FULL, f"{_DIM} from all that is written to the stream", _ARDITI,
                "a checkpoint is wanted", _full,
            ),
            Method(
                "ablation, pooled contexts", f"{_DIM}, over all questions", "here",
                "one direction for all questions", _pooled,
            ),
            Method(
                "affine ablation", "h' = h - r (r . (h - mu))",
                "Marshall et al., arXiv 2411.09003", "zero is far from the data", _affine,
            ),
            Method(
                "whitened", "r = Sigma^-1 (mean(h|+) - mean(h|-))",
                "Marks & Tegmark, arXiv 2310.06824", "loud nuisance axes (equals LDA)",
                _along("whitened"),
            ),
            Method(
                "logistic probe", "r = w of P(+) = sigmoid(w . h + b)", "ConVA, arXiv 2507.11316",
                "classes overlap", _along("logistic probe"),
            ),
            Method(
                "PCA of pair differences", "r = first right singular vector of h+ - h-",
                "Zou et al., arXiv 2310.01405", "pairs are matched closely",
                _along("PCA of pair differences"),
            ),
            Method(
                "disentangled", "r - Q Q^T r, Q spans the other values", "here",
                "the moral direction holds the other values too", _along("disentangled"),
            ),
            Method(
                "subspace, class means", "h' = h - B^T B h, B spans the contexts' differences",
                "here", "one direction leaves part of the leak", _subspaces("class means"),
            ),
            Method(
                "subspace, pair differences", "h' = h - B^T B h, B spans h+ - h-", "here",
                "the value has many faces", _subspaces("pair differences"),
            ),
            Method(
                "own and pooled directions", "h' = h - B^T B h, B spans both differences of means",
                "here", "the context adds its own direction", _span_of_questions,
            ),
            Method(
                "LEACE", "h' = h - W^+ P W (h - mu)", "Belrose et al., arXiv 2306.03819",
                "nothing linear may be left, at the least change", _leace,
            ),
            Method(
                "steering", "h' = h + c (mean(h|+) - mean(h|-))", "Turner et al., arXiv 2308.10248",
                "the value is to be moved, not removed", _steering,
            ),
            Method(
                "ConVA", "h' = h + min(0, (logit P0 - w.h - b)/|w|) w/|w|",
                "arXiv 2507.11316", "the value is to stay below a set probability", _conva,
            ),
        )
    }
)  # fmt: skip
"""The methods by name, in the order in which they are shown."""


def usable(model: Model, methods: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return those of ``methods`` that the model can be put under, and why others are left out.

    Raises:
        EntangleError: none is left.
    """
    if _FULL not in methods:
        return tuple(methods), ()
    try:
        check_full_mode(model)
    except EntangleError as error:
        left = tuple(name for name in methods if name != _FULL)
        if not left:
            raise
        return left, (f"{_FULL} is left out: {error}",)
    return tuple(methods), ()


def fits_at(
    model: Model,
    layer: int,
    contrasts: Mapping[str, tuple[ContrastResid, ContrastResid]],
    secondary: str,
    others: Float[Tensor, "other d_model"],
) -> Fits:
    """Gather what methods fit on, from (fit, select) pairs at one layer by question."""
    fit, select = contrasts[secondary]
    fit_all = pooled([each for each, _ in contrasts.values()])
    select_all = pooled([each for _, each in contrasts.values()])
    return Fits(model, layer, fit, select, fit_all, select_all, others)
