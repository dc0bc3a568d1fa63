"""Which organisms can be made: families of models, leaks and seeds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from entangle_lens.errors import EntangleError, choices
from entangle_lens.organisms.world import Leak

FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2": {"model_type": "qwen2"},
    "qwen3": {"model_type": "qwen3"},
    "gemma2": {"model_type": "gemma2", "sliding_window": 64, "query_pre_attn_scalar": 32},
    "gemma3": {"model_type": "gemma3_text", "sliding_window": 64, "query_pre_attn_scalar": 32},
    "mistral": {"model_type": "mistral", "sliding_window": None},
}
_LARGEST_LEAK = 1.5
_LARGEST_SEED = 2**63 - 1  # torch takes no larger one


def check_family(family: str) -> None:
    """Refuse a family that is not known.

    Raises:
        EntangleError: as said above.
    """
    if family not in FAMILIES:
        raise EntangleError(f"family {family!r} is unknown; the families are {choices(FAMILIES)}")


def check_organism(family: str, leak: Leak, seed: int) -> None:
    """Refuse what cannot be trained, before training.

    Raises:
        EntangleError: an unknown family, a leak outside 0 to 1.5, a seed out of range.
    """
    check_family(family)
    for name, size in asdict(leak).items():
        if not 0 <= size <= _LARGEST_LEAK:
            raise EntangleError(f"{name} leak {size} is outside 0 to {_LARGEST_LEAK}")
    if not 0 <= seed <= _LARGEST_SEED:
        raise EntangleError(f"seed {seed} was given; 0 to {_LARGEST_SEED} was expected")
