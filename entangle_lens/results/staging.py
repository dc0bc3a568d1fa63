"""How results come to disk: first all data, whole or not at all, then the page that shows them."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from entangle_lens.errors import EntangleError
from entangle_lens.staging import (
    MANIFEST,
    UnwritableError,
    claim,
    failure_to_write,
    shown_path,
    staged,
)

SUMMARY, REPORT = "summary.json", "report.html"
ROOM = 16_000_000  # bytes, more than the results of most runs take
_log = logging.getLogger(__name__)

__all__ = ["MANIFEST", "REPORT", "ROOM", "SUMMARY", "save_results", "without_nan", "write_json"]


def save_results(
    folder: Path, write: Callable[[Path], None], page: str, render: Callable[[], str]
) -> Path:
    """Write a new folder of results, and return the path of its page.

    Args:
        folder: new or empty.
        write: writes all data into the folder that it is given, the manifest last.
        page: the name of the page.
        render: returns the page; it is called when the data are on disk.

    Raises:
        EntangleError: a folder that is in use or cannot be written. What could be saved all the
            same, and where, is said in the sentence: the data elsewhere, if ``folder`` cannot be
            written; the data without a page, if the page cannot be made.
    """
    with claim(folder) as place:
        try:
            with staged(place) as stage:
                write(stage)
        except UnwritableError as error:
            raise EntangleError(f"{error}; {_save_elsewhere(folder, write)}") from error
        _write_page(place, page, render)
    return folder / page


def _save_elsewhere(folder: Path, write: Callable[[Path], None]) -> str:
    """Write the data to the folder for temporary files, and say where they are."""
    elsewhere = None
    try:
        elsewhere = Path(mkdtemp(prefix=f"{folder.resolve().name[:60]}-"))
        write(elsewhere)
    except Exception as error:
        if failure_to_write(error) is None:
            raise
        if elsewhere is not None:
            shutil.rmtree(elsewhere, ignore_errors=True)
        return "nor can the folder for temporary files, so nothing was saved"
    return f"the results, without a page, were saved in {str(elsewhere)!r} instead"


def _write_page(folder: Path, page: str, render: Callable[[], str]) -> None:
    kept = f"all else is in {shown_path(folder)}"
    part = folder / f".{page}.partial"
    try:
        part.write_text(render(), encoding="utf-8")
        part.replace(folder / page)
    except Exception as error:
        _log.debug("%s could not be written", page, exc_info=error)
        reason = failure_to_write(error) or f"{type(error).__name__}: {error}"
        raise EntangleError(f"{page} could not be written ({reason}); {kept}") from error
    except BaseException as stopped:
        stopped.add_note(f"{page} was not written; {kept}")
        raise
    finally:
        part.unlink(missing_ok=True)


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
