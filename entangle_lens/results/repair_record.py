"""What a repaired checkpoint's ``repair.json`` and card keep of the measurement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entangle_lens.entanglement.checkpoint_basis import RepairChoice
from entangle_lens.entanglement.checkpoint_costs import MEASURES, Costs
from entangle_lens.entanglement.design import Design
from entangle_lens.errors import EntangleError
from entangle_lens.models import Model, load
from entangle_lens.results.staging import without_nan
from entangle_lens.stimuli import BUNDLED_STIMULI, Stimuli, load_stimuli

DEFAULT_STIMULI = "goods"
_SAID = {
    "leak": "r(moral level, {secondary} rating)",
    "accuracy": "r({secondary} level, {secondary} rating)",
    "moral_accuracy": "r(moral level, moral rating), {secondary} items",
}


@dataclass(frozen=True)
class Loading:
    """How a model is loaded, with the words of :func:`entangle_lens.load`."""

    device: str = "auto"
    dtype: str = "auto"
    revision: str | None = None
    trust_remote_code: bool = False

    def load(self, name: str | Path) -> Model:
        """Load a model this way."""
        return load(
            name,
            device=self.device,
            dtype=self.dtype,
            revision=self.revision,
            trust_remote_code=self.trust_remote_code,
        )


@dataclass(frozen=True)
class Record:
    """What has to be known to measure a repaired checkpoint again, and what was found.

    ``pairs`` holds the numbers of the repaired model by pair and measure; None is unknown.
    """

    stimuli_name: str
    stimuli_sha256: str
    dtype: str
    design: Design
    pairs: Mapping[str, Mapping[str, float | None]]


def record(
    stimuli: Stimuli, design: Design, dtype: str, choice: RepairChoice, costs: Mapping[str, Costs]
) -> dict[str, Any]:
    """Return the measurement as plain values for JSON.

    ``costs`` are those of the original (``before``), of the original under the same edit while it
    runs (``hooks``), and of the checkpoint (``after``).
    """
    validation = {
        name: {
            "left": each.left,
            "kept": each.kept,
            "spread": each.spread,
            "mass_lost": each.mass_lost,
            "kl": each.kl,
            "passed": each.passes,
        }
        for name, each in choice.validations.items()
    }
    return without_nan(
        {
            "stimuli": stimuli.name,
            "stimuli_sha256": stimuli.digest,
            "scale": str(design.scale),
            "seed": design.seed,
            "quick": design.quick,
            "dtype": dtype,
            "passed": choice.passes,
            "failures": list(choice.failures),
            "validation": validation,
            "pairs": {
                pair: {
                    state: {**each.numbers(pair), "spread": each.spread(pair)}
                    for state, each in costs.items()
                }
                for pair in costs["after"].behaviour
            },
            "kl": {state: each.kl for state, each in costs.items()},
            "minimal_pairs": {state: each.minimal_pairs for state, each in costs.items()},
        }
    )


def read_record(facts: Mapping[str, Any]) -> Record | None:
    """Read it back from ``repair.json``; None where nothing was measured.

    Raises:
        EntangleError: a record that does not hold what :func:`record` writes.
    """
    if "measured" not in facts:
        return None
    try:
        measured = facts["measured"]
        return Record(
            str(measured["stimuli"]),
            str(measured["stimuli_sha256"]),
            str(measured["dtype"]),
            Design.make(
                scale=str(measured["scale"]),
                seed=int(measured["seed"]),
                quick=bool(measured["quick"]),
            ),
            {
                pair: {name: _number(each["after"][name]) for name in MEASURES}
                for pair, each in measured["pairs"].items()
            },
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, EntangleError):
            raise
        raise EntangleError(
            f"the measurement in repair.json cannot be read ({type(error).__name__}: {error})"
        ) from None


def cost_lines(before: Costs, after: Costs) -> dict[str, float]:
    """Return the rows of the model card's table of costs; what was not measured has none."""
    rows = {}
    for pair, behaviour in after.behaviour.items():
        for name, said in _SAID.items():
            measure = said.format(secondary=behaviour.item_set.secondary)
            rows[f"{measure}, the original"] = before.numbers(pair)[name]
            rows[f"{measure}, this model"] = after.numbers(pair)[name]
        spread = f"spread of the {behaviour.item_set.secondary} ratings over items"
        rows[f"{spread}, the original"] = before.spread(pair)
        rows[f"{spread}, this model"] = after.spread(pair)
    rows["mean KL on neutral prompts, nats"] = after.kl
    rows["minimal pairs right, the original"] = before.minimal_pairs
    rows["minimal pairs right, this model"] = after.minimal_pairs
    return {name: number for name, number in rows.items() if math.isfinite(number)}


def stimuli_beside(source: Path, given: str | Path | None) -> Stimuli:
    """Load the stimuli named, else those beside the weights, else the bundled ones."""
    beside = source / "stimuli"
    found = beside if beside.is_dir() else DEFAULT_STIMULI
    return load_stimuli(found if given is None else given)


def recorded_stimuli(folder: Path, wanted: Record, given: str | Path | None) -> Stimuli:
    """Find the stimuli that a checkpoint was measured with: named, beside it, or bundled.

    Raises:
        EntangleError: they are not found, or the ones named are others.
    """
    beside = [folder / "stimuli"] if (folder / "stimuli").is_dir() else []
    places: list[str | Path] = [*beside, *BUNDLED_STIMULI] if given is None else [given]
    for place in places:
        stimuli = load_stimuli(place)
        if stimuli.digest == wanted.stimuli_sha256:
            return stimuli
    searched = f"{str(given)!r} holds others" if given else "they lie neither beside it nor in here"
    raise EntangleError(
        f"{str(folder)!r} was measured with the stimuli {wanted.stimuli_name!r} (sha256 "
        f"{wanted.stimuli_sha256[:16]}), and {searched}; give their folder with --stimuli"
    )


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
