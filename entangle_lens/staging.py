"""Folders of results: claimed before the work begins, filled whole or not at all.

A claimed folder is made at once and held by a lock file in it, so that no two runs ever share one.
The system drops the lock when its process ends, in whatever way. What is written lies in a stage
inside of the claimed folder, which may therefore be a mount point, and is moved up at the end. What
a killed run has left behind is finished or removed by the next one that claims the folder.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EAGAIN, ELOOP
from pathlib import Path
from tempfile import mkdtemp

from entangle_lens.errors import EntangleError

try:
    import fcntl
except ImportError:  # Windows: folders are made at once there too, and two runs are not told apart
    fcntl = None  # type: ignore[assignment]

MANIFEST = "manifest.json"
_LOCK, _STAGE = ".entangle-lens.lock", ".entangle-lens.partial-"
_LAST = ("config.json", "repair.json", MANIFEST)  # a folder with these is whole
_NO_CONTENT = "lost+found"  # what a new file system holds
_SHOWN_LETTERS = 120
_TRIES = 5
_held: set[tuple[Path, int]] = set()


class UnwritableError(EntangleError):
    """Say in one sentence which folder cannot be written, and why."""


@contextmanager
def claim(folder: str | Path, *, n_bytes: int = 0, fresh: bool = False) -> Iterator[Path]:
    """Hold a new or empty folder for the results of this process, and give its resolved path.

    The folder is made at once. A folder that was made and stays empty is removed at the end. A
    thread that holds a folder may claim it again.

    Args:
        folder: new or empty.
        n_bytes: how much has to be free there.
        fresh: take the first of ``folder``, ``folder-2``, ``folder-3``, ... that is not there.

    Raises:
        EntangleError: the folder holds anything, is a file, is claimed by another run, cannot be
            written, or has too little room.

    Example:
        >>> with claim("out") as out:  # doctest: +SKIP
        ...     found = hours_of_work()
        ...     save(found, out)
    """
    with _unwritable(folder):
        place, made = _make(Path(folder), fresh)
    holder = place, threading.get_ident()
    if holder in _held:
        _check_unused(place)
        yield place
        return
    lock = None
    try:
        with _unwritable(place):
            _check_unused(place, unless_locked=True)
            lock = _lock(place)
            _settle(place)
        _check_unused(place)
        check_room(place, n_bytes)
        _held.add(holder)
        yield place
    finally:
        _held.discard(holder)
        _release(place, lock, made)


@contextmanager
def staged(folder: str | Path, *, n_bytes: int = 0) -> Iterator[Path]:
    """Give a stage to write into, whose content moves to ``folder`` if all goes well.

    Raises:
        EntangleError: as :func:`claim`.
        UnwritableError: an error of the file system while writing, such as a full disk.
    """
    with claim(folder, n_bytes=n_bytes) as place, _unwritable(place):
        stage = Path(mkdtemp(prefix=_STAGE, dir=place))
        try:
            yield stage
            (place / _LOCK).write_text(stage.name, encoding="utf-8")
            _publish(stage, place)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def check_room(folder: Path, n_bytes: int) -> None:
    """Refuse a folder with less than ``n_bytes`` free.

    Raises:
        EntangleError: as said above.
    """
    with _unwritable(folder):
        free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise EntangleError(
            f"the output folder {shown_path(folder)} needs {_size(n_bytes)}, and {_size(free)} are "
            "free there"
        )


def failure_to_write(error: BaseException) -> str | None:
    """Return why the file system refused to write; None for an error of another kind."""
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
    found = re.search(r"([^:]+) \(os error \d+\)", str(error))  # of libraries written in Rust
    return found[1].strip() if found else None


def shown_path(path: str | Path) -> str:
    """Return a path in quotes, cut where it is very long."""
    name = repr(str(path))
    return name if len(name) <= _SHOWN_LETTERS else f"{name[:_SHOWN_LETTERS]}..."


@contextmanager
def _unwritable(folder: str | Path) -> Iterator[None]:
    """Turn errors of the file system into one sentence."""
    try:
        yield
    except EntangleError:
        raise
    except Exception as error:
        reason = failure_to_write(error)
        if reason is None and "null byte" in str(error):
            reason = "a name cannot hold a zero byte"
        if reason is None and "Symlink loop" in str(error):
            reason = os.strerror(ELOOP)
        if reason is None:
            raise
        raise UnwritableError(
            f"the output folder {shown_path(folder)} cannot be written ({reason})"
        ) from error


def _make(folder: Path, fresh: bool) -> tuple[Path, list[Path]]:
    """Make the folder, and return it with all that had to be made for it, the deepest first."""
    first, number = folder.resolve(), 1
    place = first
    while True:
        made = [each for each in (place, *place.parents) if not each.exists()]
        if place.is_file():
            raise EntangleError(
                f"the output folder {shown_path(folder)} is a file; give a new or empty folder"
            )
        try:
            place.mkdir(parents=True, exist_ok=not fresh)
        except FileExistsError:
            number += 1
            place = first.with_name(f"{first.name}-{number}")
            continue
        return place, made


def _check_unused(folder: Path, *, unless_locked: bool = False) -> None:
    names = {path.name for path in folder.iterdir()}
    if unless_locked and _LOCK in names:
        return
    content = {name for name in names if name != _NO_CONTENT and not _is_ours(name)}
    if not content:
        return
    what = "holds another run" if MANIFEST in content else "is not empty"
    raise EntangleError(
        f"the output folder {shown_path(folder)} {what}; give a new or empty folder"
    )


def _is_ours(name: str) -> bool:
    return name == _LOCK or name.startswith(_STAGE)


def _lock(folder: Path) -> int:
    """Take the folder's lock and return its open file, or refuse."""
    path = folder / _LOCK
    for _ in range(_TRIES):
        folder.mkdir(parents=True, exist_ok=True)  # whoever had it may just have removed it
        lock = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        if not _taken(lock):
            if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
                return lock
            os.close(lock)  # the lock of a run that has just ended and removed the file
            continue
        os.close(lock)
        break
    raise EntangleError(
        f"another run is writing to the output folder {shown_path(folder)}; give another one"
    )


def _taken(lock: int) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # any other: a file system without locks
        return error.errno in (EAGAIN, EACCES)
    return False


def _settle(folder: Path) -> None:
    """Finish what a killed run was moving into place, and remove what it had not finished."""
    name = (folder / _LOCK).read_text(encoding="utf-8", errors="replace")
    stage = folder / name
    if name.startswith(_STAGE) and stage.parent == folder and stage.is_dir():
        _publish(stage, folder)
    for left in folder.glob(f"{_STAGE}*"):
        shutil.rmtree(left, ignore_errors=True)


def _publish(stage: Path, folder: Path) -> None:
    """Move everything up or nothing, and what makes a folder whole at the end."""
    moved: list[Path] = []
    try:
        for piece in sorted(stage.iterdir(), key=lambda each: (each.name in _LAST, each.name)):
            moved.append(piece.replace(folder / piece.name))
    except BaseException:
        for piece in reversed(moved):
            piece.replace(stage / piece.name)
        raise


def _release(folder: Path, lock: int | None, made: list[Path]) -> None:
    """Give up the lock, and remove the folders that were made and hold nothing."""
    if lock is not None:
        with suppress(OSError):  # Windows removes no open file
            (folder / _LOCK).unlink()  # before it is closed, when it may be another run's
        os.close(lock)
    with suppress(OSError):  # it holds results, as it should, or another run has it by now
        if fcntl is None:
            (folder / _LOCK).unlink(missing_ok=True)
        for each in made:
            each.rmdir()


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
