"""Questions about paths that answer no where the operating system raises.

``Path.is_file`` raises for a name that is too long, and for links in a circle on some systems. A
user's argument may be any text, so a path that cannot be looked at is a path that is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def is_file(path: str | Path) -> bool:
    """Return whether ``path`` is a file; False for a path that cannot even be looked at."""
    return _answers(Path(path), Path.is_file)


def is_folder(path: str | Path) -> bool:
    """Return whether ``path`` is a folder; False for a path that cannot even be looked at."""
    return _answers(Path(path), Path.is_dir)


def exists(path: str | Path) -> bool:
    """Return whether anything is at ``path``; False for a path that cannot even be looked at."""
    return _answers(Path(path), Path.exists)


def _answers(path: Path, question: Callable[[Path], bool]) -> bool:
    try:
        return question(path)
    except (OSError, ValueError, RuntimeError):  # too long; a zero byte; links in a circle
        return False
