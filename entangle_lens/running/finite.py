"""Numbers that are none: found at the first pass that makes them, and said in one sentence."""

from __future__ import annotations

from jaxtyping import Shaped
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from entangle_lens.errors import EntangleError
from entangle_lens.models import info


class NotFiniteError(EntangleError):
    """Say for how many prompts a model gives no finite numbers."""

    def __init__(self, message: str, n_prompts: int) -> None:
        super().__init__(message)
        self.n_prompts = n_prompts


def check_finite(
    model: TransformerBridge, *readings: Shaped[Tensor, "prompt ..."], masked: bool = False
) -> None:
    """Refuse readings, one row per prompt, that hold NaN or infinite numbers.

    With ``masked`` a log-probability may be minus infinity: some models exclude tokens.
    """
    bad = {
        row
        for each in readings
        for row in (~_sound(each, masked)).flatten(1).any(1).nonzero()[:, 0].tolist()
    }
    if not bad:
        return
    about, n_prompts = info(model), len(readings[0])
    cause = "its weights may be broken"
    if about.dtype == "float16":
        cause = "float16 may be too narrow for it, so load it in bfloat16 or float32"
    raise NotFiniteError(
        f"the logits or activations of model {about.name!r} are not finite for {len(bad)} of "
        f"{n_prompts} prompts: {cause}",
        len(bad),
    )


def _sound(values: Tensor, masked: bool) -> Tensor:
    return ~values.isnan() & (values < float("inf")) if masked else values.isfinite()
