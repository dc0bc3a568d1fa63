"""Tokens a second, and on a GPU which share of its matrix rate that is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from inputs import Shape


def rates(
    shape: Shape, n_tokens: int, contenders: Mapping[str, Any], device: str
) -> dict[str, dict[str, float]]:
    """Return prompt tokens a second, and on a GPU their share of the bf16 matrix rate.

    Two floating-point operations a weight and token, the embedding left out: what one pass over
    every prompt needs. Shared beginnings that are run once can therefore bring it above one.
    """
    peak = matrix_rate(device) if device.startswith("cuda") else None
    found = {}
    for name, each in contenders.items():
        speed = n_tokens / each["median_s"]
        found[name] = {"tokens_per_s": round(speed)}
        if peak:
            found[name]["share_of_matrix_rate"] = round(2 * block_weights(shape) * speed / peak, 3)
    return found


def block_weights(shape: Shape) -> int:
    """Count the weights of the blocks' matrices."""
    head = shape.d_model // shape.n_heads
    attention = 2 * shape.d_model * head * (shape.n_heads + shape.n_kv_heads)
    return shape.n_layers * (attention + 3 * shape.d_model * shape.d_mlp)


def matrix_rate(device: str, size: int = 8192, times: int = 20) -> float:
    """Measure the floating-point operations a second of a large bf16 matrix product."""
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(times):
        a @ a
    torch.cuda.synchronize()
    return 2 * size**3 * times / (time.perf_counter() - started)
