"""The folder that a repaired checkpoint goes to: refused early, and what is copied into it."""

from __future__ import annotations

import shutil
from pathlib import Path

from entangle_lens.errors import EntangleError

_WEIGHTS = {
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".msgpack", ".h5", ".ot",
}  # fmt: skip
_REWRITTEN = {"config.json", "README.md", "model.safetensors.index.json"}


def check_folders(source: Path, out: Path) -> None:
    """Refuse an output folder that lies in the source folder or around it.

    Raises:
        EntangleError: as said above.
    """
    source, out = source.resolve(), out.resolve()
    if out == source or source in out.parents or out in source.parents:
        raise EntangleError(
            f"the output folder {str(out)!r} lies in the source folder {str(source)!r} or around "
            "it; give a folder elsewhere"
        )


def the_rest(source: Path) -> list[Path]:
    """Return what is copied of a checkpoint: tokenizer, chat template, generation config and so on.

    That is neither weights, which still hold what was removed, nor hidden files, nor what is
    written anew. A link is followed inside the checkpoint, and into the blobs of the hub's cache.

    Raises:
        EntangleError: a link to a file elsewhere or to nothing, or what is not a regular file.
    """
    found = []
    for path in sorted(source.rglob("*")):
        part = path.relative_to(source)
        if _is_left(part) or (path.is_dir() and not path.is_symlink()):
            continue
        target = _target(path, source)
        if target.is_dir() or _is_left(_inside(target, source)):
            continue
        if part.as_posix() not in _REWRITTEN:
            found.append(path)
    return found


def copy_the_rest(source: Path, out: Path) -> None:
    """Copy what :func:`the_rest` names; links become the files that they point to."""
    for path in the_rest(source):
        copy = out / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _is_left(part: Path) -> bool:
    hidden = any(each.startswith(".") for each in part.parts)
    return hidden or part.suffix in _WEIGHTS or part.name.endswith(".index.json")


def _inside(target: Path, source: Path) -> Path:
    """Return where a target lies in its checkpoint; a blob of the hub's cache has no such place."""
    base = source.resolve()
    return target.relative_to(base) if target.is_relative_to(base) else Path()


def _target(path: Path, source: Path) -> Path:
    """Return the file that ``path`` is, links followed as far as they may be.

    Raises:
        EntangleError: as :func:`the_rest`.
    """
    base = source.resolve()
    # The hub's cache: models--NAME/snapshots/COMMIT/FILE is a link to models--NAME/blobs/DIGEST.
    places = [base, base.parent.parent / "blobs"] if base.parent.name == "snapshots" else [base]
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        reason = getattr(error, "strerror", None) or error
        raise EntangleError(f"{str(path)!r} is a link that leads nowhere ({reason})") from None
    if not any(target.is_relative_to(place) for place in places):
        raise EntangleError(
            f"{str(path)!r} is a link to a file outside of the checkpoint, and would be copied "
            "into the new one; put the file itself there, or take the link away"
        )
    if not target.is_file() and not target.is_dir():
        raise EntangleError(f"{str(path)!r} is not a regular file, and cannot be copied")
    return target
