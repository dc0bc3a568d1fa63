"""What prompts share at their beginning is run once; each continues from its keys and values."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from transformers import DynamicCache

MIN_SHARED = 4


def shared_length(tokens: Sequence[Sequence[int]]) -> int:
    """Return how many first tokens all prompts share, leaving each at least one of its own.

    Zero where there is too little to share to be worth a pass of its own.
    """
    if len(tokens) < 2:
        return 0
    shortest = min(map(len, tokens)) - 1
    first = tokens[0]
    n_shared = next(
        (n for n in range(shortest) if any(prompt[n] != first[n] for prompt in tokens)), shortest
    )
    return n_shared if n_shared >= MIN_SHARED else 0


def repeated(cache: DynamicCache, n_times: int) -> DynamicCache:
    """Return a copy of ``cache`` with every row standing ``n_times`` in a row."""
    copied = copy.copy(cache)
    copied.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in copied.layers:
        if getattr(layer, "is_initialized", False):
            for name in ("keys", "values"):
                setattr(layer, name, getattr(layer, name).repeat_interleave(n_times, dim=0))
    return copied
