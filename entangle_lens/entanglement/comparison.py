"""The comparison of interventions: each chosen on held-out pairs, then judged on the test items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions import random_units, removed_variance
from entangle_lens.entanglement.asking import Asker
from entangle_lens.entanglement.contrasts import Contrasts, read_contrasts
from entangle_lens.entanglement.damage import Damage, DamageMeter
from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.methods import METHODS, Fits, fits_at
from entangle_lens.entanglement.outcomes import Asked, Null, Outcome, Yardstick
from entangle_lens.entanglement.residual import Fitted, fit_directions
from entangle_lens.entanglement.selection import valid_layers
from entangle_lens.entanglement.validation import Candidate, Validation, Validator, best
from entangle_lens.entanglement.verdict import judge_entanglement
from entangle_lens.errors import EntangleError, choices
from entangle_lens.interventions import ablation
from entangle_lens.models import Model
from entangle_lens.running import LAST, Ablation
from entangle_lens.statistics import Clusters, correlation_estimate, pearson
from entangle_lens.stimuli import Stimuli

PROMPT, SHUFFLED, RANDOM = "prompt: ignore morality", "label-shuffled", "random, matched"
CONTROLS = (PROMPT, SHUFFLED, RANDOM)
IGNORE = "Ignore whether the act is morally right or wrong."
CLEAN = "clean"


@dataclass(frozen=True)
class Compared:
    """One intervention on one item set: how it was chosen, what it did, what it cost.

    ``leakage`` is r(design level, rating) under it, by (level, question). ``size`` is the mean
    relative change |h' - h| / |h| that it makes after its layer, at the items' last prompt token.
    """

    method: str
    pair: str
    validation: Validation | None
    outcome: Outcome
    damage: Damage
    leakage: dict[tuple[str, str], float]
    size: float


@dataclass(frozen=True)
class Comparison:
    """All interventions on all item sets, the clean run first; ``recommended`` by pair.

    The recommended one is chosen by the same rule as layers and settings, on held-out pairs: None
    where none passes the filters, or where the values are not entangled.
    """

    rows: tuple[Compared, ...]
    recommended: dict[str, str | None]
    entangled: dict[str, str]


def compare_interventions(
    model: Model,
    stimuli: Stimuli,
    design: Design,
    methods: Sequence[str] = tuple(METHODS),
    *,
    progress: bool = False,
) -> Comparison:
    """Fit every method, choose its layer and setting on held-out pairs, judge it on the test items.

    Raises:
        EntangleError: a method that is not known.
    """
    for name in methods:
        if name not in METHODS:
            raise EntangleError(f"method {name!r} is unknown; choose {choices(METHODS)}")
    questions = (MORAL, *stimuli.items)
    layers = tuple(range(int(model.cfg.n_layers))) if design.layers is None else design.layers
    fitted = fit_directions(model, stimuli, design, layers, questions, progress=progress)[LAST]
    contrasts = {
        question: read_contrasts(model, stimuli, design, MORAL, question, layers)
        for question in questions
    }
    meter = DamageMeter.of(model, stimuli)
    rows: list[Compared] = []
    recommended: dict[str, str | None] = {}
    entangled: dict[str, str] = {}
    for secondary, item_set in stimuli.items.items():
        asker = Asker(model, stimuli, design, item_set, fitted, progress)
        bench = _Bench(asker, meter, contrasts)
        entangled[item_set.name] = bench.entangled
        chosen = bench.chosen(secondary, methods)
        rows += bench.judge(chosen)
        passing = [each for each in chosen if each.passes and each.candidate.method in methods]
        wanted = passing and bench.entangled == "entangled"
        recommended[item_set.name] = best(passing).candidate.method if wanted else None
    return Comparison(tuple(rows), recommended, entangled)


class _Bench:
    """Everything that interventions on one item set are chosen and judged with."""

    def __init__(self, asker: Asker, meter: DamageMeter, contrasts: dict[str, Contrasts]) -> None:
        self.asker, self.meter, self.contrasts = asker, meter, contrasts
        self.model, self.design, self.item_set = asker.model, asker.design, asker.item_set
        self.clean = asker.ask(None)
        self.entangled = self._judge_entanglement()
        self.yardstick = Yardstick(
            self.item_set, 0.0, self.entangled, self.design.n_resamples, self.design.seed
        )

    def chosen(self, secondary: str, methods: Sequence[str]) -> list[Validation]:
        """Return each method's best candidate, and each control's."""
        validator = Validator.of(self.model, self.asker.stimuli, self.design, secondary, self.meter)
        by_method: dict[str, list[Validation]] = {}
        for candidate in self._candidates(secondary, methods):
            validation = validator.validate(candidate)
            by_method.setdefault(candidate.method, []).append(validation)
        return [best(each) for each in by_method.values()]

    def judge(self, chosen: Sequence[Validation]) -> Iterator[Compared]:
        """Yield the clean run, then what each chosen intervention does to the test items."""
        outcome = self.yardstick.outcome(CLEAN, "no intervention", self.clean)
        nothing = Candidate(CLEAN, "", None, ())
        yield self._compared(nothing, None, outcome)
        layers = sorted(
            {each.candidate.layer for each in chosen if each.candidate.layer is not None}
        )
        nulls = {layer: self._null(layer) for layer in layers}
        for validation in chosen:
            candidate = validation.candidate
            # A prompt has no layer: it is held against the random directions of the lowest one.
            null = nulls[layers[0] if candidate.layer is None else candidate.layer]
            asked = self._ask(candidate)
            outcome = self.yardstick.judged(
                candidate.method, candidate.setting, self.clean, asked, null
            )
            yield self._compared(candidate, validation, outcome)

    def _judge_entanglement(self) -> str:
        clusters = Clusters.of(self.item_set.scenario_ids)
        rng = np.random.default_rng(self.design.seed)
        moral, own = self.clean.moral.mean, self.clean.secondary.mean

        def r(x: Float[np.ndarray, " item"], y: Float[np.ndarray, " item"]):  # type: ignore[no-untyped-def]
            return correlation_estimate(x, y, clusters, rng, self.design.n_resamples)

        accuracies = {MORAL: r(self.item_set.moral, moral), "own": r(self.item_set.level, own)}
        return judge_entanglement(r(moral, own), 0.0, accuracies).word

    def _candidates(self, secondary: str, methods: Sequence[str]) -> Iterator[Candidate]:
        yield Candidate(PROMPT, IGNORE, None, (), IGNORE)
        for layer in self._layers(secondary):
            fits = self._fits(secondary, layer)
            for name in methods:
                for setting, edits in METHODS[name].make(fits).items():
                    yield Candidate(name, setting, layer, edits)
            for name, unit in self._random(fits).items():
                edit = ablation(self.model, unit, layers=layer)
                yield Candidate(name, "one layer", layer, (edit,))

    def _layers(self, secondary: str) -> list[int]:
        """Return the layers where the moral direction is valid, else all but the last fifth."""
        fitted = self.asker.fitted[MORAL, secondary]
        n_layers = int(self.model.cfg.n_layers)
        valid = valid_layers(fitted, n_layers)
        kept = np.asarray(fitted.layers) < max(1, int(n_layers * 0.8))
        return [fitted.layers[row] for row in np.flatnonzero(valid if valid.any() else kept)]

    def _fits(self, secondary: str, layer: int) -> Fits:
        at_layer = {
            question: (each.at("fit", layer), each.at("select", layer))
            for question, each in self.contrasts.items()
        }
        fitted: Fitted = self.asker.fitted
        graded = [v for v, q in fitted if q == secondary and v in self.asker.stimuli.items]
        others = [fitted[v, secondary].vectors[fitted[v, secondary].row(layer)] for v in graded]
        return fits_at(self.model, layer, at_layer, secondary, torch.stack(others))

    def _random(self, fits: Fits) -> dict[str, Float[Tensor, " d_model"]]:
        """Return control directions: every second pair's labels swapped, and one at random."""
        n_pairs = fits.fit.positive.shape[1]
        signs = torch.from_numpy(fits.rng.permutation(np.resize([-1.0, 1.0], n_pairs)))
        differences = (fits.fit.positive.double() - fits.fit.negative.double()).mean(0)
        resid = torch.cat([*fits.fit.positive, *fits.fit.negative])
        moral = fits.vector("difference of means")
        return {
            SHUFFLED: (signs[:, None] * differences).mean(0),
            RANDOM: random_units(resid, moral, 1, fits.rng)[0],
        }

    def _null(self, layer: int) -> Null:
        """Draw the leak under random directions of the moral direction's removed variance."""
        fitted = self.asker.fitted[MORAL, self.item_set.secondary]
        vector, resid = fitted.vectors[fitted.row(layer)], self.asker.residuals(layer)
        rng = np.random.default_rng(self.design.seed)
        units = random_units(resid, vector, self.design.n_random, rng)
        unit = torch.nn.functional.normalize(vector, dim=0)[None]
        ratio = removed_variance(resid, units).median() / removed_variance(resid, unit)
        ablations = [Ablation(each, (layer,)) for each in units]
        ratings, _ = self.asker.ratings_without(
            self.item_set.secondary, ablations, "random directions", with_mass=False
        )
        return Null.of(pearson(self.item_set.moral, ratings), 0.0, float(ratio))

    def _ask(self, candidate: Candidate) -> Asked:
        moral, secondary = (
            self.asker.rate(value, (), candidate.edits, candidate.method, candidate.preamble)[0]
            for value in (MORAL, self.item_set.secondary)
        )
        return Asked(moral, secondary)

    def _compared(
        self, candidate: Candidate, validation: Validation | None, outcome: Outcome
    ) -> Compared:
        return Compared(
            candidate.method,
            self.item_set.name,
            validation,
            outcome,
            self.meter.measure(candidate.edits),
            self._leakage(candidate),
            self._size(candidate),
        )

    def _leakage(self, candidate: Candidate) -> dict[tuple[str, str], float]:
        levels = {MORAL: self.item_set.moral, self.item_set.secondary: self.item_set.level}
        leakage = {}
        for question in (MORAL, *self.asker.stimuli.items):
            asked = self.asker.rate(question, (), candidate.edits, preamble=candidate.preamble)
            for level, values in levels.items():
                leakage[level, question] = float(pearson(values, asked[0].mean))
        return leakage

    def _size(self, candidate: Candidate) -> float:
        if candidate.layer is None:
            return 0.0
        at = (candidate.layer,)
        value = self.item_set.secondary
        clean, edited = (
            self.asker.rate(value, at, edits)[1][:, 0] for edits in ((), candidate.edits)
        )
        return float(((edited - clean).norm(dim=-1) / clean.norm(dim=-1)).mean())
