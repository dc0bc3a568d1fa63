"""The whole study, start to end: measure in three places, ablate, judge, say it in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from entangle_lens.directions import Direction, LayerDirections
from entangle_lens.entanglement.behaviour import Behaviour, measure_behaviour
from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.embedding import Embed, EmbeddingMeasure, measure_embedding
from entangle_lens.entanglement.outcomes import Yardstick
from entangle_lens.entanglement.plan import StudyPlan, plan_study
from entangle_lens.entanglement.ratings import rate_and_project
from entangle_lens.entanglement.reliability import Reliability, measure_reliability
from entangle_lens.entanglement.repair import (
    ALL_LAYERS_ARM,
    DEFAULT_ARM,
    NAIVE_ARM,
    Repair,
    measure_repair,
)
from entangle_lens.entanglement.residual import (
    Fitted,
    ResidualMeasure,
    fit_directions,
    known_positions,
    measure_residual,
    read_background,
)
from entangle_lens.entanglement.selection import most_valid_layer
from entangle_lens.entanglement.side_effects import SideEffects, measure_side_effects
from entangle_lens.entanglement.verdict import Judgement, judge_entanglement
from entangle_lens.errors import EntangleError, choices
from entangle_lens.models import Model, info
from entangle_lens.running import (
    LAST,
    Account,
    check_layers,
    count_tokens,
    counted,
    token_embeddings,
)
from entangle_lens.stimuli import Stimuli

_WITH_SIDE_EFFECTS = (DEFAULT_ARM, ALL_LAYERS_ARM, NAIVE_ARM)


@dataclass(frozen=True)
class Finding:
    """Everything found about one pair of values: moral and one secondary value.

    ``residuals`` holds the measure in the residual stream at each position that was read,
    ``n_tokens`` how many tokens each item is.
    """

    behaviour: Behaviour
    reliability: Reliability
    embedding: EmbeddingMeasure | None
    residuals: Mapping[str, ResidualMeasure]
    repair: Repair
    side_effects: tuple[SideEffects, ...]
    entangled: Judgement
    repaired: Judgement
    n_tokens: tuple[int, ...]

    @property
    def pair(self) -> str:
        """``moral_grammar`` or ``moral_economic``."""
        return self.behaviour.item_set.name

    @property
    def residual(self) -> ResidualMeasure:
        """The measure in the residual stream at the last prompt token: the default."""
        return self.residuals[LAST]


@dataclass(frozen=True)
class Findings:
    """The results of a study: one finding a pair of values, and all fitted directions.

    ``plan`` is what was to be run at most, ``cost`` what was run.
    """

    pairs: dict[str, Finding]
    directions: Directions
    plan: StudyPlan
    cost: Account


@dataclass(frozen=True)
class Directions(Mapping[str | tuple[str, str], Direction]):
    """The fitted directions, each at the layer where it is most valid.

    ``directions["moral"]`` is the moral direction where the moral question is asked;
    ``directions["moral", "grammar"]`` the one where the grammar question is asked.
    ``at_layers`` gives a direction at every measured layer.
    """

    fitted: Mapping[tuple[str, str], LayerDirections]
    n_model_layers: int
    provenance: Mapping[str, str]

    def __getitem__(self, key: str | tuple[str, str]) -> Direction:
        fitted = self.at_layers(key)
        layer = most_valid_layer([fitted], self.n_model_layers)
        if layer is None:
            raise EntangleError(
                f"the {fitted.value} direction under the {fitted.question} question is valid at "
                "no layer; at_layers(...).at(layer) gives it all the same"
            )
        return fitted.at(layer, self.provenance)

    def at_layers(self, key: str | tuple[str, str]) -> LayerDirections:
        """Return a value's direction at every measured layer."""
        pair = (key, key) if isinstance(key, str) else key
        if pair not in self.fitted:
            known = choices(f"{value} | {question}" for value, question in self.fitted)
            raise EntangleError(f"no direction {key!r} was fitted; value | question: {known}")
        return self.fitted[pair]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.fitted)

    def __len__(self) -> int:
        return len(self.fitted)


