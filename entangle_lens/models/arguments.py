"""What a caller may ask for: on which device, in which dtype."""

from __future__ import annotations

import torch

from entangle_lens.errors import EntangleError, choices
from entangle_lens.model_names import DTYPE_NAMES

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPE_NAMES}


def device_of(device: str | torch.device) -> str:
    """Return the device to load on, with ``auto`` decided; ``balanced`` stays."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "balanced":
        if not torch.cuda.is_available():
            raise EntangleError("device 'balanced' spreads layers over GPUs, and torch sees none")
        return "balanced"
    try:
        place = torch.device(device)
        usable = place.type != "meta"  # a device that holds no numbers
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError):
        usable = False
    if not usable:
        seen = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise EntangleError(
            f"device {str(device)!r} cannot be used here; the choices are "
            f"{choices(['auto', 'cpu', *seen])}"
        )
    return str(place)


def dtype_of(dtype: str | torch.dtype, place: str) -> torch.dtype:
    """Return the dtype to load in, with ``auto`` decided by the device."""
    if dtype == "auto":
        return torch.float32 if place == "cpu" else torch.bfloat16
    if isinstance(dtype, torch.dtype) and dtype in DTYPES.values():
        return dtype
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise EntangleError(
            f"dtype {str(dtype)!r} is unknown; the choices are auto, {choices(DTYPES)}"
        )
    return DTYPES[dtype]
