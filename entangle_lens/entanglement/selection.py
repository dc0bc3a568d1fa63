"""Which layer to ablate at: where a direction reads its value and the model makes use of it.

Only scenarios of the selection split are looked at, never the test items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from entangle_lens.directions import LayerDirections
from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.ratings import summarise
from entangle_lens.interventions import ablation
from entangle_lens.models import Model
from entangle_lens.running import Ablation, rating_prompts, read_ablated
from entangle_lens.stimuli import ContrastSet, Stimuli

MIN_AUC = 0.8
MIN_SPLIT_HALF_COSINE = 0.5
SAME_AUC = 0.02
LAST_SHARE_DISCARDED = 0.2


@dataclass(frozen=True)
class LayerChoice:
    """The layer chosen for an ablation, and what the choice saw.

    ``read`` says at which layers the direction is among the most valid; ``carried`` is, for
    those, the share of the rating gap between held-out moral pairs that ablating there removes,
    less the share lost of the gap that the asked value itself makes (NaN elsewhere). ``layer`` is
    None where no layer is valid.
    """

    layer: int | None
    read: Bool[np.ndarray, " layer"]
    carried: Float[np.ndarray, " layer"]


def valid_layers(direction: LayerDirections, n_model_layers: int) -> Bool[np.ndarray, " layer"]:
    """Say at which layers a direction is valid on held-out scenarios.

    Valid is a held-out AUC of at least .8 and a split-half cosine of at least .5; the last fifth
    of the model's layers is left out, as Arditi et al. (arXiv 2406.11717) do.
    """
    kept = np.asarray(direction.layers) < int(n_model_layers * (1 - LAST_SHARE_DISCARDED))
    return np.asarray(
        kept & (direction.auc >= MIN_AUC) & (direction.split_half_cosine >= MIN_SPLIT_HALF_COSINE)
    )


def most_valid_layer(directions: list[LayerDirections], n_model_layers: int) -> int | None:
    """Return the layer where all ``directions`` read their values best; None if nowhere valid.

    The lowest of the AUCs decides, and among equal AUCs (within .02) the lowest of the d'.
    """
    valid = np.logical_and.reduce([valid_layers(each, n_model_layers) for each in directions])
    if not valid.any():
        return None
    tied = _tied(valid, np.min([each.auc for each in directions], axis=0))
    separation = np.min([each.d_prime for each in directions], axis=0)
    row = int(np.argmax(np.where(tied, separation, -np.inf)))
    return directions[0].layers[row]


def choose_ablation_layer(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    moral: LayerDirections,
    *,
    progress: bool = False,
) -> LayerChoice:
    """Choose where to ablate ``moral`` while its question is asked.

    Among the layers where the direction reads its value best (AUC within .02 of the highest, all
    valid) the one is chosen whose ablation carries most: reading a value somewhere does not mean
    that the model uses it there.
    """
    valid = valid_layers(moral, int(model.cfg.n_layers))
    read = _tied(valid, moral.auc) if valid.any() else valid
    carried = np.full(len(moral.layers), np.nan)
    if not valid.any():
        return LayerChoice(None, read, carried)
    moral_pairs = stimuli.contrasts[MORAL, "select"]
    own_pairs = stimuli.contrasts[moral.question, "select"]

    rows = np.flatnonzero(read)
    ablations = [ablation(model, moral.at(moral.layers[row])) for row in rows]
    nothing = Ablation(ablations[0].unit, ablations[0].layers, strength=0.0)
    desc = f"choosing the layer under the {moral.question} question" if progress else None

    def gaps(pairs: ContrastSet) -> Float[np.ndarray, " ablation"]:
        return _gaps(model, stimuli, design, moral.question, pairs, [nothing, *ablations], desc)

    (moral_gap, *moral_gaps), (own_gap, *own_gaps) = gaps(moral_pairs), gaps(own_pairs)
    for row, moral_left, own_left in zip(rows, moral_gaps, own_gaps, strict=True):
        removed = (abs(moral_gap) - abs(moral_left)) / abs(own_gap)
        lost = max(0.0, 1 - own_left / own_gap)
        carried[row] = removed - lost
    return LayerChoice(moral.layers[int(np.nanargmax(carried))], read, carried)


def _tied(
    valid: Bool[np.ndarray, " layer"], auc: Float[np.ndarray, " layer"]
) -> Bool[np.ndarray, " layer"]:
    return np.asarray(valid & (auc >= auc[valid].max() - SAME_AUC))


def _gaps(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    question: str,
    pairs: ContrastSet,
    ablations: list[Ablation],
    desc: str | None,
) -> Float[np.ndarray, " ablation"]:
    """Return mean rating(positive) - mean rating(negative) under each ablation."""
    gaps = np.zeros(len(ablations))
    asked = stimuli.questions_for(question, design.n_repair_paraphrases)
    for wording in asked:
        texts = [*pairs.positive, *pairs.negative]
        group = rating_prompts(model, texts, wording, design.scale)
        log_probs = read_ablated(model, group, ablations, renormalised=True, desc=desc)
        ratings, _, _ = summarise(log_probs, wording, design.scale)
        gaps += (ratings[:, : len(pairs)].mean(1) - ratings[:, len(pairs) :].mean(1)) / len(asked)
    return gaps
