"""The whole study, start to end: measure in three places, ablate, judge, say it in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from entangle_lens.directions import Direction, LayerDirections
from entangle_lens.entanglement.askable import Prompting, describe_prompting
from entangle_lens.entanglement.asking import Asker
from entangle_lens.entanglement.behaviour import Behaviour, measure_behaviour
from entangle_lens.entanglement.damage import DamageMeter
from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.embedding import Embed, EmbeddingMeasure, measure_embedding
from entangle_lens.entanglement.outcomes import Yardstick
from entangle_lens.entanglement.plan import StudyPlan, plan_study
from entangle_lens.entanglement.provenance import provenance_of
from entangle_lens.entanglement.ratings import rate_and_project
from entangle_lens.entanglement.reliability import Reliability, measure_reliability
from entangle_lens.entanglement.repair import (
    MAIN_ARMS,
    Repair,
    judge_default_ablation,
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
from entangle_lens.entanglement.verdict import Judgement
from entangle_lens.errors import UnknownKeyError, choices
from entangle_lens.models import Model
from entangle_lens.running import (
    LAST,
    Account,
    check_layers,
    count_tokens,
    counted,
    token_embeddings,
)
from entangle_lens.stimuli import Stimuli


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
    """The results of a study: one finding per pair of values, and all fitted directions.

    ``plan`` is what was to be run at most, ``cost`` what was run, ``prompting`` how it was asked.
    """

    pairs: dict[str, Finding]
    directions: Directions
    plan: StudyPlan
    cost: Account
    prompting: Prompting


@dataclass(frozen=True)
class Directions(Mapping[str | tuple[str, str], Direction]):
    """The fitted directions, each at one layer.

    ``directions["moral"]`` is the moral direction where the moral question is asked;
    ``directions["moral", "grammar"]`` the one where the grammar question is asked. The latter is
    the direction that the repair ablated, at its layer; every other direction is at the layer where
    it is most valid. Directions that are valid at no layer are not in the mapping;
    ``at_layers`` gives each at every measured layer.
    """

    fitted: Mapping[tuple[str, str], LayerDirections]
    layers: Mapping[tuple[str, str], int]
    provenance: Mapping[str, str]

    def __getitem__(self, key: str | tuple[str, str]) -> Direction:
        fitted = self.at_layers(key)
        layer = self.layers.get((fitted.value, fitted.question))
        if layer is None:
            raise UnknownKeyError(
                f"the {fitted.value} direction under the {fitted.question} question is valid at "
                f"no layer of those measured ({choices(fitted.layers)}); at_layers(...).at(layer) "
                "gives it all the same"
            )
        return fitted.at(layer)

    def at_layers(self, key: str | tuple[str, str]) -> LayerDirections:
        """Return a value's direction at every measured layer."""
        pair = (key, key) if isinstance(key, str) else key
        if pair not in self.fitted:
            known = choices(f"{value} | {question}" for value, question in self.fitted)
            raise UnknownKeyError(f"no direction {key!r} was fitted; value | question: {known}")
        return self.fitted[pair]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return (pair for pair in self.fitted if pair in self.layers)

    def __len__(self) -> int:
        return len(self.layers)


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
    prompting = describe_prompting(model, stimuli, design)
    plan = plan or plan_study(model, stimuli, design)
    with counted() as cost:
        pairs, directions = _study_pairs(model, stimuli, design, layers, embed, progress)
    return Findings(pairs, directions, plan, cost, prompting)


@dataclass(frozen=True, eq=False)
class _Session:
    """What every pair of one study is studied with."""

    model: Model
    stimuli: Stimuli
    design: Design
    fitted: Mapping[str, Fitted]
    embed: Embed
    meter: DamageMeter
    clean_effects: SideEffects
    progress: bool


def _study_pairs(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    layers: tuple[int, ...],
    embed: Embed | None,
    progress: bool,
) -> tuple[dict[str, Finding], Directions]:
    fitted = fit_directions(
        model,
        stimuli,
        design,
        layers,
        (MORAL, *stimuli.items),
        positions=known_positions(model, stimuli, design),
        background=read_background(model, stimuli, layers),
        progress=progress,
    )
    embedding = embed or (lambda texts: token_embeddings(model, texts).numpy())
    meter = DamageMeter.of(model, stimuli)
    effects = measure_side_effects(model, stimuli, design, meter.clean, progress=progress)
    session = _Session(model, stimuli, design, fitted, embedding, meter, effects, progress)
    findings = [_study_pair(session, secondary) for secondary in stimuli.items]
    chosen = _chosen_layers(fitted[LAST], findings, int(model.cfg.n_layers))
    directions = Directions(fitted[LAST], chosen, provenance_of(model, stimuli, design))
    return {finding.pair: finding for finding in findings}, directions


def _chosen_layers(
    fitted: Fitted, findings: Sequence[Finding], n_layers: int
) -> dict[tuple[str, str], int]:
    """Return each direction's layer: where the repair ablated it, else where it is most valid."""
    repairs = [finding.repair for finding in findings]
    ablated = {(MORAL, each.item_set.secondary): each.choice.layer for each in repairs}
    layers = {
        pair: ablated[pair] if pair in ablated else most_valid_layer([direction], n_layers)
        for pair, direction in fitted.items()
    }
    return {pair: layer for pair, layer in layers.items() if layer is not None}


def _study_pair(session: _Session, secondary: str) -> Finding:
    model, stimuli, design = session.model, session.stimuli, session.design
    item_set, fitted = stimuli.items[secondary], session.fitted
    rng = np.random.default_rng(design.seed)
    (moral, moral_read), (own, own_read) = (
        rate_and_project(
            model,
            item_set.texts,
            design.questions(stimuli, value),
            design.scale,
            {position: each[value, value] for position, each in fitted.items()},
            desc=f"{value} ratings of {item_set.name} items" if session.progress else None,
        )
        for value in (MORAL, secondary)
    )
    behaviour = measure_behaviour(item_set, moral, own, stimuli.human, rng, design.n_resamples)
    asker = Asker(model, stimuli, design, item_set, fitted[LAST], session.progress)
    yardstick = Yardstick.of(behaviour, design)
    repair = measure_repair(asker, yardstick, session.meter)
    reliability = measure_reliability(
        behaviour, np.random.default_rng(design.seed), design.n_resamples
    )
    embedding = None
    if stimuli.phrases:
        embedding = measure_embedding(item_set, stimuli, session.embed, rng, design.n_resamples)
    n_layers = int(model.cfg.n_layers)
    residuals = {
        position: measure_residual(
            item_set,
            position,
            moral_read[position],
            own_read[position],
            each,
            n_layers,
            rng,
            design.n_resamples,
        )
        for position, each in fitted.items()
    }
    return Finding(
        behaviour,
        reliability,
        embedding,
        residuals,
        repair,
        _side_effects(session, repair),
        behaviour.judgement,
        judge_default_ablation(repair, behaviour.judgement, n_layers),
        tuple(count_tokens(model, item_set.texts)),
    )


def _side_effects(session: _Session, repair: Repair) -> tuple[SideEffects, ...]:
    measured = [
        measure_side_effects(
            session.model,
            session.stimuli,
            session.design,
            session.meter.clean,
            arm,
            progress=session.progress,
        )
        for arm in repair.arms
        if arm.name in MAIN_ARMS
    ]
    return (session.clean_effects, *measured)
