"""One file written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors import SafetensorError

from entangle_lens.errors import EntangleError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a file to write to that takes the place of ``path`` if all goes well.

    Raises:
        EntangleError: a place that cannot be written, or a full disk.
    """
    try:
        # A folder of its own: its name is free whatever was left behind, and never too long.
        with TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
            partial = Path(folder) / "whole"
            yield partial
            partial.replace(path)
    except (OSError, ValueError, SafetensorError) as error:  # ValueError: a zero byte in the name
        if isinstance(error, EntangleError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise EntangleError(f"{str(path)!r} cannot be written ({reason})") from None
