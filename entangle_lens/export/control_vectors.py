"""Control vectors of other tools: llama.cpp's GGUF, repeng and steering-vectors.

llama.cpp adds ``direction.N`` to the output of its block N, counted from 0, at every position,
times the scale given on its command line; block 0 has no place in the format. So N is our
``layer`` and the hook point is resid_post. repeng counts alike. Both were read in the public code
of those projects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions import Direction, Quality
from entangle_lens.errors import EntangleError

_ARCHITECTURE, _TENSOR = "controlvector", "direction."
_UNKNOWN = Quality(*(math.nan for _ in range(3)))


def export_gguf(
    path: str | Path, directions_by_layer: Mapping[int, Float[Tensor, " d_model"]], arch: str
) -> Path:
    """Write vectors as a GGUF control vector for llama.cpp; return the path.

    Adding is all that llama.cpp does with it (``--control-vector-scaled FILE SCALE``): a control
    vector steers, it removes nothing. Vectors are written in float32 as they are given, so a
    difference of class means with scale 1 moves by one class distance. ``arch`` is the model's
    ``general.architecture`` in llama.cpp, such as ``qwen2`` or ``gemma3``.

    Raises:
        EntangleError: no vector, vectors of several shapes, one at layer 0, which llama.cpp
            cannot address, or the ``gguf`` library missing.
    """
    gguf = _gguf()
    shapes = {tuple(vector.shape) for vector in directions_by_layer.values()}
    if len(shapes) != 1:
        raise EntangleError(f"vectors of shapes {sorted(shapes)} were given; one was expected")
    if min(directions_by_layer) < 1:
        raise EntangleError(
            f"a vector at layer {min(directions_by_layer)} was given; llama.cpp's control vectors "
            "begin at layer 1"
        )
    writer = gguf.GGUFWriter(str(path), _ARCHITECTURE)
    writer.add_string(f"{_ARCHITECTURE}.model_hint", arch)
    writer.add_uint32(f"{_ARCHITECTURE}.layer_count", len(directions_by_layer))
    for layer, vector in sorted(directions_by_layer.items()):
        writer.add_tensor(f"{_TENSOR}{layer}", vector.detach().cpu().float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(path)


def import_gguf(path: str | Path, *, value: str) -> tuple[Direction, ...]:
    """Read a GGUF control vector of llama.cpp or repeng as directions, by layer.

    Their quality is NaN, their mean unknown and taken as zero, and they say no model: that of the
    file is kept as ``model_hint``.

    Raises:
        EntangleError: no such file, a broken one, one that is no control vector, or the ``gguf``
            library missing.
    """
    gguf = _gguf()
    if not Path(path).is_file():
        raise EntangleError(f"no such file: {str(path)!r}")
    try:
        reader = gguf.GGUFReader(str(path))
        named = {key: reader.get_field(key) for key in reader.fields}
        kind = named["general.architecture"].contents()
    except Exception as error:  # the library names none: a broken file may raise anything
        raise EntangleError(f"{str(path)!r} cannot be read as GGUF ({error})") from None
    if kind != _ARCHITECTURE:
        raise EntangleError(f"{str(path)!r} holds a {kind}, and no control vector")
    hint = named.get(f"{_ARCHITECTURE}.model_hint")
    vectors = {}
    for tensor in reader.tensors:
        layer = tensor.name.removeprefix(_TENSOR)
        if not layer.isdigit() or tensor.data.dtype != np.float32:
            raise EntangleError(
                f"{str(path)!r} holds {tensor.name} as {tensor.data.dtype}; float32 tensors named "
                f"{_TENSOR}1, {_TENSOR}2 and so on were expected"
            )
        vectors[int(layer)] = torch.from_numpy(np.array(tensor.data))
    provenance = {"model_hint": hint.contents()} if hint else {}
    return _directions(vectors, value, "imported (control vector)", provenance)


def import_repeng(source: Any, *, value: str) -> tuple[Direction, ...]:
    """Take over a repeng ``ControlVector`` (layer -> array), or its GGUF file.

    Raises:
        EntangleError: something without ``directions`` of one shape, or a file as
            :func:`import_gguf` refuses it.
    """
    if isinstance(source, str | Path):
        return import_gguf(source, value=value)
    vectors = getattr(source, "directions", None)
    if not isinstance(vectors, Mapping):
        raise EntangleError(
            f"a {type(source).__name__} was given; a repeng ControlVector or its .gguf file was "
            "expected"
        )
    hint = getattr(source, "model_type", None)
    provenance = {"model_hint": str(hint)} if hint else {}
    return _directions(vectors, value, "imported (repeng)", provenance)


def import_steering_vectors(source: Any, *, value: str) -> tuple[Direction, ...]:
    """Take over a ``SteeringVector`` of steering-vectors, its ``layer_activations``, or a file.

    A file has to hold tensors alone: the dict of ``layer_activations``, saved by ``torch.save``.
    Pickled objects are refused, since reading them runs code.

    Raises:
        EntangleError: a file that holds more than tensors, vectors of another place than the
            block outputs, or no dict of layers.
    """
    if isinstance(source, str | Path):
        source = _tensors_of(Path(source))
    if not isinstance(source, Mapping):
        source = vars(source) if hasattr(source, "layer_activations") else {}
    place = source.get("layer_type", "decoder_block")
    if place != "decoder_block":
        raise EntangleError(f"vectors at {place} were given; those at decoder_block were expected")
    vectors = source.get("layer_activations", source)
    return _directions(vectors, value, "imported (steering-vectors)", {})


def _directions(
    vectors: Mapping[Any, Any], value: str, method: str, provenance: Mapping[str, str]
) -> tuple[Direction, ...]:
    try:
        by_layer = {
            int(layer): torch.as_tensor(vector).detach().cpu().double().reshape(-1)
            for layer, vector in vectors.items()
        }
    except (TypeError, ValueError) as error:
        raise EntangleError(f"vectors by layer were expected ({error})") from None
    sizes = {len(vector) for vector in by_layer.values()}
    finite = all(bool(vector.isfinite().all()) for vector in by_layer.values())
    if len(sizes) != 1 or min(by_layer) < 0 or not finite:
        raise EntangleError(
            f"vectors of lengths {sorted(sizes)} at layers {sorted(by_layer)} were given; finite "
            "ones of one length, at layers counted from 0, were expected"
        )
    about = {"hook_point": "resid_post", "mean": "unknown, taken as zero", **provenance}
    return tuple(
        Direction(
            value, "unknown", layer, vector, torch.zeros_like(vector), _UNKNOWN, method, about
        )
        for layer, vector in sorted(by_layer.items())
    )


def _tensors_of(path: Path) -> Any:
    if not path.is_file():
        raise EntangleError(f"no such file: {str(path)!r}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch names its own errors in no stable place
        raise EntangleError(
            f"{str(path)!r} holds more than tensors, or is broken, and objects are not read since "
            "that runs code; save the vector's layer_activations with torch.save instead"
        ) from None


def _gguf() -> Any:
    try:
        import gguf
    except ImportError:
        raise EntangleError(
            "GGUF files need the gguf library: pip install 'entangle-lens[gguf]'"
        ) from None
    return gguf
