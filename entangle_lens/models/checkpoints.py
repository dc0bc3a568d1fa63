"""Open a checkpoint with transformers, and turn its many failures into one sentence each."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformer_lens.model_bridge.sources.transformers import get_hf_model_class_for_architecture
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.hub import cached_file, extract_commit_hash

from entangle_lens.errors import EntangleError, choices
from entangle_lens.models.architectures import architecture_of
from entangle_lens.organisms.bundle import DEFAULT_ORGANISM, ORGANISM_PREFIX, organism_folder

_HUB_ID = re.compile(r"^[\w][\w.-]*(/[\w][\w.-]*)?$")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: where from, which commit, its tokenizer and its unwrapped model."""

    source: str
    commit: str | None
    architecture: str
    tokenizer: PreTrainedTokenizerBase
    hf_model: PreTrainedModel


def open_checkpoint(
    name: str, device: str, dtype: str, revision: str | None, trust_remote_code: bool
) -> Checkpoint:
    """Load configuration, tokenizer and weights with transformers, in that order."""
    place = _resolve_device(device)
    torch_dtype = _resolve_dtype(dtype, place)
    source = _resolve_source(name)
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    config = _from_pretrained(AutoConfig, source, name, "config.json", options)
    architecture = architecture_of(config, name)
    tokenizer = _tokenizer(source, name, options)
    spread = {"device_map": "auto"} if place == "balanced" else {}
    model_class = get_hf_model_class_for_architecture(architecture)
    hf_model = _from_pretrained(
        model_class, source, name, "weights", {**options, "dtype": torch_dtype, **spread}
    )
    if not spread:
        hf_model = hf_model.to(place)
    hf_model.eval().requires_grad_(False)
    commit = _commit(source, revision)
    return Checkpoint(source, commit, architecture, tokenizer, hf_model)


def _resolve_source(name: str) -> str:
    if name.startswith(ORGANISM_PREFIX):
        return str(organism_folder(name.removeprefix(ORGANISM_PREFIX)))
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise EntangleError(
                f"model folder {name!r} holds no config.json; a model folder is what transformers' "
                "save_pretrained writes"
            )
        return str(folder)
    if folder.exists() or not _HUB_ID.match(name):
        raise EntangleError(
            f"model {name!r} is no folder, no hub id such as Qwen/Qwen2.5-7B-Instruct and no "
            f"bundled organism such as {DEFAULT_ORGANISM}"
        )
    return name


def _resolve_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "balanced":
        if not torch.cuda.is_available():
            raise EntangleError("device 'balanced' spreads layers over GPUs, and torch sees none")
        return device
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        seen = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise EntangleError(
            f"device {device!r} cannot be used here; the choices are "
            f"{choices(['auto', 'cpu', *seen])}"
        ) from error
    return device


def _resolve_dtype(dtype: str, place: str) -> torch.dtype:
    if dtype == "auto":
        return torch.float32 if place == "cpu" else torch.bfloat16
    if dtype not in DTYPES:
        raise EntangleError(f"dtype {dtype!r} is unknown; the choices are auto, {choices(DTYPES)}")
    return DTYPES[dtype]


def _tokenizer(source: str, name: str, options: dict[str, Any]) -> PreTrainedTokenizerBase:
    """Load the tokenizer, and refuse the empty one that transformers makes up without files."""
    tokenizer = _from_pretrained(AutoTokenizer, source, name, "a tokenizer", options)
    files = [*_TOKENIZER_FILES, *getattr(tokenizer, "vocab_files_names", {}).values()]
    if not any(_file(source, file, options["revision"]) for file in files):
        raise EntangleError(
            f"model {name!r} has no tokenizer; beside its weights one of "
            f"{choices(_TOKENIZER_FILES)} was expected"
        )
    return tokenizer


def _file(source: str, file: str, revision: str | None) -> str | None:
    found: str | None = cached_file(
        source, file, revision=revision, _raise_exceptions_for_missing_entries=False
    )
    return found


def _commit(source: str, revision: str | None) -> str | None:
    """Return the hub commit that ``source`` was loaded from; None for a folder."""
    if Path(source).is_dir():
        return None
    commit: str | None = extract_commit_hash(_file(source, "config.json", revision), None)
    return commit or revision


def _from_pretrained(
    loader: Any, source: str, name: str, what: str, options: dict[str, Any]
) -> Any:
    """Call ``loader.from_pretrained`` and turn its many failures into one sentence."""
    try:
        return loader.from_pretrained(source, **options)
    except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
        _log.debug("loading %s of %s failed", what, name, exc_info=error)
        raise EntangleError(_reason(error, source, name, what)) from error


def _reason(error: BaseException, source: str, name: str, what: str) -> str:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    message = " ".join(str(error).split())
    if "trust_remote_code" in message:
        return (
            f"model {name!r} needs code that comes with its checkpoint, and remote code is never "
            "run unless asked for; read it, then add --trust-remote-code"
        )
    if Path(source).is_dir():
        return (
            f"model folder {name!r} has no {what.removeprefix('a ')} that loads ({message[:200]})"
        )
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return f"model {name!r} is gated: accept its licence on the hub, then run 'hf auth login'"
    if any(isinstance(cause, RevisionNotFoundError) for cause in causes):
        return f"model {name!r} has no such revision on the hub"
    if any(
        isinstance(cause, RepositoryNotFoundError) and not isinstance(cause, GatedRepoError)
        for cause in causes
    ):
        return f"model id {name!r} is not on the hub (or is private and you are not logged in)"
    if any(isinstance(cause, LocalEntryNotFoundError) for cause in causes) or _offline(causes):
        return (
            f"model {name!r} is not on this machine and the hub cannot be reached; give a local "
            f"folder, or {DEFAULT_ORGANISM}, which needs no network"
        )
    return f"model {name!r} has no {what.removeprefix('a ')} that loads ({message[:200]})"


def _offline(causes: list[BaseException]) -> bool:
    names = {type(cause).__name__ for cause in causes}
    return bool(
        names & {"ConnectError", "ConnectionError", "OfflineModeIsEnabled", "ConnectTimeout"}
    )
