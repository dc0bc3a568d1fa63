"""The choice of layer and setting for an intervention, on scenarios that no result is read from.

The rule is fixed before test items are looked at, and it is the same for a study, a comparison and
a repaired checkpoint. A candidate passes where the mean KL on neutral prompts is at most .1 (the
filter of Arditi et al., arXiv 2406.11717, who discard the last fifth of the layers as well) and
where it keeps what the verdict asks of the secondary ratings: on held-out secondary pairs, 95 % of
the clean d', half of the clean standard deviation, and the option mass. Of those that pass, the one
is taken under which held-out moral pairs differ least in their secondary ratings, measured in the
difference that secondary pairs make. Less than .05 counts as nothing left (half of what the verdict
counts as a leak; smaller differences between candidates are noise of the held-out pairs), and of
several with nothing left the one is taken that tells secondary pairs apart best. Where none passes,
none is recommended, and the one with the least left and lost is shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from entangle_lens.directions import LayerDirections
from entangle_lens.entanglement.damage import DamageMeter
from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.ratings import rate, summarise
from entangle_lens.entanglement.rule import MAX_MASS_LOSS, MIN_SPREAD_KEPT, SMALLEST
from entangle_lens.entanglement.selection import valid_layers
from entangle_lens.entanglement.side_effects import ACCEPTED_KL
from entangle_lens.interventions import ablation
from entangle_lens.models import Model
from entangle_lens.running import Ablation, Edit, rating_prompts, read_ablated
from entangle_lens.statistics import d_prime
from entangle_lens.stimuli import Stimuli

MIN_KEPT = 0.95
NOTHING_LEFT = SMALLEST / 2


@dataclass(frozen=True)
class Candidate:
    """One method at one layer in one setting; ``preamble`` is said before each question."""

    method: str
    setting: str
    layer: int | None
    edits: tuple[Edit, ...]
    preamble: str = ""


@dataclass(frozen=True)
class Validation:
    """What a candidate did on the selection split.

    ``left`` is the gap between the secondary ratings of positive and negative moral pairs, over
    the gap between those of secondary pairs; ``kept`` the d' of the secondary pairs over the clean
    one, ``spread`` the standard deviation of their ratings over the clean one, ``mass_lost`` the
    fall of their option mass; ``kl`` the mean KL on neutral prompts. ``secondary`` names the value.
    """

    candidate: Candidate
    left: float
    kept: float
    spread: float
    kl: float
    mass_lost: float = 0.0
    secondary: str = "secondary"

    @property
    def failures(self) -> tuple[str, ...]:
        """The filters that do not let it through, in words (a KL that is not measured does)."""
        return tuple(self._failures())

    def _failures(self) -> Iterator[str]:
        if self.kl > ACCEPTED_KL:
            yield f"KL on neutral prompts is {self.kl:.2f} (at most {ACCEPTED_KL:g})"
        if not self.kept >= MIN_KEPT:
            yield f"{self.secondary} ratings keep {self.kept:.0%} of their d' on held-out pairs"
        if not self.spread >= MIN_SPREAD_KEPT:
            kept = f"{self.spread:.0%} of their spread"
            yield f"{self.secondary} ratings keep {kept} on held-out pairs"
        if not self.mass_lost <= MAX_MASS_LOSS:
            yield f"option mass falls by {self.mass_lost:.2f} on held-out pairs"

    @property
    def passes(self) -> bool:
        """Whether the filters let it through."""
        return not self.failures

    @property
    def rank(self) -> tuple[bool, float, float]:
        """The sort key; the lowest is chosen: those that pass, then by what is left and lost."""
        lost = 0.0 if self.passes else max(0.0, 1 - self.kept) + max(0.0, self.kl)
        left = max(abs(self.left), NOTHING_LEFT) + lost
        return not self.passes, _or_worst(left), _or_worst(-self.kept)


def _or_worst(number: float) -> float:
    return math.inf if math.isnan(number) else number


def best(validations: Sequence[Validation]) -> Validation:
    """Return the validation that the rule chooses."""
    return min(validations, key=lambda each: each.rank)


@dataclass(frozen=True)
class LayerChoice:
    """Where the rule ablates a direction: one validation for each layer where it is valid.

    ``layer`` is None where the direction is valid at no layer.
    """

    validations: tuple[Validation, ...]

    @property
    def chosen(self) -> Validation | None:
        """The validation of the chosen layer."""
        return best(self.validations) if self.validations else None

    @property
    def layer(self) -> int | None:
        """The chosen layer."""
        return None if self.chosen is None else self.chosen.candidate.layer


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Secondary ratings of held-out pairs: of moral pairs, then of secondary ones."""

    positive: Float[np.ndarray, " pair"]
    negative: Float[np.ndarray, " pair"]
    high: Float[np.ndarray, " own_pair"]
    low: Float[np.ndarray, " own_pair"]
    mass: float

    @property
    def gap(self) -> float:
        """The mean difference that the secondary pairs make."""
        return float(self.high.mean() - self.low.mean())

    @property
    def moral_gap(self) -> float:
        """The mean difference that the moral pairs make."""
        return float(self.positive.mean() - self.negative.mean())

    @property
    def d_prime(self) -> float:
        """How well the ratings tell secondary pairs apart."""
        return float(d_prime(self.high, self.low))

    @property
    def spread(self) -> float:
        """The standard deviation of the secondary pairs' ratings."""
        return float(np.concatenate([self.high, self.low]).std())


