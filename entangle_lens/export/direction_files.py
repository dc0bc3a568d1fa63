"""Directions in files: safetensors that say what they hold, and refuse the wrong model."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from entangle_lens.directions import Direction
from entangle_lens.errors import EntangleError, choices
from entangle_lens.export.direction_reader import FORMAT, check_n_layers, read_directions
from entangle_lens.export.whole_files import whole_file
from entangle_lens.models import Model, info

_NO_FILES = "sha256:e3b0c44298fc1c14"  # the fingerprint of no files: says nothing about weights
_VERSIONS = ("entangle-lens", "transformer-lens", "transformers", "torch")


def save_directions(path: str | Path, directions: Sequence[Direction]) -> Path:
    """Save directions with all that is needed to use them safely; return the path.

    Each keeps its value, question, layer, method, quality and provenance (model, revision, dtype,
    site, position rule and digest of the stimuli, where its maker wrote them down), and vector
    and mean in their own dtype. Written whole or not at all, over a file that is there.

    Raises:
        EntangleError: no direction, directions of several d_model, or a place that cannot be
            written.
    """
    path = Path(path)
    for each in directions:
        _check_described(each)
    if len({each.vector.shape for each in directions}) != 1:
        shapes = [tuple(each.vector.shape) for each in directions]
        raise EntangleError(f"directions of shapes {shapes} were given; one shape was expected")
    tensors = {}
    for number, each in enumerate(directions):
        tensors[f"vector.{number}"] = each.vector.detach().cpu().contiguous().clone()
        tensors[f"mean.{number}"] = each.mean.detach().cpu().contiguous().clone()
    metadata = {
        "format": FORMAT,
        "directions": json.dumps([_described(each) for each in directions]),
        "versions": json.dumps({name: version(name) for name in _VERSIONS}),
    }
    with whole_file(path) as partial:
        save_file(tensors, partial, metadata=metadata)
    return path


def load_directions(
    path: str | Path, *, model: Model | None = None, any_model: bool = False
) -> tuple[Direction, ...]:
    """Read directions back, from :func:`save_directions` or a run folder's ``directions/``.

    With ``model``, each is checked against it as :func:`check_fits` does.

    Raises:
        EntangleError: no such file, a file of another kind or a broken one, or a direction that
            does not fit.
    """
    directions = read_directions(Path(path))
    if model is not None:
        for direction in directions:
            check_fits(direction, model, any_model=any_model)
    return directions


def load_direction(path: str | Path, layer: int) -> Direction:
    """Read one layer's direction, from a run folder's ``directions/`` or another direction file.

    Raises:
        EntangleError: a file that :func:`load_directions` refuses, or a layer at which it holds
            no direction, or several.
    """
    directions = read_directions(Path(path))
    found = [each for each in directions if each.layer == layer]
    if not found:
        layers = choices(dict.fromkeys(each.layer for each in directions))
        raise EntangleError(f"{str(path)!r} holds no layer {layer}; it holds {layers}")
    if len(found) > 1:
        raise EntangleError(
            f"{str(path)!r} holds {len(found)} directions at layer {layer}; load_directions gives "
            "all of them"
        )
    return found[0]


def check_fits(direction: Direction, model: Model, *, any_model: bool = False) -> None:
    """Refuse a direction of another model: its numbers would mean nothing there.

    The same revision is the same model, under whatever name. ``any_model`` says that name and
    revision may differ, for example from a base to its fine-tune; the shape has to fit all the
    same.

    Raises:
        EntangleError: another d_model, number of layers, model or revision, or none known.
    """
    about = info(model)
    came = f"the {direction.value} direction at layer {direction.layer}"
    if len(direction.vector) != about.d_model:
        raise EntangleError(
            f"{came} has d_model {len(direction.vector)}, and {about.name!r} has {about.d_model}"
        )
    check_n_layers(direction.provenance)
    n_layers = direction.provenance.get("n_layers")
    if direction.layer >= about.n_layers or (n_layers and int(n_layers) != about.n_layers):
        of = f"a model of {n_layers} layers" if n_layers else "another model"
        raise EntangleError(f"{came} is of {of}, and {about.name!r} has {about.n_layers}")
    name, revision = (direction.provenance.get(key) for key in ("model", "revision"))
    same_weights = revision == about.revision and revision != _NO_FILES
    if any_model or same_weights or (name == about.name and revision == about.revision):
        return
    if name is None:
        raise EntangleError(f"{came} does not say of which model it is; any_model=True trusts you")
    raise EntangleError(
        f"{came} was fitted on {name!r} (revision {revision}), and this is {about.name!r} "
        f"(revision {about.revision}); any_model=True uses it all the same"
    )


def _check_described(direction: Direction) -> None:
    """Refuse what could not be read back."""
    layer, provenance = direction.layer, direction.provenance
    if isinstance(layer, bool) or not isinstance(layer, int | np.integer) or layer < 0:
        raise EntangleError(f"layer {layer!r} was given; a whole number from 0 on was expected")
    if not all(isinstance(each, str) for pair in provenance.items() for each in pair):
        raise EntangleError(
            "the provenance of a direction is text by name; other values were given"
        )
    check_n_layers(provenance)
    if not bool((direction.vector != 0).any()):
        raise EntangleError(f"the {direction.value} direction is zero everywhere")


def _described(direction: Direction) -> dict[str, Any]:
    quality = {name: _known(value) for name, value in asdict(direction.quality).items()}
    return {
        "value": direction.value,
        "question": direction.question,
        "layer": int(direction.layer),
        "method": direction.method,
        "quality": quality,
        "provenance": dict(direction.provenance),
    }


def _known(number: float) -> float | None:
    return number if math.isfinite(number) else None
