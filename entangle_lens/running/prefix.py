"""What prompts share at their beginning is run once; each continues from its keys and values."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from transformers import DynamicCache

PASS_COST = 64  # tokens that one more pass over the model costs, about
_MOST_NESTED = 50

State = TypeVar("State")


@dataclass(frozen=True)
class Branch:
    """Prompts that go on with the same ``tokens``: after them some end here, others branch again.

    ``prompts`` are the indices of those that continue each on its own.
    """

    tokens: tuple[int, ...]
    prompts: tuple[int, ...]
    branches: tuple[Branch, ...]


def prefix_tree(tokens: Sequence[Sequence[int]], pass_cost: int | None = None) -> Branch:
    """Arrange prompts by what they share at their beginning; every prompt keeps a token of its own.

    A shared stretch becomes a branch where running it once saves more tokens than its passes
    cost (``pass_cost`` tokens each, one for the whole group, two for a part of it).
    """
    cost = PASS_COST if pass_cost is None else pass_cost
    order = sorted(range(len(tokens)), key=lambda index: tuple(tokens[index]))
    branches, rest = _grow(tokens, order, 0, cost)
    if len(branches) == 1 and not rest:
        return branches[0]
    return Branch((), tuple(sorted(rest)), tuple(branches))


def _grow(
    tokens: Sequence[Sequence[int]], group: list[int], depth: int, cost: int, nested: int = 0
) -> tuple[list[Branch], list[int]]:
    """Return the branches of ``group`` beyond ``depth``, and the prompts that are in none."""
    most = sum(len(tokens[index]) - 1 - depth for index in group[1:])
    if most < cost or nested > _MOST_NESTED:
        return [], group
    end = _shared_length([tokens[group[0]], tokens[group[-1]]], min(len(tokens[i]) for i in group))
    part = len(group) < len(tokens)
    earns = (len(group) - 1) * (end - depth) >= cost * (1 + part)
    branches, rest = [], []
    for _, chosen in groupby(group, key=lambda index: tokens[index][end]):
        found, left = _grow_part(
            tokens, list(chosen), len(group), end if earns else depth, cost, nested
        )
        branches += found
        rest += left
    if earns:
        start = tuple(tokens[group[0]][depth:end])
        return [Branch(start, tuple(sorted(rest)), tuple(branches))], []
    return branches, rest


def _grow_part(
    tokens: Sequence[Sequence[int]],
    group: list[int],
    of: int,
    depth: int,
    cost: int,
    nested: int,
) -> tuple[list[Branch], list[int]]:
    if len(group) == of:
        return [], group
    return _grow(tokens, group, depth, cost, nested + 1)


def _shared_length(tokens: Sequence[Sequence[int]], shortest: int) -> int:
    """Return how many first tokens the first and the last of sorted prompts share."""
    first, last = tokens
    end = shortest - 1
    return next((n for n in range(end) if first[n] != last[n]), end)


def each_beginning(
    branch: Branch, begin: Callable[[State, tuple[int, ...]], State], state: State
) -> Iterator[tuple[State, tuple[int, ...]]]:
    """Walk the tree depth first: run each shared stretch once, give state and prompts after it."""
    here = begin(state, branch.tokens) if branch.tokens else state
    if branch.prompts:
        yield here, branch.prompts
    for each in branch.branches:
        yield from each_beginning(each, begin, here)


def distinct_tokens(branch: Branch, tokens: Sequence[Sequence[int]], depth: int = 0) -> int:
    """Return how many tokens are run when every shared stretch is run once."""
    end = depth + len(branch.tokens)
    own = sum(len(tokens[index]) - end for index in branch.prompts)
    below = sum(distinct_tokens(each, tokens, end) for each in branch.branches)
    return len(branch.tokens) + own + below


def repeated(cache: DynamicCache, n_times: int = 1) -> DynamicCache:
    """Return a copy of ``cache`` with every row standing ``n_times`` in a row."""
    copied = copy.copy(cache)
    copied.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in copied.layers:
        if n_times > 1 and getattr(layer, "is_initialized", False):
            for name in ("keys", "values"):
                kept = getattr(layer, name)
                one = kept.shape[0] == 1
                more = kept.expand(n_times, *kept.shape[1:]) if one else None
                setattr(layer, name, kept.repeat_interleave(n_times, 0) if more is None else more)
    return copied
