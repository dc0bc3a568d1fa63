"""A run folder's JSON files, read as what they are: files that anybody may have edited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from entangle_lens.errors import EntangleError
from entangle_lens.paths import is_file, is_folder
from entangle_lens.staging import MANIFEST, shown_path

MULTIVERSE = "multiverse"  # the folder in a run folder


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a run folder.

    Raises:
        EntangleError: no such folder, no run, half a run, or a manifest that cannot be read.
    """
    if not is_folder(folder):
        raise EntangleError(
            f"no such folder: {shown_path(folder)}; give one that entangle-lens run has written"
        )
    if not is_file(folder / MANIFEST):
        raise EntangleError(
            f"{shown_path(folder)} holds no {MANIFEST}: it is not a run folder, or its run "
            "never ended"
        )
    manifest = read_json(folder / MANIFEST)
    if "stimuli" not in manifest:
        raise EntangleError(
            f"{shown_path(folder)} is not a folder that entangle-lens run has written"
        )
    return manifest


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object of numbers and text that can be written again.

    Raises:
        EntangleError: a file that is not there or is not such an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise EntangleError(f"{shown_path(path)} cannot be read (nested too deeply)") from None
    except UnicodeError:
        raise EntangleError(f"{shown_path(path)} cannot be read (its text is broken)") from None
    except (OSError, ValueError) as error:
        raise EntangleError(f"{shown_path(path)} cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise EntangleError(f"{shown_path(path)} does not hold what entangle-lens run writes")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
