"""Edits of the residual stream, as values, and how they are put on a model and taken off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions import Direction, unit
from entangle_lens.errors import EntangleError
from entangle_lens.models import Model
from entangle_lens.running import Ablation, Edit, check_layers, resid_post

Layers = int | Sequence[int] | Literal["all"]


def ablation(
    model: Model,
    direction: Direction | Float[Tensor, " d_model"],
    *,
    layers: Layers | None = None,
    strength: float = 1.0,
) -> Ablation:
    """Describe the ablation of ``direction`` from ``model``, checked against it.

    ``layers`` is one layer, several, or ``"all"``; by default the layer that a Direction was
    fitted at. A bare vector needs ``layers``.
    """
    vector = direction.vector if isinstance(direction, Direction) else direction
    if layers is None:
        if not isinstance(direction, Direction):
            raise EntangleError("a bare vector was given without layers; say at which layers")
        layers = direction.layer
    d_model, n_layers = int(model.cfg.d_model), int(model.cfg.n_layers)
    if vector.shape != (d_model,):
        raise EntangleError(
            f"the direction has shape {tuple(vector.shape)} and the model's residual stream "
            f"({d_model},)"
        )
    if not vector.norm() > 0:
        raise EntangleError("the direction is zero or not finite, so there is nothing to ablate")
    if layers == "all":
        chosen = tuple(range(n_layers))
    else:
        chosen = (layers,) if isinstance(layers, int) else tuple(int(layer) for layer in layers)
    check_layers(model, chosen)
    return Ablation(unit(vector), chosen, strength)


@contextmanager
def ablate(
    model: Model,
    direction: Direction | Float[Tensor, " d_model"],
    *,
    layers: Layers | None = None,
    strength: float = 1.0,
) -> Iterator[Model]:
    """Ablate a direction from every forward pass inside the ``with`` block, generation included.

    The model leaves the block as it came, after an exception too.

    Raises:
        EntangleError: a direction that does not fit the model, a layer out of range, or a block
            in which the model never ran.

    Example:
        ``with el.ablate(model, study.directions["moral"]): model.generate("...")``
    """
    with applied(model, [ablation(model, direction, layers=layers, strength=strength)]):
        yield model


@contextmanager
def applied(model: Model, edits: Sequence[Edit]) -> Iterator[Model]:
    """Apply ``edits`` in order to every forward pass inside the ``with`` block."""
    fired = [0] * len(edits)
    hooks = [
        (resid_post(layer), _counted(edit, fired, index))
        for index, edit in enumerate(edits)
        for layer in edit.layers
    ]
    with model.hooks(fwd_hooks=hooks):
        yield model
    if not all(fired):
        raise EntangleError(
            "an intervention never fired: the model was not run inside the 'with' block, or "
            "another copy of it was"
        )


def _counted(edit: Edit, fired: list[int], index: int) -> Any:
    def hook_fn(resid: Tensor, hook: Any) -> Tensor:
        fired[index] += 1
        return edit.edit(resid)

    return hook_fn
