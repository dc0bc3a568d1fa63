"""The repair: ablate the moral direction and its controls, ask again, judge each by one rule."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions import (
    Direction,
    LayerDirections,
    disentangled,
    random_units,
    removed_variance,
    unit,
)
from entangle_lens.entanglement.asking import Arm, Asker
from entangle_lens.entanglement.damage import DamageMeter
from entangle_lens.entanglement.design import MORAL
from entangle_lens.entanglement.layer_sweep import LayerSweep, sweep_layers
from entangle_lens.entanglement.leak import leak
from entangle_lens.entanglement.outcomes import Null, Outcome, Yardstick
from entangle_lens.entanglement.reference import Reference
from entangle_lens.entanglement.residual import Fitted
from entangle_lens.entanglement.validation import LayerChoice, Validator
from entangle_lens.entanglement.verdict import Judgement
from entangle_lens.errors import choices
from entangle_lens.running import Ablation
from entangle_lens.stimuli import ItemSet

DEFAULT_ARM = "moral"
ALL_LAYERS_ARM = "moral, all layers"
NAIVE_ARM = "moral, from the moral question"
MAIN_ARMS = (DEFAULT_ARM, ALL_LAYERS_ARM, NAIVE_ARM)
_NEARLY_ZERO = 1e-6


@dataclass(frozen=True)
class Repair:
    """The repair of one item set: before, after each ablation, and under random directions.

    ``choice`` says how the layer was chosen, ``direction`` is the moral direction there, fitted
    where the secondary question is asked. Where no layer is valid, ``direction`` and ``null`` are
    None and nothing is claimed. ``arms`` are the ablations in the order of ``outcomes``. ``sweeps``
    ablate the moral direction at every single layer: fitted where the secondary question is asked,
    and where the moral question is.
    """

    item_set: ItemSet
    reference: Reference
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
    asker: Asker,
    yardstick: Yardstick,
    meter: DamageMeter,
) -> Repair:
    """Ablate the moral direction and its controls, and judge each by the stated rule."""
    item_set, reference, fitted = yardstick.item_set, yardstick.reference, asker.fitted
    clean = asker.ask(None, with_residuals=True)
    before = yardstick.outcome("clean", "no ablation", clean)
    moral, naive = fitted[MORAL, item_set.secondary], fitted[MORAL, MORAL]
    choice = choose_layer(asker, meter, moral)
    direction = None if choice.layer is None else moral.at(choice.layer)
    null = None
    if choice.layer is not None and not math.isnan(before.apparent.value):
        null = draw_null(asker, choice.layer, reference)
    sweeps = tuple(sweep_layers(asker, yardstick, clean.answers, [moral, naive], null))
    if choice.layer is None or null is None:
        return Repair(item_set, reference, choice, None, (), before, (), None, sweeps)
    naive_layer = naive.layers[_nearest(sweeps[1].apparent, reference.value)]
    arms = tuple(_arms(item_set.secondary, fitted, choice.layer, naive_layer))
    if asker.design.few_arms:
        arms = tuple(arm for arm in arms if arm.name in MAIN_ARMS)
    outcomes = []
    for arm in arms:
        asked = asker.ask(arm, with_residuals=arm.name in (DEFAULT_ARM, ALL_LAYERS_ARM))
        outcomes.append(yardstick.judged(arm.name, arm.description, clean, asked, null))
    return Repair(
        item_set, reference, choice, direction, arms, before, tuple(outcomes), null, sweeps
    )


def judge_default_ablation(repair: Repair, entangled: Judgement, n_layers: int) -> Judgement:
    """Return the verdict on the default ablation, or why there is none, of a model of n_layers."""
    if repair.after is not None and repair.after.judgement is not None:
        return repair.after.judgement
    if entangled.word != "entangled":
        return Judgement("nothing to repair", f"the model is judged {entangled.word}")
    question = repair.item_set.secondary
    measured = repair.sweeps[0].layers
    where = "no layer"
    if len(measured) < n_layers:
        where = (
            f"none of the layers that were measured ({choices(measured)} of 0 to {n_layers - 1})"
        )
    reason = f"the moral direction is valid at {where} under the {question} question: none ablated"
    return Judgement("not repaired", reason)


def choose_layer(asker: Asker, meter: DamageMeter, direction: LayerDirections) -> LayerChoice:
    """Choose where to ablate a direction while its question is asked, on held-out pairs."""
    desc = f"choosing the layer under the {direction.question} question" if asker.progress else None
    validator = Validator.of(
        asker.model, asker.stimuli, asker.design, asker.item_set.secondary, meter
    )
    return validator.choose_layer(direction, desc)


def draw_null(asker: Asker, layer: int, reference: Reference) -> Null:
    """Draw the leak under random directions of the moral direction's removed variance."""
    fitted, design = asker.fitted[MORAL, asker.item_set.secondary], asker.design
    vector, resid = fitted.vectors[fitted.row(layer)], asker.residuals(layer)
    rng = np.random.default_rng(design.seed)
    units = random_units(resid, vector, design.n_random, rng)
    ratio = removed_variance(resid, units).median() / removed_variance(resid, unit(vector)[None])
    ablations = [Ablation(each, (layer,)) for each in units]
    secondary, desc = asker.item_set.secondary, f"{len(ablations)} random directions"
    ratings, _ = asker.ratings_without(secondary, ablations, desc, with_mass=False)
    return Null.of(leak(asker.item_set, ratings), reference.leak, float(ratio))


def _nearest(values: Float[np.ndarray, " layer"], reference: float) -> int:
    """Return the row whose value is nearest to the reference; the first where none has a value."""
    distance = np.abs(values - reference)
    return int(np.argmin(np.where(np.isnan(distance), np.inf, distance)))


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
