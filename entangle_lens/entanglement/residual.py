"""The measure in the residual stream: directions, their validity, and where the kinds meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from entangle_lens.directions import (
    CENTRED,
    Background,
    LayerDirections,
    fit_difference_of_means,
    unit,
    validate,
)
from entangle_lens.entanglement.contrasts import Contrasts
from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.provenance import provenance_of
from entangle_lens.entanglement.ratings import Readouts, read_wordings
from entangle_lens.entanglement.selection import MIN_AUC, most_valid_layer
from entangle_lens.models import Model
from entangle_lens.running import LAST, ONE_EACH, chat_prompts, rating_prompts, read_prompts
from entangle_lens.statistics import Clusters, Estimate, correlation_estimate, max_band, pearson
from entangle_lens.stimuli import ContrastSet, ItemSet, Stimuli

Fitted = Mapping[tuple[str, str], LayerDirections]


@dataclass(frozen=True, eq=False)
class ResidualMeasure:
    """Entanglement in the residual stream at one position of the prompts, for one item set.

    At each layer, ``correlation`` is r(moral projection, secondary projection) over items: each
    item is projected on the moral direction where the moral question is asked, and on the
    secondary direction where its question is asked, both fitted at this position;
    ``correlation`` is that of the means over prompts. The ``_readouts`` hold the items by every
    name in ``READOUTS``, and ``readout_auc`` the lower of the two directions' held-out AUCs by
    each; all else is about the centred projection.
    ``band`` is what |r| stays below at every layer at once in 95 % of scenario
    permutations, ``p`` the matching p-value a layer.
    ``layer`` is chosen by the validity of the two directions on held-out scenarios (None where
    no layer is valid: then nothing is claimed) and ``entanglement`` is the correlation there.
    """

    item_set: ItemSet
    position: str
    layers: tuple[int, ...]
    moral_readouts: Readouts
    secondary_readouts: Readouts
    correlation: Float[np.ndarray, " layer"]
    band: float
    p: Float[np.ndarray, " layer"]
    readout_auc: Mapping[str, Float[np.ndarray, " layer"]]
    layer: int | None
    entanglement: Estimate | None

    @property
    def moral(self) -> Float[np.ndarray, "prompt layer item"]:
        """The centred projections on the moral direction."""
        return self.moral_readouts[CENTRED]

    @property
    def secondary(self) -> Float[np.ndarray, "prompt layer item"]:
        """The centred projections on the secondary direction."""
        return self.secondary_readouts[CENTRED]

    @property
    def auc(self) -> Float[np.ndarray, " layer"]:
        """The lower of the two directions' held-out AUCs, by the centred projection."""
        return self.readout_auc[CENTRED]

    @property
    def reads(self) -> Bool[np.ndarray, " layer"]:
        """Where both directions read their values in held-out scenarios (AUC of at least .8)."""
        return np.asarray(self.auc >= MIN_AUC)


def fit_directions(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    layers: Sequence[int],
    questions: Sequence[str],
    *,
    positions: Sequence[str] = (LAST,),
    background: Background | None = None,
    known: Mapping[str, Contrasts] = MappingProxyType({}),
    progress: bool = False,
) -> dict[str, dict[tuple[str, str], LayerDirections]]:
    """Fit and validate every value's direction at every layer, in each question's context.

    By position, then by (value, question): ``("moral", "grammar")`` is the moral direction while
    the grammar question is asked. Only the last prompt token has all of these; at other positions
    each value is fitted where its own question is asked. ``known`` holds, by question, the
    residuals of moral pairs that have been read already, at the same layers.
    """
    values = list(dict.fromkeys(value for value, _ in stimuli.contrasts))
    fitted: dict[str, dict[tuple[str, str], LayerDirections]] = {each: {} for each in positions}
    for question in questions:
        for value in values:
            read = positions if value == question else (LAST,)
            if value == MORAL and question in known and tuple(read) == (LAST,):
                found = {LAST: _fit_known(known[question])}
            else:
                found = _fit(model, stimuli, design, layers, value, question, read, progress)
            for position, (direction, *held_out) in found.items():
                about = provenance_of(model, stimuli, design, position)
                own = replace(direction, background=background, provenance=about)
                fitted[position][value, question] = validate(own, *held_out)
    return fitted


