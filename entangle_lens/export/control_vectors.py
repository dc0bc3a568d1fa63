"""Control vectors of other tools: llama.cpp's GGUF, repeng and steering-vectors.

llama.cpp adds ``direction.N`` to the output of its block N, counted from 0, at every position,
times the scale given on its command line; block 0 has no place in the format. So N is our
``layer`` and the hook point is resid_post. repeng counts alike. Both were read in the public code
of those projects.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from operator import index
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions import Direction, Quality
from entangle_lens.errors import EntangleError, choices
from entangle_lens.export.gguf_reader import read_gguf
from entangle_lens.export.whole_files import whole_file
from entangle_lens.paths import is_file

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
        EntangleError: no vector, vectors of several lengths, zero or not finite in float32, one at
            layer 0, which llama.cpp cannot address, a place that cannot be written, or the
            ``gguf`` library missing.
    """
    gguf = _gguf()
    if not isinstance(arch, str) or not arch:
        raise EntangleError(f"arch {arch!r} was given; a name such as qwen2 was expected")
    by_layer = _by_layer(directions_by_layer)
    if min(by_layer) < 1:
        raise EntangleError(
            f"a vector at layer {min(by_layer)} was given; llama.cpp's control vectors begin at "
            "layer 1"
        )
    with whole_file(Path(path)) as partial:
        writer = gguf.GGUFWriter(str(partial), _ARCHITECTURE)
        writer.add_string(f"{_ARCHITECTURE}.model_hint", arch)
        writer.add_uint32(f"{_ARCHITECTURE}.layer_count", len(by_layer))
        for layer, vector in sorted(by_layer.items()):
            writer.add_tensor(f"{_TENSOR}{layer}", vector.float().numpy())
        try:
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
    return Path(path)


def import_gguf(path: str | Path, *, value: str) -> tuple[Direction, ...]:
    """Read a GGUF control vector of llama.cpp or repeng as directions, by layer.

    Their quality is NaN, their mean unknown and taken as zero, and they say no model: that of the
    file is kept as ``model_hint``.

    Raises:
        EntangleError: no such file, a broken one, or one that is no control vector.
    """
    found = read_gguf(Path(path), _ARCHITECTURE)
    vectors = {}
    for name, numbers in found.tensors.items():
        layer = re.fullmatch(rf"{re.escape(_TENSOR)}([0-9]{{1,6}})", name)
        if layer is None or int(layer[1]) in vectors:
            raise EntangleError(
                f"{str(path)!r} holds {name}; tensors named {_TENSOR}1, {_TENSOR}2 and so on were "
                "expected"
            )
        vectors[int(layer[1])] = numbers
    hint = found.metadata.get(f"{_ARCHITECTURE}.model_hint")
    provenance = {"model_hint": str(hint)} if hint else {}
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
    if not isinstance(value, str):
        raise EntangleError(f"value {value!r} was given; a name such as moral was expected")
    by_layer = _by_layer(vectors)
    about = {"hook_point": "resid_post", "mean": "unknown, taken as zero", **provenance}
    return tuple(
        Direction(
            value, "unknown", layer, vector, torch.zeros_like(vector), _UNKNOWN, method, about
        )
        for layer, vector in sorted(by_layer.items())
    )


def _by_layer(vectors: Mapping[Any, Any]) -> dict[int, Float[Tensor, " d_model"]]:
    """Return vectors by layer in float64.

    Raises:
        EntangleError: no vector, one that is no list of real numbers, zero or too large for
            float32, or a layer that is no whole number from 0 on.
    """
    try:
        by_layer = {index(layer): _vector(vector) for layer, vector in vectors.items()}
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise EntangleError(f"vectors by layer were expected ({error})") from None
    if not by_layer or min(by_layer) < 0 or any(isinstance(each, bool) for each in vectors):
        raise EntangleError(
            f"vectors at layers {choices(sorted(by_layer)) or 'none'} were given; one or more at "
            "layers counted from 0 were expected"
        )
    sizes = sorted({len(vector) for vector in by_layer.values()})
    if len(sizes) > 1:
        raise EntangleError(f"vectors of lengths {choices(sizes)} were given; one was expected")
    return by_layer


def _vector(given: Any) -> Float[Tensor, " d_model"]:
    vector = torch.as_tensor(given).detach().cpu()
    if vector.ndim != 1 or not len(vector) or vector.is_complex() or vector.dtype == torch.bool:
        raise ValueError(f"one is {vector.dtype} of shape {tuple(vector.shape)}")
    wide = vector.double()
    if not bool(wide.float().isfinite().all()) or not bool((wide.float() != 0).any()):
        raise ValueError("one is zero or not finite in float32")
    return wide


def _tensors_of(path: Path) -> Any:
    if not is_file(path):
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
