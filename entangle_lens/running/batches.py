"""Batches: sorted by length, sized by tokens, padded, halved when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from tqdm.auto import tqdm

TOKENS_PER_BATCH = 8192
BAR_DELAY = 0.5  # seconds: what is done sooner needs no bar


def each_batch(
    tokens: Sequence[Sequence[int]],
    run: Callable[[list[int]], None],
    *,
    tokens_per_batch: int = TOKENS_PER_BATCH,
    desc: str | None = None,
) -> None:
    """Call ``run`` with the indices of one batch after the other, longest prompts first.

    A batch holds prompts of about one length, ``tokens_per_batch`` tokens with padding. When
    memory runs out the batch is halved and tried again, down to a single prompt. A progress bar
    is shown where ``desc`` names it.
    """
    with tqdm(
        total=len(tokens),
        desc=desc,
        unit="prompt",
        leave=False,
        disable=desc is None,
        delay=BAR_DELAY,
        mininterval=BAR_DELAY,
    ) as bar:
        for batch in _plan([len(ids) for ids in tokens], tokens_per_batch):
            _run_or_halve(batch, run)
            bar.update(len(batch))


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


def _plan(lengths: Sequence[int], tokens_per_batch: int) -> Iterator[list[int]]:
    batch: list[int] = []
    for index in np.argsort(lengths, kind="stable")[::-1].tolist():
        longest = lengths[batch[0]] if batch else lengths[index]
        if batch and longest * (len(batch) + 1) > tokens_per_batch:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _run_or_halve(batch: list[int], run: Callable[[list[int]], None]) -> None:
    try:
        run(batch)
        return
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise
    torch.cuda.empty_cache()
    half = len(batch) // 2
    _run_or_halve(batch[:half], run)
    _run_or_halve(batch[half:], run)
