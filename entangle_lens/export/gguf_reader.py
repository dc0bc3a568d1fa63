"""A GGUF file read by its own lengths only as far as the file goes.

The ``gguf`` library believes every length that a file names: a hundred bytes can ask it for all
memory. A control vector needs little of the format, so that little is read here.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from entangle_lens.errors import EntangleError
from entangle_lens.paths import is_file

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY, _FLOAT32 = 8, 9, 0
_MOST = 1_000_000  # entries, tensors, or texts in an array; a control vector has some dozens
_MOST_AXES = 4
_LONGEST_TEXT = 100_000
_ALIGNMENT = 32


@dataclass(frozen=True, eq=False)
class Gguf:
    """What a GGUF file says of itself, arrays left out, and its tensors by name."""

    metadata: dict[str, Any]
    tensors: dict[str, Float[np.ndarray, "..."]]


def read_gguf(path: Path, architecture: str) -> Gguf:
    """Read a GGUF file of float32 tensors.

    Raises:
        EntangleError: no such file, one of another architecture, one that is broken or names
            more than it holds, or tensors that are not float32.
    """
    if not is_file(path):
        raise EntangleError(f"no such file: {str(path)!r}")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            walk = _Walk(data)
            n_tensors, metadata = walk.metadata()
            kind = metadata.get("general.architecture")
            if kind != architecture:
                raise _AnotherKindError(f"{str(path)!r} holds a {kind}, and no control vector")
            return Gguf(metadata, walk.tensors(n_tensors, metadata))
    except (OSError, ValueError, struct.error) as error:  # a broken text is a ValueError
        if isinstance(error, _AnotherKindError):
            raise EntangleError(str(error)) from None
        raise EntangleError(f"{str(path)!r} cannot be read as GGUF ({error})") from None


class _AnotherKindError(EntangleError):
    """A file that is whole and holds something else."""


class _Walk:
    """A place in the file that only moves on, and never beyond the end."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def metadata(self) -> tuple[int, dict[str, Any]]:
        """Read the beginning; return the number of tensors, and the entries that are no arrays."""
        if self.take(4) != _MAGIC:
            raise EntangleError("it does not begin with GGUF")
        version = self.number("I")
        if version not in _VERSIONS:
            raise EntangleError(f"it is of version {version}; 2 or 3 was expected")
        n_tensors, n_entries = self.count("Q"), self.count("Q")
        found = {}
        for _ in range(n_entries):
            name, kind = self.text(), self.number("I")
            if kind == _ARRAY:
                self.skip_array()
            else:
                found[name] = self.text() if kind == _STRING else self.number(_code(kind))
        return n_tensors, found

    def tensors(self, n_tensors: int, metadata: dict[str, Any]) -> dict[str, Any]:
        """Read the tensors, copied out of the file; together no more than it holds."""
        places = [self.place() for _ in range(n_tensors)]
        alignment = metadata.get("general.alignment", _ALIGNMENT)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            raise EntangleError(f"its alignment is {alignment}")
        start = -(-self.at // alignment) * alignment
        if 4 * sum(math.prod(shape) for _, shape, _ in places) > len(self.data):
            raise EntangleError("its tensors are larger than the file")
        found = {}
        for name, shape, offset in places:
            self.at = start + offset
            raw = np.frombuffer(self.take(4 * math.prod(shape)), dtype="<f4")
            found[name] = raw.reshape(shape[::-1]).copy()  # the first axis moves fastest
        if len(found) < len(places):
            raise EntangleError("two of its tensors have the same name")
        return found

    def place(self) -> tuple[str, tuple[int, ...], int]:
        """Read a tensor's name, shape and offset."""
        name, n_axes = self.text(), self.number("I")
        if not 1 <= n_axes <= _MOST_AXES:
            raise EntangleError(f"{name} has {n_axes} axes")
        shape = tuple(self.number("Q") for _ in range(n_axes))
        kind, offset = self.number("I"), self.number("Q")
        if kind != _FLOAT32:
            raise EntangleError(f"{name} is of type {kind}; float32 was expected, which is 0")
        return name, shape, offset

    def skip_array(self) -> None:
        """Move behind an array; numbers are not looked at."""
        kind = self.number("I")
        if kind == _STRING:
            for _ in range(self.count("Q")):
                self.take(self.number("Q"))
        else:
            self.take(self.number("Q") * struct.calcsize(_code(kind)), read=False)

    def text(self) -> str:
        """Read a text."""
        length = self.number("Q")
        if length > _LONGEST_TEXT:
            raise EntangleError(f"a text of {length} bytes is named")
        return self.take(length).decode("utf-8")

    def count(self, code: str) -> int:
        """Read how many of something follow, each of which takes time."""
        number = self.number(code)
        if number > _MOST:
            raise EntangleError(f"{number} entries are named; at most {_MOST} are read")
        return number

    def number(self, code: str) -> Any:
        """Read one number."""
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def take(self, length: int, *, read: bool = True) -> bytes:
        """Move on by ``length`` bytes and return them."""
        if length > len(self.data) - self.at:
            raise EntangleError(
                f"it names {length} bytes where {len(self.data) - self.at} are left"
            )
        begin, self.at = self.at, self.at + length
        return self.data[begin : self.at] if read else b""


def _code(kind: int) -> str:
    if kind not in _NUMBERS:
        raise EntangleError(f"a value of type {kind} is named")
    return _NUMBERS[kind]
