"""Where the hook points of TransformerLens lie in a bare decoder block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from entangle_lens.errors import EntangleError, choices

SITES = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "mlp_pre": "mlp.hook_pre",
}
STREAM_SITES = ("resid_pre", "resid_post")  # what enters and leaves a block, in every family
Side = Literal["input", "output"]
_See = Callable[[Tensor], None]
_Change = Callable[[Tensor], Tensor]


def hook_name(site: str, layer: int) -> str:
    """Return the TransformerLens name of ``site`` in block ``layer``.

    Raises:
        EntangleError: a site that is none of :data:`SITES`.
    """
    if site not in SITES:
        raise EntangleError(f"site {site!r} is unknown; the sites are {choices(SITES)}")
    return f"blocks.{layer}.{SITES[site]}"


def place(block: nn.Module, site: str) -> tuple[nn.Module, Side] | None:
    """Return the module of ``block`` whose first input or output is ``site``; None if unknown.

    In Gemma, GLM-4, AFMoE and OLMo 2, attention and MLP are each followed by a norm of their own,
    and what they add to the residual stream is what leaves that norm.
    """
    if site in STREAM_SITES:
        return block, "input" if site == "resid_pre" else "output"
    norms = {name for name, _ in block.named_children()}
    # With a norm before the MLP or behind it, the one behind the attention is no longer before it.
    after_attention = norms & {
        "pre_feedforward_layernorm", "pre_mlp_layernorm", "post_feedforward_layernorm",
    }  # fmt: skip
    behind = ["post_attention_layernorm"] if after_attention else []
    before_mlp = ["pre_feedforward_layernorm", "pre_mlp_layernorm"]
    before_mlp += [] if after_attention else ["post_attention_layernorm"]
    paths = {
        "resid_mid": [*before_mlp, "mlp"],
        "attn_out": ["post_self_attn_layernorm", *behind, "self_attn"],
        "mlp_out": ["post_feedforward_layernorm", "post_mlp_layernorm", "mlp"],
        "mlp_pre": ["mlp.gate_proj"],
    }[site]
    for path in paths:
        try:
            return block.get_submodule(path), "input" if site == "resid_mid" else "output"
        except AttributeError:
            continue
    return None


def watch(block: nn.Module, site: str, see: _See) -> Any:
    """Have ``see`` called with what is at ``site`` whenever ``block`` runs; return the handle."""
    where = place(block, site)
    assert where is not None, "the caller has asked for a site that these blocks have"
    module, side = where

    if side == "input":
        return module.register_forward_pre_hook(partial(_see_input, see), with_kwargs=True)
    return module.register_forward_hook(partial(_see_output, see))


def alter(block: nn.Module, site: str, change: _Change) -> Any:
    """Have ``change`` replace what is at ``site`` whenever ``block`` runs; return the handle."""
    where = place(block, site)
    if where is None:
        raise EntangleError(f"{type(block).__name__} has no place {site!r} that could be edited")
    module, side = where

    if side == "input":
        return module.register_forward_pre_hook(partial(_alter_input, change), with_kwargs=True)
    return module.register_forward_hook(partial(_alter_output, change))


def _see_input(see: _See, module: nn.Module, args: Any, options: dict[str, Any]) -> None:
    see(args[0] if args else options["hidden_states"])


def _see_output(see: _See, module: nn.Module, args: Any, output: Any) -> None:
    see(output[0] if isinstance(output, tuple) else output)


def _alter_input(
    change: _Change, module: nn.Module, args: Any, options: dict[str, Any]
) -> tuple[Any, Any]:
    if args:
        return (change(args[0]), *args[1:]), options
    return args, options | {"hidden_states": change(options["hidden_states"])}


def _alter_output(change: _Change, module: nn.Module, args: Any, output: Any) -> Any:
    if isinstance(output, tuple):
        return (change(output[0]), *output[1:])
    return change(output)


@torch.inference_mode()
def agrees(
    model: TransformerBridge, body: nn.Module, blocks: Sequence[nn.Module], site: str
) -> bool:
    """Return whether ``site`` holds in every block what the bridge shows there, on three tokens.

    Families differ in where their norms and multipliers stand, and :func:`place` knows a few.
    """
    names = [hook_name(site, layer) for layer in range(len(blocks))]
    if not all(name in model.hook_dict for name in names):
        return False
    if not all(place(block, site) for block in blocks):
        return False
    found: list[Tensor] = []
    shown: list[Tensor] = []
    ids = torch.tensor([[1, 2, 3]], device=next(body.parameters()).device)
    handles = [watch(block, site, found.append) for block in blocks]
    try:
        body(input_ids=ids, use_cache=False)
    finally:
        _remove(handles)
    with model.hooks(fwd_hooks=[(name, partial(_show, shown)) for name in names]):
        model.forward(ids, attention_mask=torch.ones_like(ids), return_type="logits")
    return len(found) == len(shown) and all(map(_close, found, shown))


def _show(shown: list[Tensor], activation: Tensor, hook: Any) -> None:
    shown.append(activation)


def _remove(handles: Iterable[Any]) -> None:
    for handle in handles:
        handle.remove()


def _close(one: Tensor, other: Tensor) -> bool:
    """Compare by the largest value there is, as far as the precision lets two ways agree."""
    tolerance = torch.finfo(one.dtype).eps ** 0.5 * float(other.abs().max())
    return one.shape == other.shape and float((one - other).abs().max()) <= tolerance
