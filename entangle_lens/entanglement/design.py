"""What a study does and how much of it: the choices that are fixed before the data are seen."""

from __future__ import annotations

from dataclasses import dataclass, field

from entangle_lens.errors import EntangleError
from entangle_lens.statistics.intervals import N_RESAMPLES
from entangle_lens.stimuli import Scale

MORAL = "moral"


@dataclass(frozen=True)
class Design:
    """The settings of a study.

    ``n_paraphrases`` wordings of each question are asked (None: all), each in both polarities;
    ``n_repair_paraphrases`` of them under interventions, where every wording is asked again for
    every direction. ``n_random`` directions make the null of the repair. ``layers`` are the
    layers measured (None: all).
    """

    scale: Scale = field(default_factory=Scale)
    seed: int = 0
    n_paraphrases: int | None = None
    n_repair_paraphrases: int = 2
    n_resamples: int = N_RESAMPLES
    n_random: int = 100
    layers: tuple[int, ...] | None = None
    quick: bool = False

    @classmethod
    def make(
        cls,
        *,
        scale: Scale | str = "1:9",
        seed: int = 0,
        quick: bool = False,
        layers: tuple[int, ...] | str | None = None,
    ) -> Design:
        """Choose the settings; ``quick`` asks fewer wordings and draws fewer samples."""
        chosen = Scale.parse(scale) if isinstance(scale, str) else scale
        kept = parse_layers(layers) if isinstance(layers, str) else layers
        if quick:
            return cls(chosen, seed, 2, 1, 2_000, 20, kept, quick=True)
        return cls(chosen, seed, layers=kept)


def parse_layers(text: str) -> tuple[int, ...] | None:
    """Read ``all``, ``8``, ``4,8,12`` or ``4-12``, and mixtures such as ``0,4-8``."""
    if text.strip() == "all":
        return None
    layers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise EntangleError(f"layers {text!r} cannot be read; write all, 8, 4,8,12 or 4-12")
        layers.update(range(int(first), int(last or first) + 1))
    if not layers:
        raise EntangleError(f"layers {text!r} names no layer; write all, 8, 4,8,12 or 4-12")
    return tuple(sorted(layers))
