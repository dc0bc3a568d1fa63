"""Which models can be measured: decoders of a sensible size that predict the next token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformer_lens.model_bridge.sources.transformers import determine_architecture_from_hf_config
from transformer_lens.utilities.architectures import classify_architecture

from entangle_lens.errors import EntangleError
from entangle_lens.model_names import LAYER_KEYS

_PREDICTS_TOKENS = re.compile(r"(ForCausalLM|LMHead\w*|ForConditionalGeneration)$", re.IGNORECASE)
_FILLS_IN = {"LLaDAModelLM", "LLaDA2MoeModelLM", "DreamModel", "GiddForDiffusionLM"}
_OTHER_KINDS = {
    "seq2seq": "an encoder-decoder",
    "masked_lm": "an encoder that fills in masked tokens",
    "audio": "a model of sound",
    "vision": "a model of images",
}
# Far above any model there is; more would take all memory before a weight is read.
_LARGEST = dict.fromkeys((*LAYER_KEYS, "encoder_layers", "decoder_layers"), 1_000) | {
    "hidden_size": 10**6,
    "n_embd": 10**6,
    "d_model": 10**6,
    "intermediate_size": 10**7,
    "vocab_size": 10**8,
    "num_attention_heads": 10**5,
    "num_experts": 10**5,
    "num_local_experts": 10**5,
}


def check_sizes(config: Mapping[str, Any], name: str) -> None:
    """Refuse a configuration of no layer, or of sizes that no model has, before it is built."""
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        for key in LAYER_KEYS:
            if _is_number(part.get(key)) and part[key] < 1:
                raise _size_refusal(name, key, part[key])
    pending = [config]
    while pending:
        part = pending.pop()
        pending += [each for each in part.values() if isinstance(each, dict)]
        for key, largest in _LARGEST.items():
            if _is_number(part.get(key)) and part[key] > largest:
                raise _size_refusal(name, key, part[key])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _size_refusal(name: str, key: str, value: int | float) -> EntangleError:
    return EntangleError(
        f"the config.json of model {name!r} says {key} {value}; 1 to {_LARGEST[key]} was expected"
    )


def architecture_of(config: Any, name: str) -> str:
    """Return the class of a language model that ``config`` describes, as TransformerLens names it.

    Raises:
        EntangleError: an encoder, an encoder-decoder, a head of another kind or none, or an
            architecture that TransformerLens does not know.
    """
    given = getattr(config, "architectures", None) or ()
    named = [given] if isinstance(given, str) else [str(each) for each in given]
    usable = [each for each in named if each in SUPPORTED_ARCHITECTURES]
    if named and not usable and not any(map(_PREDICTS_TOKENS.search, named)):
        raise _refusal(name, named[0], _head_of(named[0]))
    try:
        architecture = str(determine_architecture_from_hf_config(config))
    except ValueError:
        architecture = str(getattr(config, "model_type", "unknown"))
    kind = _kind_of(config, architecture)
    if kind is not None:
        raise _refusal(name, architecture, kind)
    if architecture not in SUPPORTED_ARCHITECTURES:
        raise EntangleError(
            f"model {name!r} has architecture {architecture}, which TransformerLens does not "
            "support; it supports Qwen, Gemma, Mistral, Llama and the others that "
            "TransformerBridge.list_supported_models() lists"
        )
    return architecture


def _kind_of(config: Any, architecture: str) -> str | None:
    """Say what a model is that does not predict the next token; None where it does."""
    if getattr(config, "is_encoder_decoder", False):
        return _OTHER_KINDS["seq2seq"]
    reads_both_ways = architecture == "BertLMHeadModel" and not config.is_decoder
    if reads_both_ways or architecture in _FILLS_IN:
        return _OTHER_KINDS["masked_lm"]
    return _OTHER_KINDS.get(classify_architecture(architecture))


def _head_of(architecture: str) -> str:
    if architecture.endswith("Model"):
        return "a model without a head that predicts tokens"
    return "a model whose head predicts something else than the next token"


def _refusal(name: str, architecture: str, kind: str) -> EntangleError:
    return EntangleError(
        f"model {name!r} is a {architecture}, {kind}; a decoder that predicts the next token was "
        "expected, such as Qwen, Gemma, Mistral or Llama"
    )
