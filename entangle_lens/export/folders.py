"""The folder that a repaired checkpoint goes to: refused early, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from entangle_lens.errors import EntangleError

_WEIGHTS = {
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".msgpack", ".h5", ".ot",
}  # fmt: skip
_REWRITTEN = {"config.json", "README.md", "model.safetensors.index.json"}


def check_folders(source: Path, out: Path) -> None:
    """Refuse an output folder that holds anything, or that lies in the source or around it.

    Raises:
        EntangleError: as said above.
    """
    source, out = source.resolve(), out.resolve()
    if out == source or source in out.parents or out in source.parents:
        raise EntangleError(
            f"the output folder {str(out)!r} lies in the source folder {str(source)!r} or around "
            "it; give a folder elsewhere"
        )
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise EntangleError(f"{str(out)!r} is there already; give a new or an empty folder")


@contextmanager
def staged(out: Path, n_bytes: int) -> Iterator[Path]:
    """Give a folder to write into that takes ``out``'s place if all goes well.

    Raises:
        EntangleError: a place that cannot be written, or with less than ``n_bytes`` free.
    """
    out = out.resolve()
    stage = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        stage.mkdir(parents=True)
    except OSError as error:
        raise EntangleError(f"{str(out)!r} cannot be written ({error.strerror})") from None
    try:
        free = shutil.disk_usage(stage).free
        if free < n_bytes:
            raise EntangleError(
                f"{str(out)!r} needs {n_bytes / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free there"
            )
        yield stage
        if out.is_dir():
            out.rmdir()
        stage.replace(out)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def copy_the_rest(source: Path, out: Path) -> None:
    """Copy what is neither weights nor written anew: tokenizer, chat template, generation config.

    Weights in other forms are left behind, since they still hold what was removed.
    """
    for path in sorted(source.rglob("*")):
        part = path.relative_to(source)
        hidden = any(each.startswith(".") for each in part.parts)
        if path.is_dir() or hidden or path.suffix in _WEIGHTS:
            continue
        if part.as_posix() in _REWRITTEN or path.name.endswith(".index.json"):
            continue
        (out / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / part)