@dataclass(frozen=True)
class Validator:
    """Asks the secondary question about held-out pairs of both values."""

    model: Model
    stimuli: Stimuli
    design: Design
    secondary: str
    meter: DamageMeter
    clean: HeldOut

    @classmethod
    def of(
        cls, model: Model, stimuli: Stimuli, design: Design, secondary: str, meter: DamageMeter
    ) -> Validator:
        """Ask the clean model, to which every candidate is compared."""
        clean = _read(model, stimuli, design, secondary, Candidate("clean", "", None, ()))
        return cls(model, stimuli, design, secondary, meter, clean)

    def validate(self, candidate: Candidate) -> Validation:
        """Measure one candidate."""
        read = _read(self.model, self.stimuli, self.design, self.secondary, candidate)
        return self._compared(candidate, read)

    def choose_layer(self, direction: LayerDirections, desc: str | None = None) -> LayerChoice:
        """Choose where to ablate ``direction``, among the layers where it is valid."""
        valid = valid_layers(direction, int(self.model.cfg.n_layers))
        layers = [direction.layers[row] for row in np.flatnonzero(valid)]
        if not layers:
            return LayerChoice(())
        ablations = [ablation(self.model, direction.at(layer)) for layer in layers]
        read = zip(layers, ablations, self._sweep(ablations, desc), strict=True)
        return LayerChoice(
            tuple(
                self._compared(Candidate("ablation", "one layer", layer, (edit,)), held_out)
                for layer, edit, held_out in read
            )
        )

    def _sweep(self, ablations: Sequence[Ablation], desc: str | None) -> list[HeldOut]:
        """Read the pairs under many one-layer ablations, resumed from one clean pass."""
        texts = _texts(self.stimuli, self.secondary)
        asked = self.design.repair_questions(self.stimuli, self.secondary)
        ratings, mass = np.zeros((2, len(ablations), len(texts)))
        for question in asked:
            group = rating_prompts(self.model, texts, question, self.design.scale)
            log_probs = read_ablated(self.model, group, ablations, desc=desc)
            mean, _, total = summarise(log_probs, question, self.design.scale)
            ratings += mean / len(asked)
            mass += total / len(asked)
        return [
            _held_out(self.stimuli, self.secondary, *each)
            for each in zip(ratings, mass, strict=True)
        ]

    def _compared(self, candidate: Candidate, read: HeldOut) -> Validation:
        return Validation(
            candidate,
            left=_ratio(read.moral_gap, read.gap),
            kept=_ratio(read.d_prime, self.clean.d_prime),
            spread=_ratio(read.spread, self.clean.spread),
            kl=self.meter.kl(candidate.edits) if candidate.edits else 0.0,
            mass_lost=self.clean.mass - read.mass,
            secondary=self.secondary,
        )


def _read(
    model: Model, stimuli: Stimuli, design: Design, secondary: str, candidate: Candidate
) -> HeldOut:
    texts = _texts(stimuli, secondary)
    asked = design.repair_questions(stimuli, secondary)
    questions = [question.after(candidate.preamble) for question in asked]
    ratings, _ = rate(model, texts, questions, design.scale, edits=candidate.edits)
    return _held_out(stimuli, secondary, ratings.mean, ratings.mass.mean(0))


def _texts(stimuli: Stimuli, secondary: str) -> list[str]:
    moral, own = stimuli.contrasts[MORAL, "select"], stimuli.contrasts[secondary, "select"]
    return [*moral.positive, *moral.negative, *own.positive, *own.negative]


def _held_out(
    stimuli: Stimuli,
    secondary: str,
    ratings: Float[np.ndarray, " text"],
    mass: Float[np.ndarray, " text"],
) -> HeldOut:
    """Take apart what :func:`_texts` put together."""
    n_moral, n_own = (len(stimuli.contrasts[value, "select"]) for value in (MORAL, secondary))
    ends = np.cumsum([n_moral, n_moral, n_own])
    positive, negative, high, low = np.split(ratings, ends)
    return HeldOut(positive, negative, high, low, float(mass[2 * n_moral :].mean()))


def _ratio(value: float, clean: float) -> float:
    """Return value / clean, NaN where the clean ratings do not vary."""
    return value / clean if clean else math.nan
