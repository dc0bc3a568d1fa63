"""Open a checkpoint with transformers: configuration, tokenizer and weights, each checked."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformer_lens.model_bridge.sources.transformers import get_hf_model_class_for_architecture
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.quantizers.auto import AutoHfQuantizer
from transformers.utils.hub import cached_file, extract_commit_hash

from entangle_lens.errors import EntangleError, choices, printable
from entangle_lens.model_names import ADAPTER, adapter_refusal, read_config, source_of
from entangle_lens.models.architectures import architecture_of, check_sizes
from entangle_lens.models.arguments import device_of, dtype_of
from entangle_lens.models.failures import in_one_sentence
from entangle_lens.models.weights import check_files, check_loaded, quantization_of
from entangle_lens.paths import is_folder

_TEMPLATE_FILE = "chat_template.json"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: where from, which commit, its tokenizer and its unwrapped model.

    ``notes`` are sentences for the user about what was left out of the model.
    """

    name: str
    source: str
    commit: str | None
    architecture: str
    tokenizer: PreTrainedTokenizerBase
    hf_model: PreTrainedModel
    notes: tuple[str, ...] = ()

    @property
    def quantised(self) -> bool:
        """Whether the weights are kept in fewer bits than they are computed in."""
        return getattr(self.hf_model, "hf_quantizer", None) is not None


def open_checkpoint(
    name: str | Path,
    device: str | torch.device,
    dtype: str | torch.dtype,
    revision: str | None,
    trust_remote_code: bool,
) -> Checkpoint:
    """Load configuration, tokenizer and weights with transformers, in that order."""
    place = device_of(device)
    torch_dtype = dtype_of(dtype, place)
    source = source_of(name, revision)
    name = str(name)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    raw = _configuration(source, name, revision)
    with in_one_sentence(name, source, "config.json"):
        config = AutoConfig.from_pretrained(source, **options)
    architecture = architecture_of(config, name)
    if is_folder(source):
        check_files(Path(source), raw)
    _check_quantisation(raw, name)
    tokenizer = _tokenizer(source, name, options)
    options |= {"dtype": torch_dtype} | _placement(place, bool(quantization_of(raw)))
    hf_model, notes = _model(architecture, source, name, options)
    if not options.get("device_map"):
        hf_model = cast(Any, hf_model).to(place)
    for note in notes:
        _log.warning(printable(note, one_line=True))
    commit = _commit(source, revision)
    return Checkpoint(name, source, commit, architecture, tokenizer, hf_model, notes)


def _configuration(source: str, name: str, revision: str | None) -> dict[str, Any]:
    """Read config.json as it stands, and refuse what transformers should not even build."""
    with in_one_sentence(name, source, "config.json"):
        adapter = _file(source, ADAPTER, revision)
        path = _file(source, "config.json", revision)
    if adapter:
        raise adapter_refusal(name)
    raw = read_config(Path(path or ""))
    check_sizes(raw, name)
    return raw


def _check_quantisation(raw: Mapping[str, Any], name: str) -> None:
    """Refuse coded weights that transformers would take for plain ones, with a warning unseen."""
    quantisation = quantization_of(raw)
    method = quantisation.get("quant_method") if isinstance(quantisation, dict) else None
    if method is not None and not AutoHfQuantizer.supports_quant_method(quantisation):
        raise EntangleError(
            f"the config.json of model {name!r} says that its weights are quantised as {method!r}, "
            "which transformers does not know; give the checkpoint in float32, bfloat16 or float16"
        )


def _placement(place: str, quantised: bool) -> dict[str, Any]:
    """Say where transformers puts the weights, if it is to: quantised ones cannot be moved."""
    if place == "balanced":
        return {"device_map": "auto"}
    return {"device_map": {"": place}} if quantised else {}


def _model(
    architecture: str, source: str, name: str, options: dict[str, Any]
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """Read the weights, and make sure that they are those that the model needs."""
    model_class = get_hf_model_class_for_architecture(architecture)
    with in_one_sentence(name, source, "weights"):
        hf_model, report = model_class.from_pretrained(
            source,
            **options,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused here, by name
        )
    notes = check_loaded(hf_model, report, name)
    return hf_model.eval().requires_grad_(False), notes


def _tokenizer(source: str, name: str, options: dict[str, Any]) -> PreTrainedTokenizerBase:
    """Load the tokenizer, and refuse the empty one that transformers makes up without files."""
    with in_one_sentence(name, source, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        files = [*_TOKENIZER_FILES, *getattr(tokenizer, "vocab_files_names", {}).values()]
        found = any(_file(source, file, options["revision"]) for file in files)
        apart = _file(source, _TEMPLATE_FILE, options["revision"])
    if not found:
        raise EntangleError(
            f"model {name!r} has no tokenizer; beside its weights one of "
            f"{choices(_TOKENIZER_FILES)} was expected"
        )
    if apart and not tokenizer.chat_template:
        tokenizer.chat_template = _template_apart(Path(apart))
    return tokenizer


def _template_apart(path: Path) -> str | dict[str, str]:
    """Read the chat template of an older multimodal repository, or several by name.

    transformers reads this file for a processor of text and pictures only.
    """
    try:
        template = json.loads(path.read_text(encoding="utf-8"))["chat_template"]
        if isinstance(template, list):
            return {str(each["name"]): str(each["template"]) for each in template}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise EntangleError(
            f"{str(path)!r} holds no chat template ({type(error).__name__})"
        ) from error
    return str(template)


def _file(source: str, file: str, revision: str | None) -> str | None:
    """Return where a file of the model is; None where it is not there, or cannot be had now."""
    found: str | None = cached_file(
        source,
        file,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return found


def _commit(source: str, revision: str | None) -> str | None:
    """Return the hub commit that ``source`` was loaded from; None for a folder."""
    if is_folder(source):
        return None
    commit: str | None = extract_commit_hash(_file(source, "config.json", revision), None)
    return commit or revision
