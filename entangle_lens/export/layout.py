"""Which tensors of a model write to its residual stream, found by their names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from entangle_lens.errors import EntangleError, choices

_ATTENTION = r"self_attn\.o_proj"
_MLP = (
    r"mlp\.down_proj|mlp\.experts\.\d+\.down_proj|mlp\.shared_experts?\.down_proj"
    r"|block_sparse_moe\.experts\.\d+\.w2"
)
_WRITER = re.compile(rf"({_ATTENTION}|{_MLP})\.(weight|bias)")
_OTHER = re.compile(
    r"(self_attn\.((q|k|v|qkv)_proj|(q|k)_norm|rotary_emb)"
    r"|mlp\.((gate|up|gate_up)_proj|gate|shared_expert_gate)"
    r"|mlp\.(experts\.\d+|shared_experts?)\.(gate|up)_proj"
    r"|block_sparse_moe\.(gate|experts\.\d+\.(w1|w3))"
    r"|(input|post_attention|pre_feedforward|post_feedforward)_layernorm"
    r")\.(weight|bias|inv_freq|e_score_correction_bias)"
)
_OUTSIDE_LAYERS = ("embed_tokens.weight", "norm.weight", "norm.bias", "rotary_emb.inv_freq")
_NORMED = ("gemma2", "gemma3", "gemma3_text")  # whose post-norms multiply by 1 + weight
_FIRST = "layers.0.self_attn.o_proj.weight"


@dataclass(frozen=True)
class Writer:
    """One tensor that writes to the stream: its d_model axis, and the norm in between, if any."""

    name: str
    d_model_axis: int
    norm: str | None = None


@dataclass(frozen=True)
class Layout:
    """The text stack of a model: what writes to its stream, and where its unembedding is.

    ``tied`` says that ``head`` is not stored and the embedding stands in for it. ``outside`` are
    the tensors of other stacks (vision and the like), which nobody here looks at.
    """

    embedding: str
    head: str
    tied: bool
    n_layers: int
    writers: tuple[Writer, ...]
    outside: tuple[str, ...]

    @property
    def normed(self) -> bool:
        """Whether a norm stands between some matrix and the stream, as in Gemma 2 and 3."""
        return any(writer.norm for writer in self.writers)


def read_layout(names: Collection[str], config: Mapping[str, Any], source: str) -> Layout:
    """Find every tensor that writes to the residual stream, or refuse the model.

    A tensor of the text stack whose part is not known is a reason to refuse: it might write to
    the stream as well, and the removal would not be one.

    Raises:
        EntangleError: no text stack, a layer without its two outputs, or an unknown tensor.
    """
    prefix = _prefix(names, source)
    text = config.get("text_config") or config
    kind = str(text.get("model_type", config.get("model_type", "unknown")))
    layers = _layers(names, prefix, source, kind)
    expected = text.get("num_hidden_layers", len(layers))
    if sorted(layers) != list(range(expected)):
        raise EntangleError(
            f"{source!r} holds weights of layers {sorted(layers)}, and its config names {expected}"
        )
    writers = [Writer(f"{prefix}embed_tokens.weight", 1)]
    for layer, parts in sorted(layers.items()):
        writers += _layer_writers(f"{prefix}layers.{layer}.", parts, source, kind)
    heads = [name for name in names if name.endswith("lm_head.weight")]
    named = prefix.removesuffix("model.") if prefix.endswith("language_model.model.") else ""
    return Layout(
        embedding=writers[0].name,
        head=heads[0] if heads else f"{named}lm_head.weight",
        tied=not heads,
        n_layers=len(layers),
        writers=tuple(writers),
        outside=tuple(
            name for name in sorted(names) if not name.startswith(prefix) and name not in heads
        ),
    )


def _prefix(names: Collection[str], source: str) -> str:
    found = [name.removesuffix(_FIRST) for name in names if name.endswith(_FIRST)]
    found = [prefix for prefix in found if f"{prefix}embed_tokens.weight" in names]
    if len(found) != 1:
        raise EntangleError(
            f"{source!r} has {len(found)} stacks with tensors named embed_tokens.weight and "
            f"{_FIRST}; exactly one was looked for, as Qwen, Llama, Mistral and Gemma have it"
        )
    return found[0]


def _layers(
    names: Collection[str], prefix: str, source: str, kind: str
) -> dict[int, tuple[str, ...]]:
    """Return the names of every layer's tensors, their part alone, and refuse unknown ones."""
    layers: dict[int, list[str]] = {}
    unknown = []
    for name in (name for name in names if name.startswith(prefix)):
        part = name.removeprefix(prefix)
        inside = re.fullmatch(r"layers\.(\d+)\.(.+)", part)
        if inside:
            layers.setdefault(int(inside[1]), []).append(inside[2])
            known = any(each.fullmatch(inside[2]) for each in (_WRITER, _OTHER))
        else:
            known = part in _OUTSIDE_LAYERS or part.endswith("lm_head.weight")
        if not known:
            unknown.append(part)
    if unknown:
        raise EntangleError(
            f"{source!r} (model type {kind}) has tensors of which it is not known whether they "
            f"write to the residual stream: {choices(sorted(unknown)[:4])}"
        )
    return {layer: tuple(sorted(parts)) for layer, parts in layers.items()}


def _layer_writers(prefix: str, parts: tuple[str, ...], source: str, kind: str) -> list[Writer]:
    for wanted, what in ((_ATTENTION, "self_attn.o_proj"), (_MLP, "mlp.down_proj")):
        if not any(re.fullmatch(rf"({wanted})\.weight", part) for part in parts):
            raise EntangleError(f"{source!r} has no tensor {prefix}{what}.weight, looked for")
    normed = "post_feedforward_layernorm.weight" in parts
    if normed and kind not in _NORMED:
        raise EntangleError(
            f"{source!r} (model type {kind}) has norms between its matrices and the residual "
            f"stream; they are understood for {choices(_NORMED)} only"
        )
    writers = []
    for part in parts:
        found = _WRITER.fullmatch(part)
        if found:
            attention = part.startswith("self_attn")
            norm = f"post_{'attention' if attention else 'feedforward'}_layernorm.weight"
            writers.append(Writer(prefix + part, 0, prefix + norm if normed else None))
    return writers
