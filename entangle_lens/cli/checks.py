"""What is wrong with a command line, found before torch is imported or a model is loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from entangle_lens.errors import EntangleError
from entangle_lens.model_names import (
    check_layer_range,
    check_names,
    count_layers,
    shown_name,
    source_of,
    stimuli_beside,
)
from entangle_lens.results.staging import ROOM
from entangle_lens.staging import claim, shown_path

_LONGEST_NAME = 60


def check_words(words: Sequence[str]) -> None:
    """Refuse an argument that is empty, which would otherwise mean the default, or has a zero byte.

    Raises:
        EntangleError: as said above.
    """
    for number, word in enumerate(words):
        option, equals, value = word.partition("=")
        where = f"after {words[number - 1]}" if number else "first"
        if equals and option.startswith("--"):
            where = f"for {option}"
        else:
            value = word
        if not value.strip():
            raise EntangleError(
                f"an empty argument was given {where}; give it a value or leave it out"
            )
        if "\0" in value:
            raise EntangleError(f"the argument {shown_path(value)} holds a zero byte")


def check_model(model: str, device: str, dtype: str, revision: str | None = None) -> str:
    """Return the folder or hub id of a model whose name, device and dtype can be right."""
    check_names(device, dtype)
    return source_of(model, revision)


def check_design(
    source: str,
    stimuli: str | None,
    *,
    scale: str,
    seed: int,
    layers: str = "all",
    polarity: str = "both",
) -> None:
    """Refuse a setting of a study, stimuli that are not sound, and layers that are not there."""
    check_seed(seed)
    from entangle_lens.entanglement.design import Design
    from entangle_lens.stimuli import BUNDLED_STIMULI, load_stimuli

    design = Design.make(scale=scale, seed=seed, layers=layers, polarity=polarity)
    n_layers = count_layers(source)
    if design.layers is not None and n_layers is not None:
        check_layer_range(design.layers, n_layers)
    design.asked(load_stimuli(stimuli or stimuli_beside(source) or BUNDLED_STIMULI[0]))


def check_seed(seed: int) -> None:
    """Refuse a seed that no generator of random numbers takes."""
    if seed < 0:
        raise EntangleError(f"seed {seed} is negative; a whole number from 0 on was expected")


def check_budget(minutes: float | None) -> None:
    """Refuse a budget that is no time."""
    if minutes is not None and not 0 < minutes < math.inf:
        raise EntangleError(f"budget {minutes:g} is not a number of minutes above 0")


@contextmanager
def claimed(out: Path | None, model: str) -> Iterator[Path]:
    """Hold the folder of a run: the one that is given, or a new one under ``runs/``."""
    if out is not None:
        with claim(out, n_bytes=ROOM):
            yield out
        return
    name = re.sub(r"[^\w.-]+", "-", shown_name(model).split("/")[-1]).strip("-.")[:_LONGEST_NAME]
    stem = Path("runs") / f"{name or 'run'}-{datetime.now():%Y%m%d-%H%M%S}"
    with claim(stem, n_bytes=ROOM, fresh=True) as place:
        yield stem.with_name(place.name)
