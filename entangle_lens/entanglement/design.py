"""What a study does and how much of it: the choices that are fixed before the data are seen."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, SupportsIndex

from entangle_lens.errors import EntangleError, choices
from entangle_lens.statistics.correlation import MIN_CLUSTERS
from entangle_lens.statistics.intervals import N_RESAMPLES
from entangle_lens.stimuli import MIN_PAIRS, POLARITIES, Question, Scale, Stimuli

MORAL = "moral"
BOTH = "both"
MAX_LAYERS = 10_000
_FORMS = "write all, 8, 4,8,12 or 4-12"

Layers = str | int | Sequence[int]


@dataclass(frozen=True)
class Design:
    """The settings of a study.

    ``n_paraphrases`` wordings of each question are asked (None: all), each in both polarities or in
    the one that ``polarity`` names; ``n_repair_paraphrases`` of them under interventions, where
    every wording is asked again for every direction. ``n_random`` directions make the null of the
    repair. ``layers`` are the layers measured, ascending (None: all). ``n_scenarios`` of each item
    set, ``n_pairs`` of each split of contrast pairs and ``n_texts`` of each table for side effects
    are taken (None: all). With ``few_arms`` only the three main ablations are made, and with
    ``one_repair_polarity`` they are asked about in the first polarity only.

    Raises:
        EntangleError: a setting of another type, or out of its range.
    """

    scale: Scale = field(default_factory=Scale)
    seed: int = 0
    n_paraphrases: int | None = None
    n_repair_paraphrases: int = 2
    n_resamples: int = N_RESAMPLES
    n_random: int = 100
    layers: tuple[int, ...] | None = None
    quick: bool = False
    polarity: str = BOTH
    n_scenarios: int | None = None
    n_pairs: int | None = None
    n_texts: int | None = None
    few_arms: bool = False
    one_repair_polarity: bool = False

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "scale": _scale(self.scale),
            "seed": _whole("seed", self.seed, at_least=0),
            "n_repair_paraphrases": _whole("n_repair_paraphrases", self.n_repair_paraphrases),
            "n_resamples": _whole("n_resamples", self.n_resamples, at_least=100),
            "n_random": _whole("n_random", self.n_random),
            "layers": _layers(self.layers),
        }
        least = {
            "n_paraphrases": 1,
            "n_scenarios": MIN_CLUSTERS,
            "n_pairs": MIN_PAIRS,
            "n_texts": 2,
        }
        for name, at_least in least.items():
            number = getattr(self, name)
            if number is not None:
                checked[name] = _whole(name, number, at_least=at_least)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.polarity not in (BOTH, *POLARITIES):
            raise EntangleError(
                f"polarity {self.polarity!r} is unknown; choose {choices((BOTH, *POLARITIES))}"
            )

    @classmethod
    def make(
        cls,
        *,
        scale: Scale | str = "1:9",
        seed: int = 0,
        quick: bool = False,
        layers: Layers | None = None,
        polarity: str = BOTH,
    ) -> Design:
        """Choose the settings; ``quick`` asks fewer wordings and draws fewer samples."""
        kept = parse_layers(layers) if isinstance(layers, str) else _layers(layers)
        few = {"n_paraphrases": 2, "n_repair_paraphrases": 1, "n_resamples": 2_000, "n_random": 20}
        counts: dict[str, Any] = few if quick else {}
        return cls(_scale(scale), seed, layers=kept, quick=bool(quick), polarity=polarity, **counts)

    def as_dict(self) -> dict[str, Any]:
        """Return all settings as plain values, for a manifest."""
        return {
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "scale": str(self.scale),
            "layers": "all" if self.layers is None else list(self.layers),
        }

    def asked(self, stimuli: Stimuli) -> Stimuli:
        """Return what this design asks of the stimuli: its polarity, scenarios, pairs and texts.

        Raises:
            EntangleError: a value that no question asks for in the chosen polarity.
        """
        if self.polarity != BOTH:
            stimuli = stimuli.in_polarity(self.polarity)
        return stimuli.thinned(self.n_scenarios, self.n_pairs, self.n_texts)

    def questions(self, stimuli: Stimuli, value: str) -> tuple[Question, ...]:
        """Return the questions for one value that the clean model is asked."""
        return stimuli.questions_for(value, self.n_paraphrases)

    def repair_questions(self, stimuli: Stimuli, value: str) -> tuple[Question, ...]:
        """Return the questions for one value that are asked again under every intervention."""
        questions = stimuli.questions_for(value, self.n_repair_paraphrases)
        if not self.one_repair_polarity:
            return questions
        return tuple(each for each in questions if each.polarity == questions[0].polarity)


def parse_layers(text: str) -> tuple[int, ...] | None:
    """Read ``all``, ``8``, ``4,8,12`` or ``4-12`` (12 included), and mixtures such as ``0,4-8``."""
    if text.strip() == "all":
        return None
    layers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise EntangleError(f"layers {text!r} cannot be read; {_FORMS}")
        span = range(int(first), int(last or first) + 1)
        if len(span) > MAX_LAYERS or (span and span[-1] >= MAX_LAYERS):
            raise EntangleError(f"layers {text!r} go beyond {MAX_LAYERS:,}; {_FORMS}")
        layers.update(span)
    if not layers:
        raise EntangleError(f"layers {text!r} name no layer; {_FORMS}")
    return tuple(sorted(layers))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LAYERS)) + 10


def _scale(scale: object) -> Scale:
    if isinstance(scale, str):
        return Scale.parse(scale)
    if not isinstance(scale, Scale):
        raise EntangleError(
            f"scale {scale!r} is of type {type(scale).__name__}; text such as '1:9' or a Scale was "
            "expected"
        )
    return scale


def _whole(name: str, value: object, *, at_least: int = 1) -> int:
    """Return a whole number, NumPy's included, that is large enough."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise EntangleError(f"{name} {value!r} is not a whole number")
    number = operator.index(value)
    if number < at_least:
        raise EntangleError(
            f"{name} {number} was given; a whole number from {at_least} on was expected"
        )
    return number


def _layers(layers: object) -> tuple[int, ...] | None:
    """Return layers ascending, each once."""
    if layers is None:
        return None
    if isinstance(layers, str):
        return parse_layers(layers)
    try:
        each = list(layers)  # type: ignore[call-overload]
    except TypeError:
        each = [layers]
    if not each:
        raise EntangleError("layers are empty; name at least one, or None for all")
    return tuple(sorted({_whole("layer", layer, at_least=0) for layer in each}))
