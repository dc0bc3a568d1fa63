"""Safetensors checkpoints read one tensor at a time and written in shards of bounded size."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from entangle_lens.errors import EntangleError, choices
from entangle_lens.models.weights import weight_files
from entangle_lens.paths import exists, is_file, is_folder

SHARD_BYTES = 2_000_000_000
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies, and what it is."""

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Checkpoint:
    """A folder of safetensors and its configuration; no tensor is read before it is asked for."""

    folder: Path
    config: Mapping[str, Any]
    stored: Mapping[str, Stored]

    def tensor(self, name: str) -> Tensor:
        """Read one tensor."""
        with safe_open(self.stored[name].file, framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def finite(self, name: str) -> Tensor:
        """Read one tensor.

        Raises:
            EntangleError: it holds NaN or infinite numbers, from which nothing can be removed.
        """
        tensor = self.tensor(name)
        if not is_finite(tensor):
            raise EntangleError(
                f"{name} in {str(self.folder)!r} holds numbers that are not finite; the checkpoint "
                "is broken"
            )
        return tensor


def open_weights(folder: Path) -> Checkpoint:
    """Read a checkpoint folder's configuration and the headers of its safetensors.

    Raises:
        EntangleError: no folder, no or a broken config.json, index or file, quantised weights,
            or weights in another form than safetensors.
    """
    if not is_folder(folder):
        raise EntangleError(f"{str(folder)!r} is not a folder; a checkpoint folder was expected")
    config = read_json(folder / "config.json")
    quantised = config.get("quantization_config") or (config.get("text_config") or {}).get(
        "quantization_config"
    )
    if quantised:
        raise EntangleError(
            f"{str(folder)!r} is quantised, and quantised weights cannot be edited exactly; give "
            "the checkpoint in float32, bfloat16 or float16"
        )
    stored: dict[str, Stored] = {}
    for file in _weight_files(folder, config):
        found = _headers(file)
        twice = sorted(set(stored) & set(found))
        if twice:
            raise EntangleError(
                f"{str(file)!r} and {str(stored[twice[0]].file)!r} both hold {twice[0]}; each "
                "tensor was expected in one file"
            )
        stored |= found
    _check_index(folder, stored)
    return Checkpoint(folder, config, stored)


def is_finite(tensor: Tensor) -> bool:
    """Return whether a tensor holds finite numbers only; whole numbers always are."""
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


def write_shards(
    folder: Path, n_bytes: Mapping[str, int], tensor: Callable[[str], Tensor]
) -> list[str]:
    """Write tensors, each made when it is its turn, into files of at most :data:`SHARD_BYTES`.

    A single file is ``model.safetensors``; several have an index beside them. Returns the names
    of the files.
    """
    groups = _groups(n_bytes)
    files = [
        f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        for number in range(1, len(groups) + 1)
    ]
    if len(groups) == 1:
        files = [SINGLE]
    for file, names in zip(files, groups, strict=True):
        tensors = {name: tensor(name).contiguous() for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        del tensors
    if len(groups) > 1:
        where = {
            name: file for file, names in zip(files, groups, strict=True) for name in sorted(names)
        }
        index = {"metadata": {"total_size": sum(n_bytes.values())}, "weight_map": where}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return files


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, or say in one sentence why not."""
    if exists(path) and not is_file(path):  # a named pipe would be waited on for ever
        raise EntangleError(f"{str(path)!r} cannot be read as JSON (it is not a regular file)")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EntangleError(f"{str(path)!r} cannot be read as JSON ({error})") from None
    if not isinstance(content, dict):
        raise EntangleError(f"{str(path)!r} holds no JSON object")
    return content


def _weight_files(folder: Path, config: Mapping[str, Any]) -> list[Path]:
    """Return the files that transformers reads the weights from; they must be safetensors."""
    files = weight_files(folder, config)
    other = next((file.name for file in files if file.suffix != ".safetensors"), None)
    if other is not None:
        raise EntangleError(
            f"{str(folder)!r} has its weights in {other}, a pickle, and pickles run whatever "
            "code they hold when they are read; convert it to safetensors first"
        )
    return files


def _check_index(folder: Path, stored: Mapping[str, Stored]) -> None:
    """Refuse shards that lack a tensor which their index names."""
    if {each.file for each in stored.values()} == {folder / SINGLE} or not is_file(folder / INDEX):
        return
    named = read_json(folder / INDEX)["weight_map"]
    lost = next((name for name in named if name not in stored), None)
    if lost is not None:
        raise EntangleError(f"{str(folder / named[lost])!r} lacks {lost}, which the index names")


def _headers(file: Path) -> dict[str, Stored]:
    if not is_file(file):
        raise EntangleError(f"{str(file)!r} cannot be read as safetensors (it is not there)")
    try:
        with safe_open(file, framework="pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            kinds = {name: (tuple(s.get_shape()), s.get_dtype()) for name, s in slices.items()}
    except (OSError, SafetensorError) as error:
        raise EntangleError(f"{str(file)!r} cannot be read as safetensors ({error})") from None
    for name, (_, dtype) in kinds.items():
        if dtype not in DTYPES:
            raise EntangleError(
                f"{str(file)!r} holds {name} as {dtype}; the dtypes that can be copied are "
                f"{choices(DTYPES)}"
            )
    return {name: Stored(file, shape, DTYPES[dtype]) for name, (shape, dtype) in kinds.items()}


def _groups(n_bytes: Mapping[str, int]) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    held = 0
    for name, size in n_bytes.items():
        if groups[-1] and held + size > SHARD_BYTES:
            groups.append([])
            held = 0
        groups[-1].append(name)
        held += size
    return groups
