"""Ablate one direction at one layer after the other: where it works, and where it only seems to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from entangle_lens.directions import LayerDirections, unit
from entangle_lens.entanglement.asking import Asker
from entangle_lens.entanglement.design import MORAL
from entangle_lens.entanglement.leak import leak
from entangle_lens.entanglement.outcomes import Answers, Null, Yardstick
from entangle_lens.entanglement.verdict import Judgement
from entangle_lens.running import Ablation
from entangle_lens.statistics import pearson

FIGURES = ("leak", "apparent", "accuracy", "moral_accuracy", "spread", "mass")


@dataclass(frozen=True, eq=False)
class LayerSweep:
    """One-layer ablations of a value's direction, each at the layer that it was fitted at.

    ``question`` is the context it was fitted in; the figures are those of
    :class:`~entangle_lens.entanglement.outcomes.Outcome`, without intervals, one a layer, and
    ``judgements`` the verdicts by the same rule (empty where no null was drawn). A sweep is for
    looking at: no layer is chosen by it for a claim.
    """

    question: str
    layers: tuple[int, ...]
    leak: Float[np.ndarray, " layer"]
    apparent: Float[np.ndarray, " layer"]
    accuracy: Float[np.ndarray, " layer"]
    moral_accuracy: Float[np.ndarray, " layer"]
    spread: Float[np.ndarray, " layer"]
    mass: Float[np.ndarray, " layer"]
    judgements: tuple[Judgement, ...]


def sweep_layers(
    asker: Asker,
    yardstick: Yardstick,
    clean: Answers,
    directions: Sequence[LayerDirections],
    null: Null | None,
) -> list[LayerSweep]:
    """Ablate each of ``directions`` at each of its layers in turn and ask both questions again.

    ``null`` is the one drawn for the chosen layer.
    """
    item_set = asker.item_set
    ablations = [
        Ablation(unit(vector), (layer,))
        for each in directions
        for layer, vector in zip(each.layers, each.vectors, strict=True)
    ]
    moral, _ = asker.ratings_without(MORAL, ablations, "layer sweep")
    secondary, masses = asker.ratings_without(item_set.secondary, ablations, "layer sweep")
    mass = masses.mean(-1)
    answers = [Answers(*each) for each in zip(moral, secondary, mass.tolist(), strict=True)]
    judged = [yardstick.judge(clean, each, null)[1] for each in answers] if null else []
    figures = {
        "leak": leak(item_set, secondary),
        "apparent": pearson(moral, secondary),
        "accuracy": pearson(item_set.level, secondary),
        "moral_accuracy": pearson(item_set.moral, moral),
        "spread": secondary.std(-1),
        "mass": mass,
    }
    sweeps, start = [], 0
    for each in directions:
        rows = slice(start, start := start + len(each.layers))
        own = {name: values[rows] for name, values in figures.items()}
        sweeps.append(LayerSweep(each.question, each.layers, **own, judgements=tuple(judged[rows])))
    return sweeps
