"""Interventions from directions, subspaces, erasers and probes, checked against a model."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions import Direction, Eraser, Probe, Subspace, unit
from entangle_lens.errors import EntangleError
from entangle_lens.interventions.arguments import (
    Layers,
    Vector,
    Vectors,
    as_direction,
    as_vectors,
    chosen_layers,
)
from entangle_lens.interventions.removals import Removal
from entangle_lens.interventions.shifts import LeastShift, PromptLeastShift, Steering
from entangle_lens.models import Model
from entangle_lens.running import FULL_MODE, Ablation, check_full_mode


def ablation(
    model: Model,
    direction: Direction | Vector,
    *,
    layers: Layers | None = None,
    strength: float = 1.0,
) -> Ablation:
    """Describe the ablation of ``direction`` from block outputs of ``model``.

    h' = h - s r (r . h), Arditi et al. (arXiv 2406.11717), equation 4. ``layers`` is one layer,
    several, or ``"all"``; by default the layer that a Direction was fitted at. A bare vector needs
    ``layers``. For the full mode, which is another intervention, see :func:`full_ablation`.
    """
    vector = _vector(model, direction)
    return Ablation(unit(vector), chosen_layers(model, direction, layers), strength)


def full_ablation(
    model: Model,
    direction: Direction | Subspace | Vectors,
    *,
    strength: float = 1.0,
) -> Removal:
    """Describe the ablation from everything that is written to the residual stream.

    The full mode of Arditi et al. (arXiv 2406.11717): each block's input, attention output and MLP
    output. Equal to orthogonalised weights.

    Raises:
        EntangleError: a model in which this does not remove a direction, which is tried once, or a
            direction that does not fit it.
    """
    check_full_mode(model)
    basis = _basis(model, direction)
    return Removal(
        basis.T, basis, chosen_layers(model, direction, "all"), None, strength, FULL_MODE
    )


def subspace_ablation(
    model: Model,
    subspace: Subspace | Vectors,
    *,
    layers: Layers | None = None,
    strength: float = 1.0,
) -> Removal:
    """Describe the ablation h' = h - s B^T B h of a subspace with orthonormal rows B."""
    basis = _basis(model, subspace)
    return Removal(basis.T, basis, chosen_layers(model, subspace, layers), None, strength)


def affine_ablation(
    model: Model,
    direction: Direction | Subspace | Vectors,
    *,
    reference: Vector | None = None,
    layers: Layers | None = None,
    strength: float = 1.0,
) -> Removal:
    """Describe affine (mean) ablation h' = h - s B^T B (h - mu): the part is set to its mean.

    Marshall et al. (arXiv 2411.09003). ``reference`` is mu, by default the mean that the direction
    measures projections from.
    """
    if reference is None:
        if not isinstance(direction, Direction | Subspace):
            raise EntangleError("a bare vector was given without a reference; give the mean too")
        reference = direction.mean
    basis = _basis(model, direction)
    chosen = chosen_layers(model, direction, layers)
    mean = as_vectors(model, reference, "the reference").double()
    return Removal(basis.T, basis, chosen, mean, strength)


def clamp(
    model: Model,
    direction: Direction,
    to: Literal["positive", "negative"],
    *,
    layers: Layers | None = None,
) -> Removal:
    """Describe the clamp of a direction's projection to the mean of one of its classes."""
    if to not in ("positive", "negative"):
        raise EntangleError(f"clamp to {to!r} is unknown; choose positive or negative")
    if not isinstance(direction, Direction):
        raise EntangleError(
            f"a {type(direction).__name__} was given to clamp; a Direction was expected, which "
            "knows the means of its classes"
        )
    half = direction.vector / 2
    mean = direction.mean + half if to == "positive" else direction.mean - half
    return affine_ablation(model, direction, reference=mean, layers=layers)


def erasure(
    model: Model, eraser: Eraser, *, layers: Layers | None = None, strength: float = 1.0
) -> Removal:
    """Describe LEACE's erasure h' = h - W^+ P W (h - mu).

    Belrose et al. (arXiv 2306.03819), equation 1.
    """
    mean = as_vectors(model, eraser.bias, "the eraser's bias")
    left, right = eraser.proj_left.double(), eraser.proj_right.double()
    return Removal(left, right, chosen_layers(model, eraser, layers), mean, strength)


def steering(
    model: Model,
    direction: Direction | Vector,
    coefficient: float,
    *,
    layers: Layers | None = None,
) -> Steering:
    """Describe steering h' = h + c v, c in units of the distance between the class means."""
    vector = _vector(model, direction)
    return Steering(vector, coefficient, chosen_layers(model, direction, layers))


def least_shift(
    model: Model,
    probe: Probe,
    layer: int,
    probability: float,
    *,
    suppress: bool = False,
    per: Literal["token", "prompt"] = "prompt",
) -> LeastShift | PromptLeastShift:
    """Describe ConVA's least shift to a probe's ``probability`` (arXiv 2507.11316) at ``layer``.

    One a layer, in ascending order: each probe reads what the lower shifts have left.
    """
    (at,) = chosen_layers(model, probe, layer)
    weight = as_direction(model, probe.weight, "the probe's weight")
    shift = LeastShift(weight, probe.bias, at, probability, suppress)
    return PromptLeastShift(shift) if per == "prompt" else shift


def _vector(model: Model, direction: Direction | Vector) -> Float[Tensor, " d_model"]:
    vector = direction.vector if isinstance(direction, Direction) else direction
    return as_direction(model, vector, "the direction")


def _basis(model: Model, given: Direction | Subspace | Vectors) -> Float[Tensor, "k d_model"]:
    """Return orthonormal rows that span what was given."""
    if isinstance(given, Subspace):
        return as_vectors(model, given.basis, "the subspace", (2,))
    if isinstance(given, Direction) or np.ndim(given) == 1:
        return unit(_vector(model, given))[None]
    rows = unit(as_vectors(model, given, "the subspace", (2,)))
    axes, scale, _ = torch.linalg.svd(rows.T, full_matrices=False)
    if not scale.min() > 1e-6 * scale.max() or len(rows) > rows.shape[1]:
        raise EntangleError("the rows of the subspace depend on each other; give independent ones")
    return axes.T
