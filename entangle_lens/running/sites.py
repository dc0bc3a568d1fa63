"""Where the hook points of TransformerLens lie in a bare decoder block."""

from __future__ import annotations

from typing import Literal

from torch import nn

from entangle_lens.errors import EntangleError, choices

SITES = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "mlp_pre": "mlp.hook_pre",
}
Side = Literal["input", "output"]


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

    In Gemma 2 and 3, attention and MLP are each followed by a norm of their own, and what they
    add to the residual stream is what leaves that norm.
    """
    if site in ("resid_pre", "resid_post"):
        return block, "input" if site == "resid_pre" else "output"
    norms_after = hasattr(block, "pre_feedforward_layernorm")
    before_mlp = "pre_feedforward_layernorm" if norms_after else "post_attention_layernorm"
    path, side = {
        "resid_mid": (before_mlp, "input"),
        "attn_out": ("post_attention_layernorm" if norms_after else "self_attn", "output"),
        "mlp_out": ("post_feedforward_layernorm" if norms_after else "mlp", "output"),
        "mlp_pre": ("mlp.gate_proj", "output"),
    }[site]
    try:
        return block.get_submodule(path), "input" if side == "input" else "output"
    except AttributeError:
        return None
