"""Load a model once, the same way for a hub id, a local folder and a bundled organism.

What comes back is TransformerLens's own ``TransformerBridge``: everything that TransformerLens
can do with a model works on it, and everything here works on a bridge that you made yourself.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources import build_bridge_from_module
from transformer_lens.model_bridge.sources.transformers import (
    determine_architecture_from_hf_config,
    get_hf_model_class_for_architecture,
)
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.hub import cached_file, extract_commit_hash

from entangle_lens.errors import EntangleError, choices
from entangle_lens.organisms.bundle import DEFAULT_ORGANISM, ORGANISM_PREFIX, organism_folder

Model: TypeAlias = TransformerBridge
PlainModel: TypeAlias = PreTrainedModel

_HUB_ID = re.compile(r"^[\w][\w.-]*(/[\w][\w.-]*)?$")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelInfo:
    """Where a loaded model came from, and its own untouched tokenizer.

    ``plain`` is the unwrapped model over the same parameters, for passes that need no hook points.

    ``revision`` is the hub commit, or a fingerprint of the local files. ``stimuli`` is the
    stimulus folder found beside the weights, if there is one.
    """

    name: str
    revision: str
    dtype: str
    device: str
    architecture: str
    n_layers: int
    d_model: int
    tokenizer: PreTrainedTokenizerBase
    plain: PreTrainedModel | None
    stimuli: Path | None


def load(
    name: str | Path = DEFAULT_ORGANISM,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> TransformerBridge:
    """Load a model as a TransformerBridge: a hub id, a local folder, or ``organism:NAME``.

    Args:
        name: for example ``Qwen/Qwen2.5-7B-Instruct``, ``./my-checkpoint`` or
            ``organism:qwen3-entangled`` (the default, which needs no network).
        device: ``auto`` (the first GPU, else the CPU) or any torch device; ``balanced`` spreads
            the layers over all GPUs.
        dtype: ``auto`` (float32 on the CPU, bfloat16 elsewhere), float32, bfloat16 or float16.
        revision: hub branch, tag or commit.
        trust_remote_code: run code that comes with the checkpoint; off unless asked for.

    Raises:
        EntangleError: unknown id, missing folder, no tokenizer, no network, an architecture
            that TransformerLens does not know, an impossible device or dtype.
    """
    checkpoint = _open(str(name), device, dtype, revision, trust_remote_code)
    plain = None if device == "balanced" else _same_parameters(checkpoint.hf_model)
    bridge = build_bridge_from_module(
        checkpoint.hf_model,
        checkpoint.architecture,
        hf_config=checkpoint.hf_model.config,
        tokenizer=copy.deepcopy(checkpoint.tokenizer),
        model_name=str(name),
    )
    _use_fast_attention(checkpoint.hf_model)
    about = _describe(bridge, checkpoint.tokenizer, str(name), checkpoint.source, plain)
    bridge.entangle_info = replace(about, revision=checkpoint.commit or about.revision)
    return bridge


def load_plain(
    name: str | Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """Load the same checkpoint as :func:`load`, as an unwrapped transformers model."""
    return _open(str(name), device, dtype, revision, trust_remote_code).hf_model


@dataclass(frozen=True)
class _Checkpoint:
    source: str
    commit: str | None
    architecture: str
    tokenizer: PreTrainedTokenizerBase
    hf_model: PreTrainedModel


def _open(
    name: str, device: str, dtype: str, revision: str | None, trust_remote_code: bool
) -> _Checkpoint:
    """Load configuration, tokenizer and weights with transformers, in that order."""
    place = _resolve_device(device)
    torch_dtype = _resolve_dtype(dtype, place)
    source = _resolve_source(name)
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    config = _from_pretrained(AutoConfig, source, name, "config.json", options)
    architecture = _architecture(config, name)
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
    return _Checkpoint(source, commit, architecture, tokenizer, hf_model)


def info(model: TransformerBridge) -> ModelInfo:
    """Return where ``model`` came from; a bridge made elsewhere is described from its config."""
    known = getattr(model, "entangle_info", None)
    if isinstance(known, ModelInfo):
        return known
    if model.tokenizer is None:
        raise EntangleError(
            f"model {model.cfg.model_name!r} has no tokenizer; give the bridge one, or load the "
            "model with entangle_lens.load"
        )
    name = str(model.cfg.model_name)
    return _describe(model, model.tokenizer, name, name)


def _describe(
    model: TransformerBridge,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    source: str,
    plain: PreTrainedModel | None = None,
) -> ModelInfo:
    folder = Path(source)
    stimuli = folder / "stimuli"
    return ModelInfo(
        name=name,
        revision=_fingerprint(folder),
        dtype=str(model.cfg.dtype).removeprefix("torch."),
        device=str(model.cfg.device),
        architecture=str(model.cfg.architecture),
        n_layers=int(model.cfg.n_layers),
        d_model=int(model.cfg.d_model),
        tokenizer=tokenizer,
        plain=plain,
        stimuli=stimuli if stimuli.is_dir() else None,
    )


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


def _architecture(config: Any, name: str) -> str:
    try:
        architecture = str(determine_architecture_from_hf_config(config))
    except ValueError:
        architecture = str(getattr(config, "model_type", "unknown"))
    if architecture not in SUPPORTED_ARCHITECTURES:
        raise EntangleError(
            f"model {name!r} has architecture {architecture}, which TransformerLens does not "
            "support; it supports Qwen, Gemma, Mistral, Llama and the others that "
            "TransformerBridge.list_supported_models() lists"
        )
    return architecture


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


def _same_parameters(hf_model: PreTrainedModel) -> PreTrainedModel:
    """Return a second tree of modules over the very same parameters and buffers."""
    _use_fast_attention(hf_model)
    tensors = [*hf_model.parameters(), *hf_model.buffers()]
    return copy.deepcopy(hf_model, {id(tensor): tensor for tensor in tensors})


def _use_fast_attention(hf_model: PreTrainedModel) -> None:
    """Put fused attention back, which wrapping replaced by eager; Gemma 2 softcaps need eager."""
    text_config = hf_model.config.get_text_config()
    if getattr(text_config, "attn_logit_softcapping", None) is None:
        hf_model.set_attn_implementation("sdpa")


def _fingerprint(folder: Path) -> str:
    """Hash the configuration and the weight files' names, sizes and first bytes."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if path.suffix in {".json", ".safetensors", ".bin"}:
            with path.open("rb") as file:
                head = file.read(1 << 20)
            digest.update(f"{path.name} {path.stat().st_size} ".encode() + head)
    return f"sha256:{digest.hexdigest()[:16]}"
