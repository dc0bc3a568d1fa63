"""Directions in files: safetensors that say what they hold, and refuse the wrong model."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from entangle_lens.directions import Direction, Quality
from entangle_lens.errors import EntangleError
from entangle_lens.models import Model, info

FORMAT = "entangle_lens direction file 1"
_RUN_FORMAT = "entangle_lens directions 1"  # what a run folder holds, one value at all layers
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
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        save_file(tensors, partial, metadata=metadata)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise EntangleError(f"{str(path)!r} cannot be written ({error})") from None
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
    path = Path(path)
    if not path.is_file():
        raise EntangleError(f"no such file: {str(path)!r}")
    try:
        directions = _read(path)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, IndexError) as error:
        if isinstance(error, EntangleError):
            raise
        raise EntangleError(
            f"{str(path)!r} holds no directions that can be read ({type(error).__name__}: {error})"
        ) from None
    if model is not None:
        for direction in directions:
            check_fits(direction, model, any_model=any_model)
    return directions


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


def _described(direction: Direction) -> dict[str, Any]:
    quality = {name: _known(value) for name, value in asdict(direction.quality).items()}
    return {
        "value": direction.value,
        "question": direction.question,
        "layer": direction.layer,
        "method": direction.method,
        "quality": quality,
        "provenance": dict(direction.provenance),
    }


def _read(path: Path) -> tuple[Direction, ...]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") not in (FORMAT, _RUN_FORMAT):
            raise EntangleError(f"{str(path)!r} holds no directions of entangle_lens")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata["format"] == _RUN_FORMAT:
        about = _run_described(metadata)
        rows = [(tensors["vectors"][row], tensors["means"][row]) for row in range(len(about))]
    else:
        about = json.loads(metadata["directions"])
        rows = [(tensors[f"vector.{row}"], tensors[f"mean.{row}"]) for row in range(len(about))]
    return tuple(
        Direction(
            value=each["value"],
            question=each["question"],
            layer=int(each["layer"]),
            vector=vector,
            mean=mean,
            quality=_quality(each["quality"]),
            method=each["method"],
            provenance=each["provenance"],
        )
        for each, (vector, mean) in zip(about, rows, strict=True)
    )


def _run_described(metadata: Mapping[str, str]) -> list[dict[str, Any]]:
    measures = {name: json.loads(metadata[name]) for name in _measures() if name in metadata}
    return [
        {
            "value": metadata["value"],
            "question": metadata["question"],
            "layer": layer,
            "method": metadata["method"],
            "quality": {name: numbers[row] for name, numbers in measures.items()},
            "provenance": {k: v for k, v in metadata.items() if k not in measures},
        }
        for row, layer in enumerate(json.loads(metadata["layers"]))
    ]


def _measures() -> list[str]:
    return [each.name for each in fields(Quality)]


def _quality(known: Mapping[str, float | None]) -> Quality:
    numbers = {name: known.get(name) for name in _measures()}
    return Quality(**{k: math.nan if v is None else float(v) for k, v in numbers.items()})


def _known(number: float) -> float | None:
    return number if math.isfinite(number) else None
