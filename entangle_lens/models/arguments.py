"""What a caller may ask for: where a model is, on which device, in which dtype."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from entangle_lens.errors import EntangleError, choices
from entangle_lens.organisms.bundle import DEFAULT_ORGANISM, ORGANISM_PREFIX, organism_folder
from entangle_lens.paths import exists, is_file, is_folder

_HUB_ID = re.compile(r"(?!.{97})[\w][\w.-]*(/[\w][\w.-]*)?")  # at most 96 letters
ADAPTER = "adapter_config.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def source_of(name: str | Path, revision: str | None) -> str:
    """Return the folder or the hub id that ``name`` stands for.

    Raises:
        EntangleError: neither, a folder without a configuration, or a revision of a folder.
    """
    if not isinstance(name, str | Path) or not str(name).strip():
        raise EntangleError(
            f"model {name!r} is not a name; a folder, a hub id such as Qwen/Qwen2.5-7B-Instruct or "
            f"a bundled organism such as {DEFAULT_ORGANISM} was expected"
        )
    if revision is not None and (not isinstance(revision, str) or not revision.strip()):
        raise EntangleError(
            f"revision {revision!r} is not a name; a branch, tag or commit of the hub was expected"
        )
    source = _source(str(name))
    if revision is not None and is_folder(source):
        raise EntangleError(
            f"revision {revision!r} was asked for, and model {str(name)!r} is a folder, which has "
            "no revisions; leave it out, or give a hub id"
        )
    return source


def _source(name: str) -> str:
    if name.startswith(ORGANISM_PREFIX):
        return str(organism_folder(name.removeprefix(ORGANISM_PREFIX)))
    try:
        folder = Path(name).expanduser()
    except RuntimeError:  # the home of a user who is not there
        folder = Path(name)
    if is_folder(folder):
        if is_file(folder / ADAPTER):
            raise adapter_refusal(name)
        if not is_file(folder / "config.json"):
            raise EntangleError(
                f"model folder {name!r} holds no config.json; a model folder is what transformers' "
                "save_pretrained writes"
            )
        return str(folder)
    if exists(folder) or not _HUB_ID.fullmatch(name):
        raise EntangleError(
            f"model {name!r} is not a folder, not a hub id such as Qwen/Qwen2.5-7B-Instruct and "
            f"not a bundled organism such as {DEFAULT_ORGANISM}"
        )
    return name


def adapter_refusal(name: str) -> EntangleError:
    """Refuse a trained addition to another model, without which that one would be measured."""
    return EntangleError(
        f"model {name!r} holds an adapter ({ADAPTER}) to another model; merge it into that one and "
        "give the merged checkpoint"
    )


def device_of(device: str | torch.device) -> str:
    """Return the device to load on, with ``auto`` decided; ``balanced`` stays."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "balanced":
        if not torch.cuda.is_available():
            raise EntangleError("device 'balanced' spreads layers over GPUs, and torch sees none")
        return "balanced"
    try:
        place = torch.device(device)
        usable = place.type != "meta"  # a device that holds no numbers
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError):
        usable = False
    if not usable:
        seen = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise EntangleError(
            f"device {str(device)!r} cannot be used here; the choices are "
            f"{choices(['auto', 'cpu', *seen])}"
        )
    return str(place)


def dtype_of(dtype: str | torch.dtype, place: str) -> torch.dtype:
    """Return the dtype to load in, with ``auto`` decided by the device."""
    if dtype == "auto":
        return torch.float32 if place == "cpu" else torch.bfloat16
    if isinstance(dtype, torch.dtype) and dtype in DTYPES.values():
        return dtype
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise EntangleError(
            f"dtype {str(dtype)!r} is unknown; the choices are auto, {choices(DTYPES)}"
        )
    return DTYPES[dtype]