def run_study(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    *,
    embed: Embed | None = None,
    plan: StudyPlan | None = None,
    progress: bool = False,
) -> Findings:
    """Measure, repair and judge both pairs of values.

    ``embed`` maps texts to vectors, for the measure in embeddings; by default the mean of the
    model's own token embeddings. ``plan`` is made first where it is not given.

    Raises:
        EntangleError: a layer out of range, or stimuli that the model cannot be asked.
    """
    n_layers = int(model.cfg.n_layers)
    layers = tuple(range(n_layers)) if design.layers is None else design.layers
    check_layers(model, layers)
    plan = plan or plan_study(model, stimuli, design)
    with counted() as cost:
        pairs, directions = _study_pairs(model, stimuli, design, layers, embed, progress)
    return Findings(pairs, directions, plan, cost)


def _study_pairs(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    layers: tuple[int, ...],
    embed: Embed | None,
    progress: bool,
) -> tuple[dict[str, Finding], Directions]:
    questions = (MORAL, *stimuli.items)
    fitted = fit_directions(
        model,
        stimuli,
        design,
        layers,
        questions,
        positions=known_positions(model, stimuli, design),
        background=read_background(model, stimuli, layers),
        progress=progress,
    )
    embedding = embed or (lambda texts: token_embeddings(model, texts).numpy())
    pairs = {}
    for secondary in stimuli.items:
        finding = _study_pair(model, stimuli, design, secondary, fitted, embedding, progress)
        pairs[finding.pair] = finding
    directions = Directions(
        fitted[LAST], int(model.cfg.n_layers), _provenance(model, stimuli, design)
    )
    return pairs, directions


def _study_pair(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    secondary: str,
    fitted: Mapping[str, Fitted],
    embed: Embed,
    progress: bool,
) -> Finding:
    item_set = stimuli.items[secondary]
    rng = np.random.default_rng(design.seed)
    asked = {
        value: rate_and_project(
            model,
            item_set.texts,
            stimuli.questions_for(value, design.n_paraphrases),
            design.scale,
            {position: each[value, value] for position, each in fitted.items()},
            desc=f"{value} ratings of {item_set.name} items" if progress else None,
        )
        for value in (MORAL, secondary)
    }
    (moral, moral_read), (own, own_read) = asked[MORAL], asked[secondary]
    behaviour = measure_behaviour(item_set, moral, own, stimuli.human, rng, design.n_resamples)
    reference = behaviour.reference.value
    accuracies = {MORAL: behaviour.moral_accuracy, secondary: behaviour.accuracy}
    entangled = judge_entanglement(behaviour.entanglement, reference, accuracies)
    yardstick = Yardstick(item_set, reference, entangled.word, design.n_resamples, design.seed)
    repair = measure_repair(model, stimuli, design, yardstick, fitted[LAST], progress=progress)
    arms = [arm for arm in repair.arms if arm.name in _WITH_SIDE_EFFECTS]
    return Finding(
        behaviour,
        measure_reliability(behaviour, np.random.default_rng(design.seed), design.n_resamples),
        measure_embedding(item_set, stimuli, embed, rng, design.n_resamples)
        if stimuli.phrases
        else None,
        {
            position: measure_residual(
                item_set, position, moral_read[position], own_read[position], each,
                int(model.cfg.n_layers), rng, design.n_resamples,
            )
            for position, each in fitted.items()
        },
        repair,
        measure_side_effects(model, stimuli, design, arms, progress=progress),
        entangled,
        _repaired(repair, entangled),
        tuple(count_tokens(model, item_set.texts)),
    )  # fmt: skip


def _repaired(repair: Repair, entangled: Judgement) -> Judgement:
    if repair.after is not None and repair.after.judgement is not None:
        return repair.after.judgement
    if entangled.word != "entangled":
        return Judgement("nothing to repair", f"the model is judged {entangled.word}")
    question = repair.item_set.secondary
    reason = f"the moral direction is valid at no layer under the {question} question: none ablated"
    return Judgement("not repaired", reason)


def _provenance(model: Model, stimuli: Stimuli, design: Design) -> dict[str, str]:
    about = info(model)
    return {
        "model": about.name,
        "revision": about.revision,
        "dtype": about.dtype,
        "stimuli": stimuli.name,
        "stimuli_sha256": stimuli.digest,
        "hook_point": "resid_post",
        "position": "last prompt token",
        "scale": str(design.scale),
        "seed": str(design.seed),
    }
