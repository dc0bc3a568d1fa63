"""What can be said of a model by its name alone: nothing here loads it, or what would load it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entangle_lens.errors import EntangleError, choices
from entangle_lens.organisms.bundle import DEFAULT_ORGANISM, ORGANISM_PREFIX, organism_folder
from entangle_lens.paths import exists, is_file, is_folder

ADAPTER = "adapter_config.json"
DTYPE_NAMES = ("float32", "bfloat16", "float16")
LAYER_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "n_blocks")
_HUB_ID = re.compile(r"(?!.{97})[\w][\w.-]*(/[\w][\w.-]*)?")  # at most 96 letters
_DEVICE = re.compile(r"auto|balanced|(cpu|cuda|mps|xpu|hpu|npu|mtia|privateuseone)(:\d{1,4})?")


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


def shown_name(name: str) -> str:
    """Return what a model is called in results: of a folder its own name, and not where it lies."""
    try:
        folder = Path(name).expanduser()
    except RuntimeError:  # the home of a user who is not there
        folder = Path(name)
    return folder.resolve().name or name if is_folder(folder) else name


def stimuli_beside(source: str | Path) -> Path | None:
    """Return the folder of stimuli that lies beside a model's weights, if there is one."""
    beside = Path(source) / "stimuli"
    return beside if is_folder(source) and is_folder(beside) else None


def check_names(device: object, dtype: object) -> None:
    """Refuse a device or a dtype that no machine has; whether this one has it is seen later.

    Raises:
        EntangleError: as said above.
    """
    if isinstance(device, str) and not _DEVICE.fullmatch(device):
        raise EntangleError(
            f"device {device!r} cannot be used here; the choices are auto, cpu, cuda, a numbered "
            "GPU such as cuda:1, and balanced"
        )
    if isinstance(dtype, str) and dtype not in ("auto", *DTYPE_NAMES):
        raise EntangleError(
            f"dtype {dtype!r} is unknown; the choices are auto, {choices(DTYPE_NAMES)}"
        )


def read_config(path: Path) -> dict[str, Any]:
    """Read a ``config.json`` as it stands; nothing where it is not an object of JSON."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def count_layers(source: str | Path) -> int | None:
    """Return how many layers the configuration in a model's folder names; None if unknown."""
    config = read_config(Path(source) / "config.json") if is_folder(source) else {}
    text = config.get("text_config")
    for part in (text if isinstance(text, dict) else {}, config):
        for key in LAYER_KEYS:
            number = part.get(key)
            if isinstance(number, int) and not isinstance(number, bool) and number > 0:
                return number
    return None


def check_layer_range(layers: Sequence[int], n_layers: int) -> None:
    """Refuse layers that a model of ``n_layers`` does not have.

    Raises:
        EntangleError: as said above.
    """
    for layer in layers:
        if not 0 <= layer < n_layers:
            raise EntangleError(
                f"layer {layer} is out of range: the model has layers 0 to {n_layers - 1}"
            )
