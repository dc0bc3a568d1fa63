"""The comparison of interventions: each chosen on held-out pairs, then judged on the test items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions import random_units
from entangle_lens.entanglement.asking import Asker
from entangle_lens.entanglement.behaviour import Behaviour
from entangle_lens.entanglement.checkpoint_costs import measure_items
from entangle_lens.entanglement.contrasts import Contrasts, read_contrasts
from entangle_lens.entanglement.damage import Damage, DamageMeter
from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.doctor import examine_briefly
from entangle_lens.entanglement.leak import leak
from entangle_lens.entanglement.methods import METHODS, Fits, fits_at, usable
from entangle_lens.entanglement.outcomes import Asked, Outcome, Yardstick
from entangle_lens.entanglement.ratings import Ratings
from entangle_lens.entanglement.repair import draw_null
from entangle_lens.entanglement.residual import Fitted, fit_directions
from entangle_lens.entanglement.selection import count_kept_layers, valid_layers
from entangle_lens.entanglement.validation import Candidate, Validation, Validator, best
from entangle_lens.entanglement.verdict import Judgement
from entangle_lens.errors import EntangleError, choices
from entangle_lens.interventions import ablation
from entangle_lens.models import Model
from entangle_lens.running import LAST
from entangle_lens.statistics import pearson
from entangle_lens.stimuli import ItemSet, Stimuli

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

    ``behaviour`` holds the ratings of the clean model, with the reference and the verdict that a
    study gives. The recommended method is chosen by the same rule as layers and settings, on
    held-out pairs: None where none passes the filters, or where the values are not entangled.
    ``notes`` say which methods were left out, and why.
    """

    rows: tuple[Compared, ...]
    recommended: dict[str, str | None]
    behaviour: dict[str, Behaviour]
    notes: tuple[str, ...] = ()

    def entangled(self, pair: str) -> Judgement:
        """Return the verdict on the clean model."""
        return self.behaviour[pair].judgement

    def row(self, pair: str, method: str) -> Compared:
        """Return what one method did to one pair of values."""
        return next(each for each in self.rows if (each.pair, each.method) == (pair, method))


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
        EntangleError: a method that is not known, or a model that cannot be measured.
    """
    for name in methods:
        if name not in METHODS:
            raise EntangleError(f"method {name!r} is unknown; choose {choices(METHODS)}")
    examine_briefly(model, stimuli, design)
    methods, notes = usable(model, methods)
    questions = (MORAL, *stimuli.items)
    layers = tuple(range(int(model.cfg.n_layers))) if design.layers is None else design.layers
    contrasts = {
        question: read_contrasts(model, stimuli, design, MORAL, question, layers, progress=progress)
        for question in questions
    }
    fitted = fit_directions(
        model, stimuli, design, layers, questions, known=contrasts, progress=progress
    )[LAST]
    meter = DamageMeter.of(model, stimuli)
    rows: list[Compared] = []
    recommended: dict[str, str | None] = {}
    behaviour: dict[str, Behaviour] = {}
    for item_set in stimuli.items.values():
        asker = Asker(model, stimuli, design, item_set, fitted, progress)
        clean = measure_items(
            model, stimuli, design, item_set, progress="clean" if progress else None
        )
        bench = _Bench(asker, meter, contrasts, Yardstick.of(clean, design))
        chosen = bench.chosen(methods)
        rows += bench.judge(chosen)
        passing = [each for each in chosen if each.passes and each.candidate.method in methods]
        wanted = passing and clean.judgement.word == "entangled"
        recommended[item_set.name] = best(passing).candidate.method if wanted else None
        behaviour[item_set.name] = clean
    return Comparison(tuple(rows), recommended, behaviour, notes)


@dataclass(frozen=True)
class _Bench:
    """Everything that interventions on one item set are chosen and judged with."""

    asker: Asker
    meter: DamageMeter
    contrasts: Mapping[str, Contrasts]
    yardstick: Yardstick

    @property
    def item_set(self) -> ItemSet:
        return self.asker.item_set

    def chosen(self, methods: Sequence[str]) -> list[Validation]:
        """Return each method's best candidate, and each control's."""
        asker, secondary = self.asker, self.item_set.secondary
        validator = Validator.of(asker.model, asker.stimuli, asker.design, secondary, self.meter)
        by_method: dict[str, list[Validation]] = {}
        for candidate in self._candidates(methods):
            validation = validator.validate(candidate)
            by_method.setdefault(candidate.method, []).append(validation)
        return [best(each) for each in by_method.values()]

    def judge(self, chosen: Sequence[Validation]) -> Iterator[Compared]:
        """Yield the clean run, then what each chosen intervention does to the test items."""
        layers = sorted(
            {each.candidate.layer for each in chosen if each.candidate.layer is not None}
        )
        clean = self._ask(Candidate(CLEAN, "no intervention", None, ()), layers)
        outcome = self.yardstick.outcome(CLEAN, "no intervention", clean.asked(self.item_set))
        yield self._compared(CLEAN, None, outcome, clean, 0.0)
        nulls = {layer: draw_null(self.asker, layer, self.yardstick.reference) for layer in layers}
        for validation in chosen:
            candidate = validation.candidate
            # A prompt has no layer: it is held against the random directions of the lowest one.
            null = nulls[layers[0] if candidate.layer is None else candidate.layer]
            at = () if candidate.layer is None else (candidate.layer,)
            answers = self._ask(candidate, at)
            outcome = self.yardstick.judged(
                candidate.method,
                candidate.setting,
                clean.asked(self.item_set),
                answers.asked(self.item_set),
                null,
            )
            size = 0.0 if candidate.layer is None else _size(clean, answers, candidate.layer)
            yield self._compared(candidate.method, validation, outcome, answers, size)

    def _candidates(self, methods: Sequence[str]) -> Iterator[Candidate]:
        yield Candidate(PROMPT, IGNORE, None, (), IGNORE)
        for layer in self._layers():
            fits = self._fits(layer)
            for name in methods:
                for setting, edits in METHODS[name].make(fits).items():
                    yield Candidate(name, setting, layer, edits)
            for name, unit in self._random(fits).items():
                edit = ablation(self.asker.model, unit, layers=layer)
                yield Candidate(name, "one layer", layer, (edit,))

    def _layers(self) -> list[int]:
        """Return the layers where the moral direction is valid, else all but the last fifth."""
        fitted = self.asker.fitted[MORAL, self.item_set.secondary]
        n_layers = int(self.asker.model.cfg.n_layers)
        valid = valid_layers(fitted, n_layers)
        kept = np.asarray(fitted.layers) < count_kept_layers(n_layers)
        return [fitted.layers[row] for row in np.flatnonzero(valid if valid.any() else kept)]

    def _fits(self, layer: int) -> Fits:
        at_layer = {
            question: (each.at("fit", layer), each.at("select", layer))
            for question, each in self.contrasts.items()
        }
        fitted: Fitted = self.asker.fitted
        secondary, pairs = self.item_set.secondary, self.asker.stimuli.items
        graded = [value for value, question in fitted if question == secondary and value in pairs]
        others = [fitted[v, secondary].vectors[fitted[v, secondary].row(layer)] for v in graded]
        return fits_at(self.asker.model, layer, at_layer, secondary, torch.stack(others))

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

    def _ask(self, candidate: Candidate, layers: Sequence[int]) -> _Answers:
        """Put every question to the model once; residuals are those of the secondary question."""
        ratings: dict[str, Ratings] = {}
        resid: dict[int, Float[Tensor, "item d_model"]] = {}
        for question in (MORAL, *self.asker.stimuli.items):
            at = tuple(layers) if question == self.item_set.secondary else ()
            ratings[question], read = self.asker.rate(
                question, at, candidate.edits, candidate.method, candidate.preamble
            )
            resid |= {layer: read[:, column] for column, layer in enumerate(at)}
        return _Answers(ratings, resid)

    def _compared(
        self,
        method: str,
        validation: Validation | None,
        outcome: Outcome,
        answers: _Answers,
        size: float,
    ) -> Compared:
        edits = validation.candidate.edits if validation else ()
        kl = validation.kl if validation else None
        damage = self.meter.measure(edits, kl=kl)
        leakage = _leakage(self.item_set, answers.ratings)
        return Compared(method, self.item_set.name, validation, outcome, damage, leakage, size)


@dataclass(frozen=True, eq=False)
class _Answers:
    """The answers to every question about one item set, and the residuals that were read."""

    ratings: Mapping[str, Ratings]
    resid: Mapping[int, Float[Tensor, "item d_model"]]

    def asked(self, item_set: ItemSet) -> Asked:
        """Return the two questions of the pair."""
        return Asked(self.ratings[MORAL], self.ratings[item_set.secondary])


def _leakage(item_set: ItemSet, ratings: Mapping[str, Ratings]) -> dict[tuple[str, str], float]:
    """Return r(design level, rating) by level and question; the leak without the other level."""
    found = {}
    for question, each in ratings.items():
        own = question == item_set.secondary
        moral = leak(item_set, each.mean) if own else pearson(item_set.moral, each.mean)
        found[MORAL, question] = float(moral)
        found[item_set.secondary, question] = float(pearson(item_set.level, each.mean))
    return found


def _size(clean: _Answers, edited: _Answers, layer: int) -> float:
    """Return the mean relative change of the residuals after ``layer``."""
    one, other = clean.resid[layer], edited.resid[layer]
    return float(((other - one).norm(dim=-1) / one.norm(dim=-1)).mean())
