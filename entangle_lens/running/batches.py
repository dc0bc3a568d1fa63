"""Batches: sorted by length, sized by tokens and free memory, halved when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
import torch
from jaxtyping import Int
from torch import Tensor
from tqdm.auto import tqdm

from entangle_lens.errors import EntangleError

BAR_DELAY = 0.5  # seconds: what is done sooner needs no bar
LEAST_TOKENS = 256
# More brings nothing: on a CPU activations leave the caches, on a GPU the matrices are full.
MOST_TOKENS = {"cpu": 4096, "cuda": 65_536}
LOGITS_AT_ONCE = 16_000_000
_SHARE_OF_FREE_MEMORY = 0.25


def token_budget(device: torch.device, bytes_per_token: int) -> int:
    """Return how many tokens, padding included, one batch may hold on ``device`` just now.

    A quarter of the memory that is free, at ``bytes_per_token``, within bounds that depend on
    the kind of device.
    """
    most = MOST_TOKENS.get(device.type, MOST_TOKENS["cpu"])
    fitting = int(_free_memory(device) * _SHARE_OF_FREE_MEMORY / bytes_per_token)
    return min(most, max(LEAST_TOKENS, fitting))


def logit_rows(n_columns: int) -> int:
    """Return how many rows of ``n_columns`` logits each, or columns, are made at once: 64 MB."""
    return max(1, LOGITS_AT_ONCE // n_columns)


def _free_memory(device: torch.device) -> int:
    if device.type != "cuda":
        return int(psutil.virtual_memory().available)
    free, _ = torch.cuda.mem_get_info(device)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(free + cached)


@contextmanager
def progress(total: int, desc: str | None) -> Iterator[Callable[[int], Any]]:
    """Show a bar with prompts a second and the time left where ``desc`` names one.

    Gives the function that moves the bar on.
    """
    with tqdm(
        total=total,
        desc=desc,
        unit="prompt",
        leave=False,
        disable=desc is None,
        delay=BAR_DELAY,
        mininterval=BAR_DELAY,
    ) as bar:
        yield bar.update


def each_batch(
    lengths: Sequence[int],
    run: Callable[[list[int]], None],
    *,
    budget: int,
    among: Iterable[int] | None = None,
    same_length: bool = False,
) -> None:
    """Call ``run`` with the indices of one batch after the other, longest prompts first.

    A batch holds prompts of about one length (of exactly one with ``same_length``), ``budget``
    tokens with padding. When memory runs out the batch is halved and tried again, down to a
    single prompt. ``among`` are the prompts to run, all by default.
    """
    chosen = range(len(lengths)) if among is None else list(among)
    for batch in _plan(lengths, chosen, budget, same_length):
        _run_or_halve(batch, run)


def check_prompts(tokens: Sequence[Sequence[int]]) -> None:
    """Refuse prompts without a token: there is no last token to read."""
    for number, prompt in enumerate(tokens, 1):
        if not len(prompt):
            raise EntangleError(f"prompt {number} of {len(tokens)} has no token; one was expected")


def padded(
    tokens: Sequence[Sequence[int]], *, left: bool, device: torch.device | str = "cpu"
) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch pos"]]:
    """Return token ids and attention mask, padded with id 0 on the left or on the right."""
    longest = max(map(len, tokens))
    ids = torch.zeros(len(tokens), longest, dtype=torch.long)
    mask = torch.zeros(len(tokens), longest, dtype=torch.long)
    for row, prompt in enumerate(tokens):
        start = longest - len(prompt) if left else 0
        ids[row, start : start + len(prompt)] = torch.as_tensor(prompt)
        mask[row, start : start + len(prompt)] = 1
    return ids.to(device), mask.to(device)


def _plan(
    lengths: Sequence[int], chosen: Sequence[int], budget: int, same_length: bool
) -> Iterator[list[int]]:
    order = np.argsort([lengths[index] for index in chosen], kind="stable")[::-1]
    batch: list[int] = []
    for index in (chosen[position] for position in order.tolist()):
        if batch:
            longest = lengths[batch[0]]
            full = longest * (len(batch) + 1) > budget
            if full or (same_length and lengths[index] != longest):
                yield batch
                batch = []
        batch.append(index)
    if batch:
        yield batch


def _run_or_halve(batch: list[int], run: Callable[[list[int]], None]) -> None:
    try:
        run(batch)
        return
    except RuntimeError as error:
        if len(batch) == 1 or not _memory_ran_out(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(batch) // 2
    _run_or_halve(batch[:half], run)
    _run_or_halve(batch[half:], run)


def _memory_ran_out(error: RuntimeError) -> bool:
    on_cpu = "DefaultCPUAllocator" in str(error)
    return on_cpu or isinstance(error, torch.OutOfMemoryError)
