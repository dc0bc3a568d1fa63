"""How a folder of results comes to disk: whole or not at all."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, ENOTDIR
from pathlib import Path
from typing import Any

from entangle_lens.errors import EntangleError

MANIFEST, SUMMARY, REPORT = "manifest.json", "summary.json", "report.html"
_SHOWN_LETTERS = 120


def check_out_folder(folder: Path) -> None:
    """Refuse a folder that holds anything or cannot be written, before any work is done.

    Raises:
        EntangleError: the folder holds another run, or other files, or is a file, or where it
            is to be, nothing can be written.
    """
    try:
        _check_unused(folder)
        _check_writable(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        reason = getattr(error, "strerror", None) or error
        raise EntangleError(f"--out {_shown(folder)} cannot be written ({reason})") from None


def _check_unused(folder: Path) -> None:
    if folder.is_file():
        raise EntangleError(f"--out {str(folder)!r} is a file; give a new or empty folder")
    if (folder / MANIFEST).exists():
        raise EntangleError(f"--out {str(folder)!r} holds another run; give a new or empty folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise EntangleError(f"--out {str(folder)!r} is not empty; give a new or empty folder")


def _check_writable(folder: Path) -> None:
    """Raise OSError where the stage of ``folder`` could not be made."""
    stage = _stage_of(folder)
    stage.exists()  # a name that is too long
    above = next(each for each in stage.parents if each.exists())
    if not above.is_dir():
        raise NotADirectoryError(ENOTDIR, f"{str(above)!r} is a file")
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(EACCES, f"no permission to write in {str(above)!r}")


def _stage_of(folder: Path) -> Path:
    folder = folder.resolve()
    return folder.with_name(f".{folder.name}.partial-{os.getpid()}")


def _shown(folder: Path) -> str:
    name = repr(str(folder))
    return name if len(name) <= _SHOWN_LETTERS else f"{name[:_SHOWN_LETTERS]}..."


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give a folder to write into that takes ``folder``'s place if all goes well."""
    folder, stage = folder.resolve(), _stage_of(folder)
    try:
        stage.mkdir(parents=True)
    except OSError as error:
        raise EntangleError(f"{str(folder)!r} cannot be written ({error.strerror})") from None
    try:
        yield stage
        if folder.is_dir():
            folder.rmdir()
        stage.replace(folder)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write indented JSON; a number that JSON lacks, such as NaN, is an error."""
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def without_nan(value: Any) -> Any:
    """Replace NaN by None everywhere: JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_nan(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
