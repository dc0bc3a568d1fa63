"""The repair: ablate the moral direction and its controls, ask again, judge each by one rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions import Direction, disentangled, random_units, removed_variance
from entangle_lens.entanglement.asking import Arm, Asker
from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.layer_sweep import LayerSweep, sweep_layers
from entangle_lens.entanglement.outcomes import Null, Outcome, Yardstick
from entangle_lens.entanglement.residual import Fitted
from entangle_lens.entanglement.selection import LayerChoice, choose_ablation_layer
from entangle_lens.models import Model
from entangle_lens.running import Ablation
from entangle_lens.statistics import pearson
from entangle_lens.stimuli import ItemSet, Stimuli

DEFAULT_ARM = "moral"
ALL_LAYERS_ARM = "moral, all layers"
NAIVE_ARM = "moral, from the moral question"
_NEARLY_ZERO = 1e-6


@dataclass(frozen=True)
class Repair:
    """The repair of one item set: before, after each ablation, and under random directions.

    ``choice`` says how the layer was chosen, ``direction`` is the moral direction there, fitted
    where the secondary question is asked. Where no layer is valid, ``direction`` and ``null`` are
    None and nothing is claimed. ``sweeps`` ablate the moral direction at every single layer:
    fitted where the secondary question is asked, and where the moral question is.
    """

    item_set: ItemSet
    reference: float
    choice: LayerChoice
    direction: Direction | None
    arms: tuple[Arm, ...]
    before: Outcome
    outcomes: tuple[Outcome, ...]
    null: Null | None
    sweeps: tuple[LayerSweep, ...]

    @property
    def after(self) -> Outcome | None:
        """The default ablation: the moral direction of the secondary question, at one layer."""
        return next((each for each in self.outcomes if each.name == DEFAULT_ARM), None)


def measure_repair(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    yardstick: Yardstick,
    fitted: Fitted,
    *,
    progress: bool = False,
) -> Repair:
    """Ablate the moral direction and its controls, and judge each by the stated rule."""
    item_set, reference = yardstick.item_set, yardstick.reference
    asker = Asker(model, stimuli, design, item_set, fitted, progress)
    clean = asker.ask(None, with_residuals=True)
    before = yardstick.outcome("clean", "no ablation", clean)
    moral, naive = fitted[MORAL, item_set.secondary], fitted[MORAL, MORAL]
    choice = choose_ablation_layer(model, stimuli, design, moral, progress=progress)
    direction = None if choice.layer is None else moral.at(choice.layer)
    null = None if direction is None else _null(asker, direction, reference, design)
    sweeps = tuple(sweep_layers(asker, yardstick, clean.answers, [moral, naive], null))
    if choice.layer is None or null is None:
        return Repair(item_set, reference, choice, None, (), before, (), None, sweeps)
    naive_layer = naive.layers[int(np.nanargmin(np.abs(sweeps[1].apparent - reference)))]
    arms = tuple(_arms(item_set.secondary, fitted, choice.layer, naive_layer))
    outcomes = []
    for arm in arms:
        asked = asker.ask(arm, with_residuals=arm.name in (DEFAULT_ARM, ALL_LAYERS_ARM))
        outcomes.append(yardstick.judged(arm.name, arm.description, clean, asked, null))
    return Repair(
        item_set, reference, choice, direction, arms, before, tuple(outcomes), null, sweeps
    )


def _null(asker: Asker, direction: Direction, reference: float, design: Design) -> Null:
    resid = asker.residuals(direction.layer)
    rng = np.random.default_rng(design.seed)
    units = random_units(resid, direction.vector, design.n_random, rng)
    ratio = removed_variance(resid, units).median() / removed_variance(resid, direction.unit[None])
    ablations = [Ablation(each, (direction.layer,)) for each in units]
    secondary, desc = asker.item_set.secondary, f"{len(ablations)} random directions"
    ratings, _ = asker.ratings_without(secondary, ablations, desc, with_mass=False)
    return Null.of(pearson(asker.item_set.moral, ratings), reference, float(ratio))


def _arms(secondary: str, fitted: Fitted, layer: int, naive_layer: int) -> Iterator[Arm]:
    """Yield what is ablated: the moral direction in several ways, then the control directions."""

    def vector(value: str, question: str, at: int) -> Float[Tensor, " d_model"]:
        each = fitted[value, question]
        return each.vectors[each.row(at)]

    moral = vector(MORAL, secondary, layer)
    where = f"fitted where the {secondary} question is asked"
    same = "the same direction, after every layer"
    yield Arm(DEFAULT_ARM, f"moral direction {where}, layer {layer}", moral, layer)
    yield Arm(ALL_LAYERS_ARM, same, moral, "all")
    naive = vector(MORAL, MORAL, naive_layer)
    picked = (
        "moral direction fitted where the moral question is asked, at the layer where "
        f"r(moral rating, {secondary} rating) comes nearest to the reference: {naive_layer}"
    )
    yield Arm(NAIVE_ARM, picked, naive, naive_layer)
    yield Arm(f"{NAIVE_ARM}, all layers", same, naive, "all")
    others = [value for value, question in fitted if question == secondary and value != MORAL]
    graded = torch.stack([vector(each, secondary, layer) for each in others if each != "valence"])
    apart = disentangled(moral, graded)
    if apart.norm() > _NEARLY_ZERO * moral.norm():
        less = "moral direction less its part in the span of the grammar and economic directions"
        yield Arm("moral, disentangled", f"{less}, layer {layer}", apart, layer)
    for value in others:
        control = vector(value, secondary, layer)
        yield Arm(value, f"{value} direction {where}, layer {layer}", control, layer)
