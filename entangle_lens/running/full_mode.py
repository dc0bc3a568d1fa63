"""Whether editing all that is known to be written to the residual stream removes a direction.

Families differ in what their blocks write: a second branch, inputs of every layer, norms behind a
matrix. So a model is tried once, on a few tokens, before an edit of it is trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel

from entangle_lens.errors import EntangleError
from entangle_lens.running import bridge
from entangle_lens.running.edits import Ablation, Edit, PointEdit
from entangle_lens.running.generation import edited
from entangle_lens.running.sites import hook_name, place, watch

FULL_MODE = ("resid_pre", "attn_out", "mlp_out")
_LEFT, _LEFT_ROUNDED = 1e-3, 0.05  # in float32, and where activations are rounded to 16 bits
_N_TOKENS = 8
_KNOWN = "_entangle_full_mode"


@dataclass(frozen=True)
class Elsewhere:
    """An edit made at other sites than its own."""

    inner: PointEdit
    layers: tuple[int, ...]
    sites: tuple[str, ...]

    def edit(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return the edited activations."""
        return self.inner.edit(resid)


def on_all_that_is_written(edit: PointEdit, n_layers: int) -> tuple[Edit, Edit]:
    """Return ``edit`` on the embedding and on what each attention and MLP writes, once each."""
    written = Elsewhere(edit, tuple(range(n_layers)), ("attn_out", "mlp_out"))
    return Elsewhere(edit, (0,), ("resid_pre",)), written


@torch.inference_mode()
def check_full_mode(model: TransformerBridge) -> None:
    """Refuse the full mode where ablating a direction by it leaves some of it in the stream.

    A model is tried once. Hooks of others that are on it just now are not held against it.

    Raises:
        EntangleError: a model without one of the hook points, or with something left.
    """
    n_layers = int(model.cfg.n_layers)
    bridge.check_hooks(
        model, [hook_name(site, layer) for layer in range(n_layers) for site in FULL_MODE]
    )
    known = model.__dict__.get(_KNOWN)
    if known is None:
        known = _left(partial(_through_bridge, model), n_layers, int(model.cfg.d_model))
        if known.share > known.allowed and any(point.fwd_hooks for point in model.hook_points()):
            return
        model.__dict__[_KNOWN] = known
    known.check(str(model.cfg.architecture))


@torch.inference_mode()
def check_full_mode_plainly(hf_model: PreTrainedModel, blocks: Sequence[nn.Module]) -> None:
    """Refuse what :func:`check_full_mode` refuses, on a plain transformers model.

    Raises:
        EntangleError: blocks in which a place is not found, or with something left.
    """
    known = hf_model.__dict__.get(_KNOWN)
    if known is None:
        for block in blocks:
            for site in FULL_MODE:
                if place(block, site) is None:
                    raise EntangleError(
                        f"{type(block).__name__} has no place {site!r} that could be edited"
                    )
        width = int(hf_model.config.get_text_config().hidden_size)
        known = _left(partial(_through_blocks, hf_model, blocks), len(blocks), width)
        hf_model.__dict__[_KNOWN] = known
    known.check(type(hf_model).__name__)


@dataclass(frozen=True)
class _Left:
    """The largest share of a direction that is left after a block, and what rounding leaves."""

    layer: int
    share: float
    allowed: float

    def check(self, kind: str) -> None:
        if not self.share <= self.allowed:
            raise EntangleError(
                f"full mode does not remove a direction from a {kind}: after layer {self.layer}, "
                f"{self.share:.0%} of it is left, since these blocks write to the residual stream "
                "in more ways than their attention and MLP; ablate block outputs instead"
            )


_Run = Callable[[Sequence[Edit]], list[Tensor]]


def _left(run: _Run, n_layers: int, d_model: int) -> _Left:
    """Ablate one direction, drawn at random, on a few tokens; ``run`` gives residuals by layer."""
    drawn = torch.randn(d_model, generator=torch.Generator().manual_seed(0))
    unit = nn.functional.normalize(drawn, dim=0)
    edits = on_all_that_is_written(Ablation(unit, tuple(range(n_layers))), n_layers)
    clean, ablated = run(()), run(edits)
    shares = []
    for before, after in zip(clean, ablated, strict=True):
        r = unit.to(before.device)
        held = (before.float() @ r).norm()
        usual = before.float().norm() / d_model**0.5  # where this direction happens to hold little
        shares.append(float((after.float() @ r).norm() / torch.maximum(held, usual)))
    worst = int(torch.tensor(shares).nan_to_num(torch.inf).argmax())
    rounded = clean[0].dtype != torch.float32
    return _Left(worst, shares[worst], _LEFT_ROUNDED if rounded else _LEFT)


def _through_bridge(model: TransformerBridge, edits: Sequence[Edit]) -> list[Tensor]:
    ids = _few_tokens(int(model.cfg.d_vocab), bridge.input_device(model))
    kept: list[Tensor] = []

    def keep(resid: Tensor, hook: Any) -> None:
        kept.append(resid)

    layers = range(int(model.cfg.n_layers))
    hooks = bridge.edit_hooks(edits) + [(bridge.resid_post(layer), keep) for layer in layers]
    with model.hooks(fwd_hooks=hooks):
        bridge.forward(model, ids, torch.ones_like(ids))
    return kept


def _through_blocks(
    hf_model: PreTrainedModel, blocks: Sequence[nn.Module], edits: Sequence[Edit]
) -> list[Tensor]:
    n_known = int(hf_model.config.get_text_config().vocab_size)
    ids = _few_tokens(n_known, next(hf_model.parameters()).device)
    kept: list[Tensor] = []
    handles: list[Any] = []
    try:
        handles += [watch(block, "resid_post", kept.append) for block in blocks]
        with edited(hf_model, blocks, edits):
            hf_model(input_ids=ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return kept


def _few_tokens(n_known: int, device: torch.device) -> Tensor:
    return torch.arange(1, min(_N_TOKENS + 1, n_known), device=device)[None]
