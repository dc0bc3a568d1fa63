"""The choice of layer and setting for an intervention, on scenarios that no result is read from.

The rule is fixed before test items are looked at. A candidate passes where the mean KL on neutral
prompts is at most .1 (the filter of Arditi et al., arXiv 2406.11717, who discard the last fifth of
the layers as well) and where the secondary ratings still tell held-out secondary pairs apart: 95 %
of the clean d' and half of the clean gap are kept. Of those that pass, the one is taken under which
held-out moral pairs differ least in their secondary ratings, measured in the difference that
secondary pairs make. Where none passes, none is recommended, and the one with the least left and
lost is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from entangle_lens.entanglement.damage import DamageMeter
from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.ratings import rate
from entangle_lens.entanglement.side_effects import ACCEPTED_KL
from entangle_lens.entanglement.verdict import MIN_SPREAD_KEPT
from entangle_lens.models import Model
from entangle_lens.running import Edit
from entangle_lens.statistics import d_prime
from entangle_lens.stimuli import ContrastSet, Stimuli

MIN_KEPT = 0.95


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
    one, and ``gap`` their gap over the clean one; ``kl`` the mean KL on neutral prompts.
    """

    candidate: Candidate
    left: float
    kept: float
    gap: float
    kl: float

    @property
    def passes(self) -> bool:
        """Whether the filters let it through (a KL that cannot be measured does)."""
        told_apart = self.kept >= MIN_KEPT and self.gap >= MIN_SPREAD_KEPT
        return not self.kl > ACCEPTED_KL and told_apart

    @property
    def rank(self) -> tuple[bool, float]:
        """What the lowest of is chosen: those that pass, then by what is left and lost."""
        lost = 0.0 if self.passes else max(0.0, 1 - self.kept) + max(0.0, self.kl)
        return not self.passes, abs(self.left) + lost


@dataclass(frozen=True)
class Validator:
    """Asks the secondary question about held-out pairs of both values."""

    model: Model
    stimuli: Stimuli
    design: Design
    secondary: str
    meter: DamageMeter
    clean: tuple[float, float]

    @classmethod
    def of(
        cls, model: Model, stimuli: Stimuli, design: Design, secondary: str, meter: DamageMeter
    ) -> Validator:
        """Ask the clean model, whose d' and gap are to be kept."""
        clean = cls(model, stimuli, design, secondary, meter, (1.0, 1.0)).ratings(secondary)
        return cls(model, stimuli, design, secondary, meter, (_d_prime(*clean), _gap(*clean)))

    def validate(self, candidate: Candidate) -> Validation:
        """Measure one candidate."""
        good, bad = self.ratings(MORAL, candidate)
        high, low = self.ratings(self.secondary, candidate)
        kl = self.meter.kl(candidate.edits) if candidate.edits else 0.0
        return Validation(
            candidate,
            left=_gap(good, bad) / _gap(high, low),
            kept=_d_prime(high, low) / self.clean[0],
            gap=_gap(high, low) / self.clean[1],
            kl=kl,
        )

    def ratings(
        self, value: str, candidate: Candidate | None = None
    ) -> tuple[Float[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
        """Return the secondary ratings of one value's held-out positive and negative texts."""
        pairs: ContrastSet = self.stimuli.contrasts[value, "select"]
        asked = self.stimuli.questions_for(self.secondary, self.design.n_repair_paraphrases)
        preamble, edits = (candidate.preamble, candidate.edits) if candidate else ("", ())
        texts = [*pairs.positive, *pairs.negative]
        scale = self.design.scale
        questions = [question.after(preamble) for question in asked]
        ratings, _ = rate(self.model, texts, questions, scale, edits=edits)
        return ratings.mean[: len(pairs)], ratings.mean[len(pairs) :]


def _d_prime(high: Float[np.ndarray, " pair"], low: Float[np.ndarray, " pair"]) -> float:
    return float(d_prime(high, low))


def _gap(high: Float[np.ndarray, " pair"], low: Float[np.ndarray, " pair"]) -> float:
    return float(high.mean() - low.mean())


def best(validations: Sequence[Validation]) -> Validation:
    """Return the validation that the rule chooses."""
    return min(validations, key=lambda each: each.rank)
