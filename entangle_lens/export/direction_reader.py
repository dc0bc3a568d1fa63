"""What a direction file holds, believed only after it has been checked.

A file may come from anywhere. Its header is read no further than a stated length, no tensor is
read that is not one of a direction, and every value is looked at before it is used.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from entangle_lens.directions import Direction, Quality
from entangle_lens.errors import EntangleError
from entangle_lens.paths import is_file

FORMAT = "entangle_lens direction file 1"
RUN_FORMAT = "entangle_lens directions 1"  # what a run folder holds, one value at all layers
LONGEST_HEADER = 8_000_000  # bytes
LARGEST_FILE = 4_000_000_000  # bytes
_HIGHEST_LAYER = 100_000
_ALWAYS = ("auc", "d_prime", "split_half_cosine")
_MEASURES = tuple(each.name for each in fields(Quality))


def read_directions(path: Path) -> tuple[Direction, ...]:
    """Read all directions of a file, whichever of the two formats it has.

    Raises:
        EntangleError: no such file, a file of another kind, or one in which anything is missing,
            of another shape or type than it has to be, or not finite.
    """
    if not is_file(path):
        raise EntangleError(f"no such file: {str(path)!r}")
    try:
        _check_size(path)
        with safe_open(path, framework="pt") as file:
            return tuple(_directions(file))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        if isinstance(error, _AnotherKindError):
            raise EntangleError(f"{str(path)!r} holds no directions of entangle_lens") from None
        raise EntangleError(
            f"{str(path)!r} holds no directions that can be read ({error})"
        ) from None


class _AnotherKindError(EntangleError):
    """A file that says nothing of directions."""


def _check_size(path: Path) -> None:
    """Refuse a file that would take long to read, from its first bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if size < 8 or header > size - 8:
        raise EntangleError("the file is empty, cut short or of another kind")
    if header > LONGEST_HEADER or size > LARGEST_FILE:
        raise EntangleError(
            f"it has {size} bytes, {header} of them before the numbers; at most {LARGEST_FILE} and "
            f"{LONGEST_HEADER} are read"
        )


def _directions(file: Any) -> Iterator[Direction]:
    metadata: dict[str, str] = file.metadata() or {}
    if metadata.get("format") == RUN_FORMAT:
        about = _described_in_run(metadata)
        names = ["means", "vectors"]
    elif metadata.get("format") == FORMAT:
        about = _parsed(metadata, "directions")
        names = [f"{name}.{row}" for row in range(len(about)) for name in ("mean", "vector")]
    else:
        raise _AnotherKindError("another format")
    if not about:
        raise EntangleError("it names no direction")
    if sorted(file.keys()) != sorted(names):
        raise EntangleError(f"its tensors are not those of the {len(about)} directions it names")
    tensors = {name: file.get_tensor(name) for name in names}
    width = None
    for row, (each, vector, mean) in enumerate(zip(about, *_rows(tensors, about), strict=True)):
        direction = _direction(each, vector, mean, row)
        width = len(vector) if width is None else width
        if len(vector) != width:
            raise EntangleError(f"its vectors have {width} and {len(vector)} numbers")
        yield direction


def _rows(
    tensors: Mapping[str, Tensor], about: Sequence[Any]
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return the vectors and the means, one of each for a direction."""
    if "vectors" not in tensors:
        rows = range(len(about))
        return [tensors[f"vector.{row}"] for row in rows], [tensors[f"mean.{row}"] for row in rows]
    vectors, means = tensors["vectors"], tensors["means"]
    if vectors.ndim != 2 or vectors.shape != means.shape or len(vectors) != len(about):
        raise EntangleError(
            f"its vectors have shape {tuple(vectors.shape)} and its means {tuple(means.shape)}; "
            f"[{len(about)}, d_model] was expected of both"
        )
    return list(vectors), list(means)


def _direction(about: Any, vector: Tensor, mean: Tensor, row: int) -> Direction:
    if not isinstance(about, dict):
        raise EntangleError(f"its direction {row} is described by no JSON object")
    provenance = about.get("provenance")
    if not isinstance(provenance, dict) or not _all_text(provenance.values()):
        raise EntangleError(f"the provenance of its direction {row} is not text by name")
    check_n_layers(provenance)
    if not bool((vector != 0).any()):
        raise EntangleError(f"its direction {row} is zero everywhere")
    return Direction(
        value=_text(about, "value", row),
        question=_text(about, "question", row),
        layer=_layer(about.get("layer"), row),
        vector=vector,
        mean=mean,
        quality=_quality(about.get("quality"), row),
        method=_text(about, "method", row),
        provenance=provenance,
    )


def _described_in_run(metadata: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what a run folder's file says of its directions, one entry per layer."""
    layers = _parsed(metadata, "layers")
    measures = {name: _parsed(metadata, name) for name in _MEASURES if name in metadata}
    for name in _ALWAYS:
        if len(measures.get(name, ())) != len(layers):
            raise EntangleError(
                f"it has {len(layers)} layers and {len(measures.get(name, ()))} values of {name}; "
                "as many were expected"
            )
    provenance = {key: value for key, value in metadata.items() if key not in measures}
    return [
        {
            **{name: metadata.get(name) for name in ("value", "question", "method")},
            "layer": layer,
            "quality": {name: numbers[row] for name, numbers in measures.items()},
            "provenance": provenance,
        }
        for row, layer in enumerate(layers)
    ]


def _parsed(metadata: Mapping[str, str], name: str) -> list[Any]:
    """Return a list that the metadata hold as JSON."""
    if name not in metadata:
        raise EntangleError(f"it does not say its {name}")
    try:
        found = json.loads(metadata[name])
    except ValueError:
        raise EntangleError(f"its {name} are no JSON") from None
    if not isinstance(found, list):
        raise EntangleError(f"its {name} are no list")
    return found


def _text(about: Mapping[str, Any], name: str, row: int) -> str:
    text = about.get(name)
    if not isinstance(text, str):
        raise EntangleError(f"its direction {row} does not say its {name}")
    return text


def _layer(layer: Any, row: int) -> int:
    if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer <= _HIGHEST_LAYER:
        raise EntangleError(
            f"its direction {row} is at layer {str(layer)[:40]!r}; a whole number from 0 on was "
            "expected"
        )
    return layer


def _quality(known: Any, row: int) -> Quality:
    """Return the quality; what was not measured is None or NaN."""
    if not isinstance(known, dict) or not set(_ALWAYS) <= set(known):
        raise EntangleError(f"its direction {row} does not say all of {', '.join(_ALWAYS)}")
    numbers = {name: known[name] for name in _MEASURES if name in known}
    if not all(each is None or type(each) in (int, float) for each in numbers.values()):
        raise EntangleError(f"the quality of its direction {row} is not in numbers")
    try:
        return Quality(**{k: math.nan if v is None else float(v) for k, v in numbers.items()})
    except OverflowError:
        raise EntangleError(f"the quality of its direction {row} is not in numbers") from None


def check_n_layers(provenance: Mapping[str, str]) -> None:
    """Refuse a number of layers that is none; the empty text is an unknown one."""
    n_layers = provenance.get("n_layers", "")
    if n_layers and not re.fullmatch(r"[0-9]{1,6}", n_layers):
        raise EntangleError(
            f"the model's number of layers is given as {n_layers[:40]!r}; a whole number was "
            "expected"
        )


def _all_text(values: Any) -> bool:
    return all(isinstance(each, str) for each in values)
