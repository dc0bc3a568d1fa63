"""What a caller may give an intervention: vectors and layers, checked and made one kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor

from entangle_lens.errors import EntangleError, choices
from entangle_lens.models import Model
from entangle_lens.running import check_layers

Layers: TypeAlias = int | np.integer | Sequence[int] | np.ndarray | Literal["all"]
Vector: TypeAlias = Num[Tensor, " d_model"] | Num[np.ndarray, " d_model"]
Vectors: TypeAlias = Num[Tensor, "*k d_model"] | Num[np.ndarray, "*k d_model"]


def as_vectors(model: Model, given: Any, what: str, n_axes: Sequence[int] = (1,)) -> Tensor:
    """Return a vector of the residual stream, or several, as floating-point numbers of torch.

    Raises:
        EntangleError: another type or shape, complex numbers, or some that are not finite.
    """
    numbers = given
    if isinstance(given, np.ndarray) and given.dtype.kind in "fiu":
        numbers = torch.from_numpy(given.astype(np.float64))
    if not isinstance(numbers, Tensor) or numbers.is_complex() or numbers.dtype == torch.bool:
        kind = getattr(given, "dtype", type(given).__name__)
        raise EntangleError(
            f"{what} is of type {kind}; real numbers of torch or numpy are expected"
        )
    d_model = int(model.cfg.d_model)
    if numbers.ndim not in n_axes or numbers.shape[-1] != d_model:
        raise EntangleError(
            f"{what} has shape {tuple(numbers.shape)} and the model's residual stream ({d_model},)"
        )
    numbers = numbers.detach() if numbers.is_floating_point() else numbers.detach().double()
    if not bool(numbers.isfinite().all()):
        raise EntangleError(f"{what} is zero or not finite, so there is nothing to edit along")
    return numbers


def as_direction(model: Model, given: Any, what: str) -> Float[Tensor, " d_model"]:
    """Return a vector as :func:`as_vectors` does, which has to point somewhere."""
    vector = as_vectors(model, given, what)
    if not bool((vector != 0).any()):
        raise EntangleError(f"{what} is zero or not finite, so there is nothing to edit along")
    return vector


def chosen_layers(model: Model, fitted: object, layers: Layers | None) -> tuple[int, ...]:
    """Return the named layers, or the one that something was fitted at.

    Raises:
        EntangleError: no layers for a bare vector, or what names no layers of the model.
    """
    if layers is None:
        layers = getattr(fitted, "layer", None)
        if layers is None:
            raise EntangleError("a bare vector was given without layers; say at which layers")
    if isinstance(layers, str) and layers == "all":
        return tuple(range(int(model.cfg.n_layers)))
    several = not isinstance(layers, str) and np.ndim(layers) > 0
    given: list[Any] = list(layers) if several and isinstance(layers, Iterable) else [layers]
    try:
        if any(isinstance(each, bool | np.bool_) for each in given):
            raise TypeError
        chosen = tuple(index(each) for each in given)
    except TypeError:
        raise EntangleError(
            f"layers {layers!r} were given; a layer, several of them or 'all' was expected"
        ) from None
    if not chosen or len(set(chosen)) < len(chosen):
        raise EntangleError(
            f"layers {choices(chosen) or 'none'} were given; each of one or more layers once was "
            "expected"
        )
    check_layers(model, chosen)
    return chosen
