"""The measure in the residual stream: directions, their validity, and where the kinds meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from entangle_lens.directions import LayerDirections, fit_difference_of_means, unit, validate
from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.ratings import rate
from entangle_lens.entanglement.selection import most_valid_layer
from entangle_lens.models import Model
from entangle_lens.running import rating_prompts, read_prompts
from entangle_lens.statistics import Clusters, Estimate, correlation_estimate, max_band, pearson
from entangle_lens.stimuli import ContrastSet, ItemSet, Stimuli

Fitted = Mapping[tuple[str, str], LayerDirections]


@dataclass(frozen=True)
class ResidualMeasure:
    """Entanglement in the residual stream, for one item set.

    At each layer, ``correlation`` is r(moral projection, secondary projection) over items: each
    item is projected on the moral direction where the moral question is asked, and on the
    secondary direction where its question is asked; ``correlation`` is that of the means over
    prompts. ``band`` is what |r| stays below at every layer at once in 95 % of scenario
    permutations, ``p`` the matching p-value a layer.
    ``layer`` is chosen by the validity of the two directions on held-out scenarios (None where
    no layer is valid: then nothing is claimed) and ``entanglement`` is the correlation there.
    """

    item_set: ItemSet
    layers: tuple[int, ...]
    moral: Float[np.ndarray, "prompt layer item"]
    secondary: Float[np.ndarray, "prompt layer item"]
    correlation: Float[np.ndarray, " layer"]
    band: float
    p: Float[np.ndarray, " layer"]
    auc: Float[np.ndarray, " layer"]
    layer: int | None
    entanglement: Estimate | None


def fit_directions(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    layers: Sequence[int],
    questions: Sequence[str],
    *,
    progress: bool = False,
) -> dict[tuple[str, str], LayerDirections]:
    """Fit and validate every value's direction at every layer, in each question's context.

    Keyed by (value, question): ``("moral", "grammar")`` is the moral direction while the grammar
    question is asked.
    """
    values = list(dict.fromkeys(value for value, _ in stimuli.contrasts))
    return {
        (value, question): _fit(model, stimuli, design, layers, value, question, progress)
        for question in questions
        for value in values
    }


def _fit(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    layers: Sequence[int],
    value: str,
    question: str,
    progress: bool,
) -> LayerDirections:
    asked = stimuli.questions_for(question, design.n_paraphrases)
    desc = f"direction: {value} under {question}" if progress else None
    fit, select = stimuli.contrasts[value, "fit"], stimuli.contrasts[value, "select"]
    _, resid = rate(model, _texts(fit), asked, design.scale, layers=layers, desc=desc)
    fitted = fit_difference_of_means(value, question, layers, resid[: len(fit)], resid[len(fit) :])
    positive, negative = [], []
    for wording in asked:
        group = rating_prompts(model, _texts(select), wording, design.scale)
        held_out = read_prompts(model, group, layers=layers, desc=desc).resid
        positive.append(held_out[: len(select)])
        negative.append(held_out[len(select) :])
    return validate(fitted, torch.cat(positive), torch.cat(negative))


def _texts(pairs: ContrastSet) -> list[str]:
    return [*pairs.positive, *pairs.negative]


def measure_residual(
    item_set: ItemSet,
    moral: Float[np.ndarray, "prompt layer item"],
    secondary: Float[np.ndarray, "prompt layer item"],
    fitted: Fitted,
    n_model_layers: int,
    rng: np.random.Generator,
    n_resamples: int,
) -> ResidualMeasure:
    """Correlate the items' projections in both questions' contexts, layer by layer."""
    moral_direction = fitted[MORAL, MORAL]
    own_direction = fitted[item_set.secondary, item_set.secondary]
    x, y = moral.mean(0), secondary.mean(0)
    clusters = Clusters.of(item_set.scenario_ids)
    band, p = max_band(x, y, clusters, rng, n_resamples)
    layer = most_valid_layer([moral_direction, own_direction], n_model_layers)
    estimate = None
    if layer is not None:
        row = moral_direction.row(layer)
        estimate = correlation_estimate(x[row], y[row], clusters, rng, n_resamples)
    return ResidualMeasure(
        item_set,
        moral_direction.layers,
        moral,
        secondary,
        correlation=pearson(x, y),
        band=band,
        p=p,
        auc=np.minimum(moral_direction.auc, own_direction.auc),
        layer=layer,
        entanglement=estimate,
    )


def cosines(fitted: Fitted, layer: int) -> tuple[list[str], Float[np.ndarray, "row column"]]:
    """Return the cosines between all fitted directions at ``layer``, with their names."""
    names = [f"{value} | {question}" for value, question in fitted]
    units = torch.stack([unit(each.vectors[each.row(layer)]) for each in fitted.values()])
    return names, (units @ units.T).numpy()
