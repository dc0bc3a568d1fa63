"""Interventions on a model that others call: inside a ``with`` block, generation included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from entangle_lens.directions import Direction
from entangle_lens.errors import EntangleError
from entangle_lens.interventions.arguments import Layers, Vector
from entangle_lens.interventions.build import ablation
from entangle_lens.models import Model
from entangle_lens.running import (
    NEVER_FIRED,
    Edit,
    RowsReader,
    apply,
    check_hooks,
    hook_name,
    sites_of,
)


@contextmanager
def ablate(
    model: Model,
    direction: Direction | Vector,
    *,
    layers: Layers | None = None,
    strength: float = 1.0,
) -> Iterator[Model]:
    """Ablate a direction from every forward pass inside the ``with`` block, generation included.

    The model leaves the block as it came, after an exception too.

    Raises:
        EntangleError: a direction that does not fit the model or a strength that is not finite, a
            layer out of range, or a block
            in which the model never ran.

    Example:
        ``with el.ablate(model, study.directions["moral"]): model.generate("...")``
    """
    with applied(model, [ablation(model, direction, layers=layers, strength=strength)]):
        yield model


@contextmanager
def applied(model: Model, edits: Sequence[Edit]) -> Iterator[Model]:
    """Apply ``edits`` in order to every forward pass inside the ``with`` block.

    Edits that look at whole prompts read the attention mask that the model is called with.
    """
    fired: set[int] = set()
    reader = RowsReader()

    def hook_fn(number: int, edit: Edit, layer: int, site: str) -> Any:
        def change(resid: Tensor, hook: Any) -> Tensor:
            fired.add(number)
            return apply(edit, reader.rows, layer, site, resid)

        return change

    hooks = [
        (hook_name(site, layer), hook_fn(number, edit, layer, site))
        for number, edit in enumerate(edits)
        for layer in edit.layers
        for site in sites_of(edit)
    ]
    check_hooks(model, [name for name, _ in hooks])
    with reader.watching(model.original_model), model.hooks(fwd_hooks=hooks):
        yield model
    if len(fired) < len(edits):
        raise EntangleError(NEVER_FIRED)
