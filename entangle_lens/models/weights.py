"""The weights of a checkpoint: which files they are in, and that all of them fit the model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel

from entangle_lens.errors import EntangleError, choices
from entangle_lens.paths import is_file

_INDEX = ".index.json"
_ORDER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_POINTER = b"version https://git-lfs"
_FLOATS = {"F64", "F32", "F16", "BF16"} | {
    f"torch.{name}" for name in ("float64", "float32", "float16", "bfloat16")
}
_IN_A_STACK = re.compile(r"(.+?)\.(\d+)\.")
_OTHER_SENSES = re.compile(r"vis(ion|ual)|audio|image|speech")
# What older checkpoints kept beside their parameters, and scales of a cache that is not used.
_BUFFERS = re.compile(
    r"(inv_freq|(cos|sin)_cached|masked_bias|attn\.bias|attention\.bias|position_ids|causal_mask|"
    r"[kv]_scale)$"
)
_SHOWN = 3


def weight_files(folder: Path, config: Mapping[str, Any] | None = None) -> list[Path]:
    """Return the files that transformers reads the weights of ``folder`` from, by its own order.

    That is the first that is there of: what ``config`` names as ``transformers_weights``,
    ``model.safetensors``, the shards of ``model.safetensors.index.json``, ``pytorch_model.bin``
    and the shards of ``pytorch_model.bin.index.json``. Shards may lie in folders below.

    Raises:
        EntangleError: none of them, or an index that is broken or names files elsewhere.
    """
    named = (config or {}).get("transformers_weights")
    tried = [str(named)] if named else list(_ORDER)
    for file in tried:
        if is_file(folder / file):
            return _shards(folder, file) if file.endswith(_INDEX) else [folder / file]
    raise EntangleError(
        f"model folder {str(folder)!r} has no weights: none of {choices(tried)} is there"
    )


def check_files(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse weight files that are broken, that are only pointers, or that hold no plain numbers.

    Only the beginning of each file is read.
    """
    quantised = bool(quantization_of(config))
    for path in weight_files(folder, config):
        if not is_file(path):
            raise EntangleError(f"weight file {str(path)!r} is missing, and the index names it")
        with path.open("rb") as file:
            start = file.read(len(_POINTER))
        if start == _POINTER:
            raise EntangleError(
                f"{str(path)!r} is a git-lfs pointer, not the weights themselves; fetch them, for "
                "example with 'git lfs pull'"
            )
        _check_stored(path, quantised)


def quantization_of(config: Mapping[str, Any]) -> Any:
    """Return what a configuration says about quantised weights; nothing where they are not."""
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    return next((q for part in parts if (q := part.get("quantization_config"))), None)


def check_loaded(model: PreTrainedModel, report: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Refuse a model that is not the one in its checkpoint; say what was left out of it.

    ``report`` is what transformers gives with ``output_loading_info=True``: it fills missing
    weights with random numbers, and drops those that it has no place for.

    Returns:
        A sentence for the user where weights outside of the decoder were left out.

    Raises:
        EntangleError: missing weights, others of another shape, or left-out ones in the decoder.
    """
    described = f"model {name!r} is not what its config.json describes: its weights"
    missing = report["missing_keys"]
    if missing:
        raise EntangleError(
            f"{described} lack {_some(missing)}, which would be filled with random numbers"
        )
    wrong = {key: (tuple(found), tuple(wanted)) for key, found, wanted in report["mismatched_keys"]}
    if wrong:
        key = min(wrong, key=_by_number)
        raise EntangleError(
            f"{described} have the shape {wrong[key][0]} where {wrong[key][1]} was expected in "
            f"{_some(wrong)}"
        )
    unexpected = {key for key in report["unexpected_keys"] if not _BUFFERS.search(key)}
    if _is_quantised(model):
        return _left_out(name, unexpected)
    inside, beyond = _in_decoder(model, unexpected)
    if beyond:
        raise EntangleError(
            f"model {name!r}: the checkpoint holds weights of layers {choices(sorted(beyond))} "
            "that the configuration does not have"
        )
    if inside:
        raise EntangleError(
            f"{described} hold {_some(inside)}, which the model has no place for in its layers"
        )
    return _left_out(name, unexpected)


def _shards(folder: Path, index: str) -> list[Path]:
    """Return the files that an index names, which must lie in its folder."""
    try:
        named = json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"].values()
        files = [PurePosixPath(file) for file in dict.fromkeys(named)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EntangleError(
            f"{str(folder / index)!r} is not an index of weight files ({type(error).__name__})"
        ) from error
    kind = Path(index.removesuffix(_INDEX)).suffix
    for file in files:
        if file.is_absolute() or ".." in file.parts or "\\" in str(file) or file.suffix != kind:
            raise EntangleError(
                f"{str(folder / index)!r} names {str(file)!r}; a weight file inside the model's "
                "folder was expected"
            )
    if not files:
        raise EntangleError(f"{str(folder / index)!r} names no weight file")
    return [folder / file for file in files]


def _check_stored(path: Path, quantised: bool) -> None:
    try:
        coded = _stored_as_codes(path)
    except Exception as error:  # torch.load raises almost anything
        raise EntangleError(
            f"weight file {str(path)!r} is broken, or was not downloaded whole "
            f"({type(error).__name__}: {str(error)[:200]})"
        ) from error
    if coded and not quantised:
        raise EntangleError(
            f"weight file {str(path)!r} holds {_some(coded)} as {coded[min(coded)]}, and its "
            "config.json does not say how to turn that into numbers; give the checkpoint in "
            "float32, bfloat16 or float16"
        )


def _stored_as_codes(path: Path) -> dict[str, str]:
    """Return the dtypes of weights that are kept in another form than floats; none is read."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            kinds = {key: file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
    else:
        kept = torch.load(path, map_location="meta", weights_only=True)
        kinds = {key: str(tensor.dtype) for key, tensor in kept.items()}
    return {
        key: kind for key, kind in kinds.items() if key.endswith("weight") and kind not in _FLOATS
    }


def _is_quantised(model: PreTrainedModel) -> bool:
    return getattr(model, "hf_quantizer", None) is not None


def _in_decoder(model: PreTrainedModel, keys: Iterable[str]) -> tuple[list[str], set[int]]:
    """Return those of ``keys`` that belong into blocks of text, and the numbers of further blocks.

    Blocks that predict tokens further ahead come last in some checkpoints, and go unused.
    """
    stacks = {
        path: len(module)
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and not _OTHER_SENSES.search(path)
    }
    ahead = getattr(model.config.get_text_config(), "num_nextn_predict_layers", None) or 0
    inside, beyond = [], set()
    for key in keys:
        found = _IN_A_STACK.match(key)
        if found is None or found[1] not in stacks:
            continue
        block, n_blocks = int(found[2]), stacks[found[1]]
        if block < n_blocks:
            inside.append(key)
        elif block >= n_blocks + ahead:
            beyond.add(block)
    return inside, beyond


def _left_out(name: str, keys: Iterable[str]) -> tuple[str, ...]:
    if not keys:
        return ()
    return (f"model {name!r}: its checkpoint holds {_some(keys)}, which this model does not use",)


def _some(keys: Iterable[str]) -> str:
    """Name the first few of ``keys``, layer 2 before layer 10."""
    ordered = sorted(keys, key=_by_number)
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return choices(ordered[:_SHOWN]) + more


def _by_number(key: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in key.split(".")]
