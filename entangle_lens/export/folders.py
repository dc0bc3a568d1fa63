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