def known_positions(model: Model, stimuli: Stimuli, design: Design) -> tuple[str, ...]:
    """Return where residuals can be read: at the item's own tokens only where those are known.

    They are not with a tokenizer that gives no character offsets, and with a chat template that
    changes what it is given.
    """
    read = [(value, _texts(pairs)) for (value, _), pairs in stimuli.contrasts.items()]
    for own in stimuli.items.values():
        read += [(MORAL, own.texts), (own.secondary, own.texts)]
    groups = (
        rating_prompts(model, texts, stimuli.questions_for(value, 1)[0], design.scale)
        for value, texts in read
        if value in (MORAL, *stimuli.items)
    )
    return ONE_EACH if all(group.spans for group in groups) else (LAST,)


def read_background(model: Model, stimuli: Stimuli, layers: Sequence[int]) -> Background | None:
    """Return what residuals are like at the last token of neutral prompts; None without any."""
    if len(stimuli.neutral) < 2:
        return None
    neutral = chat_prompts(model, stimuli.neutral)
    return Background.of(read_prompts(model, neutral, layers=layers).resid)


def _fit(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    layers: Sequence[int],
    value: str,
    question: str,
    positions: Sequence[str],
    progress: bool,
) -> dict[str, tuple[LayerDirections, Tensor, Tensor]]:
    """Return by position the direction, and the held-out prompts' residuals of both poles."""
    asked = design.questions(stimuli, question)
    fit, select = stimuli.contrasts[value, "fit"], stimuli.contrasts[value, "select"]
    desc = f"direction: {value} under {question}" if progress else None
    shape = (len(positions), 2 * len(fit), len(layers), int(model.cfg.d_model))
    resid = torch.zeros(shape, dtype=torch.float64)

    def read(pairs: ContrastSet) -> Iterator[Float[Tensor, "position text layer d_model"]]:
        wordings = read_wordings(
            model, _texts(pairs), asked, design.scale, layers=layers, positions=positions, desc=desc
        )
        for reading in wordings:
            yield torch.stack([reading.at(position) for position in positions])

    for each in read(fit):
        resid += each.double() / len(asked)
    held_out = torch.stack(list(read(select)), 1)
    found = {}
    for position, own, other in zip(positions, resid, held_out, strict=True):
        high, low = own[: len(fit)], own[len(fit) :]
        fitted = fit_difference_of_means(value, question, layers, high, low)
        positive, negative = other[:, : len(select)], other[:, len(select) :]
        found[position] = (fitted, positive.flatten(0, 1), negative.flatten(0, 1))
    return found


def _fit_known(contrasts: Contrasts) -> tuple[LayerDirections, Tensor, Tensor]:
    """Fit residuals that have been read, as :func:`_fit` does."""
    positive, negative = contrasts.positive, contrasts.negative
    high, low = (each["fit"].double().mean(0) for each in (positive, negative))
    layers, value, question = contrasts.layers, contrasts.value, contrasts.question
    fitted = fit_difference_of_means(value, question, layers, high, low)
    return fitted, positive["select"].flatten(0, 1), negative["select"].flatten(0, 1)


def _texts(pairs: ContrastSet) -> list[str]:
    return [*pairs.positive, *pairs.negative]


def measure_residual(
    item_set: ItemSet,
    position: str,
    moral: Readouts,
    secondary: Readouts,
    fitted: Fitted,
    n_model_layers: int,
    rng: np.random.Generator,
    n_resamples: int,
) -> ResidualMeasure:
    """Correlate the items' projections in both questions' contexts, layer by layer."""
    moral_direction = fitted[MORAL, MORAL]
    own_direction = fitted[item_set.secondary, item_set.secondary]
    x, y = moral[CENTRED].mean(0), secondary[CENTRED].mean(0)
    clusters = Clusters.of(item_set.scenario_ids)
    band, p = max_band(x, y, clusters, rng, n_resamples)
    layer = most_valid_layer([moral_direction, own_direction], n_model_layers)
    estimate = None
    if layer is not None:
        row = moral_direction.row(layer)
        estimate = correlation_estimate(x[row], y[row], clusters, rng, n_resamples)
    return ResidualMeasure(
        item_set,
        position,
        moral_direction.layers,
        moral,
        secondary,
        correlation=pearson(x, y),
        band=band,
        p=p,
        readout_auc={
            name: np.minimum(auc, own_direction.readout_auc[name])
            for name, auc in moral_direction.readout_auc.items()
        },
        layer=layer,
        entanglement=estimate,
    )


def cosines(fitted: Fitted, layer: int) -> tuple[list[str], Float[np.ndarray, "row column"]]:
    """Return the cosines between all fitted directions at ``layer``, with their names."""
    names = [f"{value} | {question}" for value, question in fitted]
    units = torch.stack([unit(each.vectors[each.row(layer)]) for each in fitted.values()])
    return names, (units @ units.T).numpy()
