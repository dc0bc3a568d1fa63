"""Interventions from directions, subspaces, erasers and probes, checked against a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions import Direction, Eraser, Probe, Subspace, unit
from entangle_lens.errors import EntangleError
from entangle_lens.interventions.removals import Removal
from entangle_lens.interventions.shifts import LeastShift, PromptLeastShift, Steering
from entangle_lens.models import Model
from entangle_lens.running import FULL_MODE, Ablation, check_full_mode, check_layers

Layers = int | Sequence[int] | Literal["all"]


def ablation(
    model: Model,
    direction: Direction | Float[Tensor, " d_model"],
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
    return Ablation(unit(vector), _layers(model, direction, layers), strength)


def full_ablation(
    model: Model,
    direction: Direction | Subspace | Float[Tensor, "*k d_model"],
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
    return Removal(basis.T, basis, _layers(model, direction, "all"), None, strength, FULL_MODE)


def subspace_ablation(
    model: Model,
    subspace: Subspace | Float[Tensor, "k d_model"],
    *,
    layers: Layers | None = None,
    strength: float = 1.0,
) -> Removal:
    """Describe the ablation h' = h - s B^T B h of a subspace with orthonormal rows B."""
    basis = _basis(model, subspace)
    return Removal(basis.T, basis, _layers(model, subspace, layers), None, strength)


def affine_ablation(
    model: Model,
    direction: Direction | Subspace | Float[Tensor, "*k d_model"],
    *,
    reference: Float[Tensor, " d_model"] | None = None,
    layers: Layers | None = None,
    strength: float = 1.0,
) -> Removal:
    """Describe affine (mean) ablation h' = h - s B^T B (h - mu): the part is set to its mean.

    Marshall et al. (arXiv 2411.09003). ``reference`` is mu, by default the mean that the direction
    measures projections from.
    """
    if reference is None:
        if isinstance(direction, Tensor):
            raise EntangleError("a bare vector was given without a reference; give the mean too")
        reference = direction.mean
    basis = _basis(model, direction)
    chosen = _layers(model, direction, layers)
    return Removal(basis.T, basis, chosen, _fitting(model, reference), strength)


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
    half = direction.vector / 2
    mean = direction.mean + half if to == "positive" else direction.mean - half
    return affine_ablation(model, direction, reference=mean, layers=layers)


def erasure(
    model: Model, eraser: Eraser, *, layers: Layers | None = None, strength: float = 1.0
) -> Removal:
    """Describe LEACE's erasure h' = h - W^+ P W (h - mu).

    Belrose et al. (arXiv 2306.03819), equation 1.
    """
    mean = _fitting(model, eraser.bias)
    left, right = eraser.proj_left.double(), eraser.proj_right.double()
    return Removal(left, right, _layers(model, eraser, layers), mean, strength)


def steering(
    model: Model,
    direction: Direction | Float[Tensor, " d_model"],
    coefficient: float,
    *,
    layers: Layers | None = None,
) -> Steering:
    """Describe steering h' = h + c v, c in units of the distance between the class means."""
    vector = _vector(model, direction)
    return Steering(vector, coefficient, _layers(model, direction, layers))


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
    check_layers(model, (layer,))
    shift = LeastShift(_fitting(model, probe.weight), probe.bias, layer, probability, suppress)
    return PromptLeastShift(shift) if per == "prompt" else shift


def _vector(
    model: Model, direction: Direction | Float[Tensor, " d_model"]
) -> Float[Tensor, " d_model"]:
    vector = direction.vector if isinstance(direction, Direction) else direction
    if not _fitting(model, vector).norm() > 0:
        raise EntangleError("the direction is zero or not finite, so there is nothing to ablate")
    return vector


def _basis(
    model: Model, given: Direction | Subspace | Float[Tensor, "*k d_model"]
) -> Float[Tensor, "k d_model"]:
    """Return orthonormal rows that span what was given."""
    if isinstance(given, Subspace):
        return _fitting(model, given.basis)
    if isinstance(given, Direction) or given.ndim == 1:
        return unit(_vector(model, given))[None]
    rows = _fitting(model, given).double()
    axes, scale, _ = torch.linalg.svd(rows.T, full_matrices=False)
    if not scale.min() > 1e-6 * scale.max():
        raise EntangleError("the rows of the subspace depend on each other; give independent ones")
    return axes.T


def _fitting(model: Model, vectors: Float[Tensor, "*k d_model"]) -> Float[Tensor, "*k d_model"]:
    d_model = int(model.cfg.d_model)
    if vectors.shape[-1] != d_model:
        raise EntangleError(
            f"the direction has shape {tuple(vectors.shape)} and the model's residual stream "
            f"({d_model},)"
        )
    return vectors


def _layers(model: Model, fitted: object, layers: Layers | None) -> tuple[int, ...]:
    """Return the named layers, or the one that something was fitted at."""
    if layers is None:
        if isinstance(fitted, Tensor):
            raise EntangleError("a bare vector was given without layers; say at which layers")
        layers = int(fitted.layer)  # type: ignore[attr-defined]
    if layers == "all":
        return tuple(range(int(model.cfg.n_layers)))
    chosen = (layers,) if isinstance(layers, int) else tuple(int(layer) for layer in layers)
    check_layers(model, chosen)
    return chosen
