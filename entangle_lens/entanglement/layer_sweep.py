"""Ablate one direction at one layer after the other: where it works, and where it only seems to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from entangle_lens.directions import LayerDirections
from entangle_lens.entanglement.asking import Arm, Asker
from entangle_lens.statistics import pearson

FIGURES = ("leak", "apparent", "accuracy", "moral_accuracy", "spread", "mass")


@dataclass(frozen=True)
class LayerSweep:
    """One-layer ablations of a value's direction, each at the layer that it was fitted at.

    ``question`` is the context it was fitted in; the figures are those of
    :class:`~entangle_lens.entanglement.outcomes.Outcome`, without intervals, one a layer. A sweep
    is for looking at: no layer is chosen by it for a claim.
    """

    question: str
    layers: tuple[int, ...]
    leak: Float[np.ndarray, " layer"]
    apparent: Float[np.ndarray, " layer"]
    accuracy: Float[np.ndarray, " layer"]
    moral_accuracy: Float[np.ndarray, " layer"]
    spread: Float[np.ndarray, " layer"]
    mass: Float[np.ndarray, " layer"]


def sweep_layers(asker: Asker, direction: LayerDirections) -> LayerSweep:
    """Ablate ``direction`` at each of its layers in turn and ask both questions again."""
    item_set = asker.item_set
    rows = []
    for layer, vector in zip(direction.layers, direction.vectors, strict=True):
        name = f"{direction.value} | {direction.question}, layer {layer}"
        asked = asker.ask(Arm(name, name, vector, layer))
        moral, secondary = asked.moral.mean, asked.secondary.mean
        rows.append(
            (
                pearson(item_set.moral, secondary),
                pearson(moral, secondary),
                pearson(item_set.level, secondary),
                pearson(item_set.moral, moral),
                secondary.std(),
                asked.secondary.mass.mean(),
            )
        )
    figures = dict(zip(FIGURES, np.array(rows, dtype=float).T, strict=True))
    return LayerSweep(direction.question, direction.layers, **figures)
