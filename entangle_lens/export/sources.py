"""Where the checkpoint to be repaired lies: a folder, a bundled organism, or the hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from entangle_lens.errors import EntangleError
from entangle_lens.model_names import source_of
from entangle_lens.paths import is_folder

_WANTED = (
    "*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.py", "*.md",
    "LICENSE*", "NOTICE*",
)  # fmt: skip
_LEFT = ("consolidated*", "original/*", "onnx/*")


def checkpoint_folder(name: str | Path, revision: str | None = None) -> Path:
    """Return the folder of a checkpoint's files, fetched from the hub first where it is an id.

    Nothing is loaded. ``name`` is what :func:`entangle_lens.load` takes.

    Raises:
        EntangleError: a name that is neither, a folder without a configuration, an organism that is
            not bundled, or an id that the hub does not give.
    """
    source = source_of(name, revision)
    if is_folder(source):
        return Path(source)
    try:
        return Path(
            snapshot_download(
                source,
                revision=revision,
                allow_patterns=list(_WANTED),
                ignore_patterns=list(_LEFT),
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise EntangleError(
            f"the weights of {str(name)!r} are in no folder and cannot be had from the hub "
            f"({type(error).__name__})"
        ) from error
