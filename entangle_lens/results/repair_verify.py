"""A repaired checkpoint checked: its weights, and whether it still measures as its card says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from entangle_lens.entanglement.checkpoint_costs import MEASURES, measure_items
from entangle_lens.export import Verification, verify_checkpoint
from entangle_lens.results.repair_record import Loading, Record, read_record, recorded_stimuli

TOLERANCE = {"float32": 0.01}  # of a correlation, on another machine than the one that wrote it
_COARSE = 0.05

_Numbers = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class RepairCheck:
    """What the weights still write of the basis, and the card's numbers beside those found now.

    ``said`` and ``found`` are by pair and measure (``leak``, ``accuracy``, ``moral_accuracy``);
    both are empty where the checkpoint was written without being measured, and where its weights
    are broken.
    """

    weights: Verification
    said: _Numbers
    found: _Numbers
    tolerance: float

    @property
    def differs(self) -> list[str]:
        """The numbers that are not those of the card, each in words."""
        return [
            f"{name.replace('_', ' ')} of {pair}: the card says {_shown(self.said[pair][name])}"
            f", and it is {_shown(number)}"
            for pair, numbers in self.found.items()
            for name, number in numbers.items()
            if not _same(self.said[pair][name], number, self.tolerance)
        ]

    @property
    def holds(self) -> bool:
        """Whether the basis is gone from the weights and the card's numbers are found again."""
        return self.weights.holds and not self.differs

    def __str__(self) -> str:
        lines = [str(self.weights)]
        for pair, numbers in self.found.items():
            shown = (f"{name.replace('_', ' ')} {_shown(n)}" for name, n in numbers.items())
            lines.append(f"{pair:<15} {', '.join(shown)}")
        if self.weights.broken:
            lines.append("no ratings were taken, since the weights are broken")
        elif not self.found:
            lines.append("the card holds no ratings, so none were taken again")
        elif self.differs:
            lines += [f"NOT as the card says: {each}" for each in self.differs]
        else:
            lines.append(f"as the card says, within {self.tolerance:g}")
        return "\n".join(lines)


def verify_repair(
    folder: str | Path,
    *,
    stimuli: str | Path | None = None,
    loading: Loading | None = None,
    progress: bool = False,
) -> RepairCheck:
    """Check a repaired checkpoint's weights, then ask it again what its card reports.

    Args:
        folder: what :func:`entangle_lens.results.repair_checkpoint.repair` wrote.
        stimuli: the folder of the stimuli it was measured with, where they lie neither beside
            the weights nor in this package.
        loading: device and dtype; by default the dtype of the first measurement.

    Raises:
        EntangleError: no repaired checkpoint, other stimuli than those of the card, or a card
            that cannot be read.
    """
    folder, loading = Path(folder), loading or Loading()
    weights = verify_checkpoint(folder)
    wanted = read_record(weights.facts)
    if wanted is None or weights.broken:
        return RepairCheck(weights, {}, {}, _COARSE)
    found = _measured(folder, wanted, stimuli, loading, progress)
    same_dtype = loading.dtype in ("auto", wanted.dtype)
    tolerance = TOLERANCE.get(wanted.dtype, _COARSE) if same_dtype else _COARSE
    return RepairCheck(weights, wanted.pairs, found, tolerance)


def _measured(
    folder: Path,
    wanted: Record,
    given: str | Path | None,
    loading: Loading,
    progress: bool,
) -> _Numbers:
    stimuli = recorded_stimuli(folder, wanted, given)
    dtype = wanted.dtype if loading.dtype == "auto" else loading.dtype
    model = replace(loading, dtype=dtype, revision=None).load(folder)
    desc = "the checkpoint" if progress else None
    found = {}
    for item_set in stimuli.items.values():
        behaviour = measure_items(model, stimuli, wanted.design, item_set, progress=desc)
        numbers = {name: float(getattr(behaviour, name).value) for name in MEASURES}
        found[item_set.name] = numbers
    return found


def _same(said: float | None, found: float | None, tolerance: float) -> bool:
    known = [value is not None and math.isfinite(value) for value in (said, found)]
    if said is None or found is None or not all(known):
        return not any(known)
    return abs(said - found) <= tolerance


def _shown(number: float | None) -> str:
    return "unknown" if number is None or not math.isfinite(number) else f"{number:.2f}"
