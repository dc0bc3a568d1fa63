"""Erasing a concept with the least change: LEACE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from concept_erasure import LeaceFitter
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions.contrast import ContrastResid, check_held_out
from entangle_lens.directions.direction import Quality
from entangle_lens.directions.methods import shrunk
from entangle_lens.directions.poles import Poles, orthonormal, poles_along, scenario_codes, span_of
from entangle_lens.directions.quality import direction_quality, overlap
from entangle_lens.errors import EntangleError

_SMALLEST_LINK = 1e-6  # between whitened residuals and labels; below it there is only rounding


@dataclass(frozen=True, eq=False)
class Eraser:
    """The affine map h' = h - L R (h - mu) that leaves no linear trace of a concept.

    ``proj_left`` L spans what is taken away, ``proj_right`` R reads how much, ``bias`` is mu, the
    mean of the residuals, which the map keeps. ``rank`` is the number of dimensions erased.
    ``quality`` is that of reading the concept with R, before anything is erased.
    """

    value: str
    question: str
    layer: int
    proj_left: Float[Tensor, "d_model rank"]
    proj_right: Float[Tensor, "rank d_model"]
    bias: Float[Tensor, " d_model"]
    quality: Quality
    method: str = "LEACE"
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def rank(self) -> int:
        """Number of dimensions erased."""
        return self.proj_right.shape[0]

    def apply(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return h - L R (h - mu), computed in float64 and given back in the type of ``resid``."""
        wide = resid.double()
        erased = wide - (wide - self.bias) @ self.proj_right.T @ self.proj_left.T
        return erased.to(resid.dtype)


@dataclass(frozen=True, eq=False)
class LabelledResid:
    """Residuals at one layer with what is to be erased from them, one row an item.

    ``labels`` has one column a class (see :func:`one_hot`), a graded level, or several values
    side by side. ``scenario_ids`` names each item's scenario.

    Raises:
        EntangleError: labels or scenario ids for another number of items, numbers that are not
            finite, or a label that is the same for all items.
    """

    value: str
    question: str
    layer: int
    resid: Float[Tensor, "item d_model"]
    labels: Float[Tensor, "item label"]
    scenario_ids: tuple[str, ...]
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = len(self.resid), len(self.labels), len(self.scenario_ids)
        if len(set(counts)) > 1:
            raise EntangleError(
                f"{counts[0]} residuals, {counts[1]} rows of labels and {counts[2]} scenario ids "
                "were given; give one of each for every item"
            )
        if not (torch.isfinite(self.resid).all() and torch.isfinite(self.labels).all()):
            raise EntangleError(f"the residuals or labels of {self.value!r} are not all finite")
        constant = (self.labels == self.labels[0]).all(0)
        if constant.any():
            raise EntangleError(
                f"label column {int(constant.int().argmax())} of {self.value!r} is the same for "
                "all items, so there is nothing to erase"
            )


def one_hot(classes: Sequence[str]) -> Float[Tensor, "item class"]:
    """Return one column a class, in sorted order, 1 where the item is of that class."""
    names = sorted(set(classes))
    return torch.tensor([[float(own == name) for name in names] for own in classes]).double()


def fit_leace(
    fit: ContrastResid,
    select: ContrastResid,
    *,
    rng: np.random.Generator,
    n_resamples: int = 200,
) -> Eraser:
    """Fit the map that erases which pole a prompt belongs to.

    LEACE of Belrose et al. (arXiv 2306.03819, section 4): h' = h - W^+ P W (h - mu),
    W = Sigma_xx^(-1/2), P the orthogonal projector on range(W Sigma_xz), by the
    ``concept-erasure`` library; Sigma_xx is shrunk as in the whitened direction. Contexts are no
    part of the concept: they count as spread.

    Raises:
        EntangleError: residuals with no linear trace of the poles, or as ``fit_direction``.
    """
    check_held_out(fit, select)
    basis = span_of(fit)
    poles = poles_along(basis, fit)
    left, right, mean = _not_empty(_of_poles(poles))
    quality = direction_quality(_read, poles, poles_along(basis, select), rng, n_resamples)
    return Eraser(
        fit.value,
        fit.question,
        fit.layer,
        basis @ left,
        right @ basis.T,
        basis @ mean,
        quality,
        provenance=dict(fit.provenance),
    )


def fit_leace_to_labels(fit: LabelledResid) -> Eraser:
    """Fit the map that erases every column of ``fit.labels``: classes, levels, several values.

    The same map as :func:`fit_leace` finds for two classes. Of the quality only the split-half
    cosine is known, as the mean squared cosine of the principal angles of what R reads: other
    measures are for two poles.

    Raises:
        EntangleError: fewer than four scenarios, or residuals with no linear trace of the labels.
    """
    codes = scenario_codes(fit.scenario_ids)
    if codes.max() < 3:
        raise EntangleError(
            f"{codes.max() + 1} scenarios were given to fit; split halves need at least 4"
        )
    basis = orthonormal(fit.resid)
    rows, labels, width = fit.resid.double() @ basis, fit.labels.double(), len(basis)
    labels = (labels - labels.mean(0)) / labels.std(0)
    left, right, mean = _not_empty(_leace(rows, labels, len(rows), width))
    halves = [torch.from_numpy(codes % 2 == side) for side in (0, 1)]
    odd, even = (_leace(rows[half], labels[half], int(half.sum()), width)[1] for half in halves)
    alike = overlap(orthonormal(odd).T, orthonormal(even).T)
    return Eraser(
        fit.value,
        fit.question,
        fit.layer,
        basis @ left,
        right @ basis.T,
        basis @ mean,
        Quality(float("nan"), float("nan"), alike),
        provenance=dict(fit.provenance),
    )


_Map = tuple[Float[Tensor, "coord rank"], Float[Tensor, "rank coord"], Float[Tensor, " coord"]]


def _leace(
    rows: Float[Tensor, "item coord"],
    labels: Float[Tensor, "item label"],
    n_draws: int,
    width: int,
) -> _Map:
    """Return L, R and mu in the coordinates of ``rows``, as many columns as are erased.

    ``labels`` have a standard deviation of about one.
    """
    fitter = LeaceFitter(
        rows.shape[1],
        labels.shape[1],
        dtype=torch.float64,
        shrinkage=False,
        # Where it acts, this mixes in another projection, and the concept is no longer gone.
        constrain_cov_trace=False,
        svd_tol=_SMALLEST_LINK,
    )
    fitter.update(rows, labels)
    # Shrunk here and not there: the library would take these few axes for all of d_model.
    n = len(rows)
    fitter.sigma_xx_ = shrunk(fitter.sigma_xx_ / n, n_draws, width) * (n - 1)
    eraser = fitter.eraser
    erased = eraser.proj_right.norm(dim=1) > 0
    return eraser.proj_left[:, erased], eraser.proj_right[erased], eraser.bias


def _not_empty(found: _Map) -> _Map:
    if len(found[1]) == 0:
        raise EntangleError("the residuals have no linear link with the labels: nothing to erase")
    return found


def _of_poles(poles: Poles) -> _Map:
    rows = torch.cat([poles.high, poles.low])
    labels = torch.ones(len(rows), 1, dtype=torch.float64)
    labels[len(poles.high) :] = -1
    return _leace(rows, labels, 2 * poles.n_pairs, poles.width)


def _read(poles: Poles) -> Float[Tensor, " coord"]:
    """Return what the map reads, pointing to the positive pole."""
    _, right, _ = _of_poles(poles)
    return right[0] if right[0] @ poles.difference >= 0 else -right[0]
