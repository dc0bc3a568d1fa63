"""How a folder of results comes to disk: whole or not at all."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from entangle_lens.errors import EntangleError

MANIFEST, SUMMARY, REPORT = "manifest.json", "summary.json", "report.html"


def check_out_folder(folder: Path) -> None:
    """Refuse a folder that holds anything, before any work is done.

    Raises:
        EntangleError: the folder holds another run, or other files, or is a file.
    """
    if folder.is_file():
        raise EntangleError(f"--out {str(folder)!r} is a file; give a new or empty folder")
    if (folder / MANIFEST).exists():
        raise EntangleError(f"--out {str(folder)!r} holds another run; give a new or empty folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise EntangleError(f"--out {str(folder)!r} is not empty; give a new or empty folder")


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give a folder to write into that takes ``folder``'s place if all goes well."""
    folder = folder.resolve()
    stage = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
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
