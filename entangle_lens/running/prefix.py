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
    grower = _Grower(tokens, PASS_COST if pass_cost is None else pass_cost)
    order = sorted(range(len(tokens)), key=lambda index: tuple(tokens[index]))
    branches, rest = grower.grow(order, 0)
    if len(branches) == 1 and not rest:
        return branches[0]
    return Branch((), tuple(sorted(rest)), tuple(branches))


@dataclass(frozen=True)
class _Grower:
    tokens: Sequence[Sequence[int]]
    pass_cost: int

    def grow(self, group: list[int], depth: int, nested: int = 0) -> tuple[list[Branch], list[int]]:
        """Return the branches of a sorted group beyond ``depth``, and who is in none of them."""
        tokens = self.tokens
        most = sum(len(tokens[index]) - 1 - depth for index in group[1:])
        if most < self.pass_cost or nested > _MOST_NESTED:
            return [], group
        shortest = min(len(tokens[index]) for index in group)
        end = _shared_length(tokens[group[0]], tokens[group[-1]], shortest)
        passes = 2 if len(group) < len(tokens) else 1
        earns = (len(group) - 1) * (end - depth) >= self.pass_cost * passes
        branches, rest = [], []
        for _, chosen in groupby(group, key=lambda index: tokens[index][end]):
            part = list(chosen)
            if len(part) == len(group):
                return self._branch(group, depth, end, [], part) if earns else ([], group)
            found, left = self.grow(part, end if earns else depth, nested + 1)
            branches += found
            rest += left
        return self._branch(group, depth, end, branches, rest) if earns else (branches, rest)

    def _branch(
        self, group: list[int], depth: int, end: int, branches: list[Branch], rest: list[int]
    ) -> tuple[list[Branch], list[int]]:
        shared = tuple(self.tokens[group[0]][depth:end])
        return [Branch(shared, tuple(sorted(rest)), tuple(branches))], []


def _shared_length(first: Sequence[int], last: Sequence[int], shortest: int) -> int:
    """Return how many tokens sorted prompts share, given the first and the last of them.

    Less than the ``shortest`` of them holds: each keeps a token of its own.
    """
    end = shortest - 1
    return next((place for place in range(end) if first[place] != last[place]), end)


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
                if kept is None:  # a layer that reads another one's keys and values
                    continue
                one = kept.shape[0] == 1
                more = kept.expand(n_times, *kept.shape[1:]) if one else None
                setattr(layer, name, kept.repeat_interleave(n_times, 0) if more is None else more)
    return copied
