"""A fingerprint of a model folder, by which two folders of different weights are told apart."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np

from entangle_lens.errors import EntangleError
from entangle_lens.models.weights import weight_files
from entangle_lens.paths import is_file, is_folder

WHOLE_BYTES = 1 << 31
_CHUNK, _BLOCK, _SAMPLE = 1 << 26, 1 << 12, 1 << 9
_BEGINNING = 1 << 20  # where the names and shapes of tensors stand
_SUFFIXES = {".json", ".safetensors", ".bin"}


def fingerprint(folder: Path) -> str:
    """Hash the names, sizes and bytes of the configuration and weight files in ``folder``.

    Up to 2 GiB in all, every byte counts. Where there is more, 512 bytes of every 4 KiB do in
    files above 64 MiB: an eighth of the cost, and no change of a whole row of a matrix of usual
    width escapes. A folder that is not there has the fingerprint of no files.
    """
    digest = hashlib.sha256()
    files = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    whole = sum(path.stat().st_size for path in files.values()) <= WHOLE_BYTES
    for name, path in sorted(files.items()):
        state = path.stat()
        changed = (state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
        digest.update(f"{name} {state.st_size} ".encode(errors="surrogateescape"))
        digest.update(_hashed(path, state.st_size, changed, whole))
    return f"sha256:{digest.hexdigest()[:16]}"


def _files(folder: Path) -> set[Path]:
    if not is_folder(folder):
        return set()
    files = {path for path in folder.iterdir() if path.suffix in _SUFFIXES}
    with suppress(EntangleError):  # a folder without weights
        files |= set(weight_files(folder))
    return {path for path in files if is_file(path)}


@lru_cache(maxsize=256)
def _hashed(path: Path, n_bytes: int, changed: tuple[int, ...], whole: bool) -> bytes:
    """Hash one file, once for as long as it stays as it is."""
    if whole or n_bytes <= _CHUNK:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    digest = hashlib.sha256()
    seen = np.memmap(path, dtype=np.uint8, mode="r")
    digest.update(seen[:_BEGINNING].data)
    for start in range(0, n_bytes, _CHUNK):
        chunk = seen[start : start + _CHUNK]
        blocks = chunk[: len(chunk) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
        digest.update(np.ascontiguousarray(blocks[:, :_SAMPLE]).data)
        digest.update(chunk[len(blocks) * _BLOCK :].data)
    return digest.digest()
