"""Load a model once, the same way for a hub id, a local folder and a bundled organism.

What comes back is TransformerLens's own ``TransformerBridge``: everything that TransformerLens
can do with a model works on it, and everything here works on a bridge that you made yourself.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import torch
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources import build_bridge_from_module
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from entangle_lens.errors import EntangleError
from entangle_lens.model_names import shown_name, stimuli_beside
from entangle_lens.models.checkpoints import Checkpoint, open_checkpoint
from entangle_lens.models.failures import in_one_sentence
from entangle_lens.models.fingerprints import fingerprint
from entangle_lens.organisms.bundle import DEFAULT_ORGANISM

Model: TypeAlias = TransformerBridge
PlainModel: TypeAlias = PreTrainedModel


@dataclass(frozen=True)
class ModelInfo:
    """Where a loaded model came from, and its own untouched tokenizer.

    ``name`` is the hub id or the name of the organism or folder, without the path to it.
    ``plain`` is the unwrapped model over the same parameters, for passes that need no hook points;
    None where only the bridge itself is right.

    ``revision`` is the hub commit, or a fingerprint of the local files. ``stimuli`` is the
    stimulus folder found beside the weights, if there is one. ``notes`` are sentences for the
    user: what the checkpoint holds and the model leaves out.
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
    notes: tuple[str, ...] = ()


def load(
    name: str | Path = DEFAULT_ORGANISM,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> TransformerBridge:
    """Load a model as a TransformerBridge: a hub id, a local folder, or ``organism:NAME``.

    Args:
        name: for example ``Qwen/Qwen2.5-7B-Instruct``, ``./my-checkpoint`` or
            ``organism:qwen3-entangled`` (the default, which needs no network).
        device: ``auto`` (the first GPU, else the CPU) or any torch device; ``balanced`` spreads
            the layers over all GPUs.
        dtype: ``auto`` (float32 on the CPU, bfloat16 elsewhere), float32, bfloat16 or float16, by
            name or as torch's.
        revision: hub branch, tag or commit.
        trust_remote_code: run code that comes with the checkpoint; off unless asked for.

    Raises:
        EntangleError: unknown id, missing folder, no tokenizer, no network, an architecture that
            TransformerLens does not know or that does not predict the next token, weights that
            are broken or not those that the configuration describes, an impossible device or
            dtype.
    """
    checkpoint = open_checkpoint(name, device, dtype, revision, trust_remote_code)
    one_tree = device == "balanced" or checkpoint.quantised
    plain = None if one_tree else _same_parameters(checkpoint.hf_model)
    bridge = _wrapped(checkpoint)
    about = _describe(bridge, checkpoint.tokenizer, checkpoint.name, checkpoint.source, plain)
    revision = checkpoint.commit or about.revision
    bridge.entangle_info = replace(about, revision=revision, notes=checkpoint.notes)
    return bridge


def load_plain(
    name: str | Path,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """Load the same checkpoint as :func:`load`, as an unwrapped transformers model."""
    return open_checkpoint(name, device, dtype, revision, trust_remote_code).hf_model


def info(model: TransformerBridge) -> ModelInfo:
    """Return where ``model`` came from; a bridge made elsewhere is described from its config."""
    if not isinstance(model, TransformerBridge):
        raise EntangleError(
            f"the model is of type {type(model).__name__}; a TransformerBridge was expected, as "
            "entangle_lens.load(...) returns it"
        )
    known = getattr(model, "entangle_info", None)
    if isinstance(known, ModelInfo):
        return known
    if not isinstance(model, TransformerBridge):
        raise EntangleError(
            f"{model!r} is not a model; what entangle_lens.load returns was expected, or another "
            "TransformerBridge"
        )
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
    return ModelInfo(
        name=shown_name(name),
        revision=fingerprint(Path(source)),
        dtype=str(model.cfg.dtype).removeprefix("torch."),
        device=str(model.cfg.device),
        architecture=str(model.cfg.architecture),
        n_layers=int(model.cfg.n_layers),
        d_model=int(model.cfg.d_model),
        tokenizer=tokenizer,
        plain=plain,
        stimuli=stimuli_beside(source),
    )


def _wrapped(checkpoint: Checkpoint) -> TransformerBridge:
    """Put TransformerLens's hook points into the model."""
    attention = _attention_of(checkpoint.hf_model)
    with in_one_sentence(checkpoint.name, checkpoint.source, "TransformerLens bridge"):
        bridge = build_bridge_from_module(
            checkpoint.hf_model,
            checkpoint.architecture,
            hf_config=checkpoint.hf_model.config,
            tokenizer=copy.deepcopy(checkpoint.tokenizer),
            model_name=checkpoint.name,
        )
        checkpoint.hf_model.set_attn_implementation(attention)
    return bridge


def _same_parameters(hf_model: PreTrainedModel) -> PreTrainedModel:
    """Return a second tree of modules over the very same parameters and buffers.

    Not for quantised weights: a module of theirs may keep part of the numbers to itself once it
    has run, and the module of the other tree would then go without.
    """
    tensors = [*hf_model.parameters(), *hf_model.buffers()]
    return copy.deepcopy(hf_model, {id(tensor): tensor for tensor in tensors})


def _attention_of(hf_model: PreTrainedModel) -> dict[str, str]:
    """Return how the model attends, its parts by name: what transformers chose when it loaded it.

    Wrapping puts the slow way in its place. Not every model takes the fast one.
    """
    config = hf_model.config
    parts = {name: getattr(config, name, None) for name in config.sub_configs}
    chosen = {name: part._attn_implementation for name, part in parts.items() if part is not None}
    return {"": config._attn_implementation, **chosen}
