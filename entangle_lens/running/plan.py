"""What running would cost, before it is run: prompts, tokens, and time from a short calibration."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from transformer_lens.model_bridge import TransformerBridge

from entangle_lens.running import account
from entangle_lens.running.options import OptionTree
from entangle_lens.running.prefix import distinct_tokens, prefix_tree
from entangle_lens.running.prompts import PromptGroup
from entangle_lens.running.scoring import read_prompts

_ENOUGH_SECONDS = 0.25


@dataclass(frozen=True)
class Plan:
    """What some running will cost; the fields are those of :class:`Account`."""

    prompts: int = 0
    prompt_tokens: int = 0
    tokens_run: float = 0.0

    def __add__(self, other: Plan) -> Plan:
        return Plan(
            self.prompts + other.prompts,
            self.prompt_tokens + other.prompt_tokens,
            self.tokens_run + other.tokens_run,
        )

    @property
    def share_run(self) -> float:
        """Tokens run as a share of prompt tokens; NaN where nothing is asked."""
        return self.tokens_run / self.prompt_tokens if self.prompt_tokens else float("nan")


def plan_reading(group: PromptGroup, *, share_beginnings: bool = True) -> Plan:
    """Return what one reading of ``group`` costs, every shared beginning being run once."""
    contexts = OptionTree(group.options).contexts or [()]
    prompts, tokens = len(group.tokens), sum(map(len, group.tokens))
    own = distinct_tokens(prefix_tree(group.tokens), group.tokens) if share_beginnings else tokens
    after = prompts * sum(map(len, contexts))
    return Plan(prompts * len(contexts), tokens * len(contexts), float(own + after))


def plan_sweep(once: Plan, first_layers: Sequence[int], n_layers: int) -> Plan:
    """Return what a sweep of ablations costs, given the first layer that each of them edits.

    ``once`` is the plan of one reading. The clean pass is run once; an ablation runs the blocks
    above its first layer.
    """
    shares = sum((n_layers - 1 - layer) / n_layers for layer in first_layers)
    return Plan(
        once.prompts * len(first_layers),
        once.prompt_tokens * len(first_layers),
        once.tokens_run * (1 + shares),
    )


def tokens_per_second(model: TransformerBridge, group: PromptGroup) -> float:
    """Measure how many tokens a second ``model`` runs, on as much of ``group`` as takes a moment.

    Twice as many prompts are read each time, until a reading takes a quarter of a second or the
    group is used up. Each is read once before it is timed: what a device does at the first sight
    of a size (on a GPU, seconds) is no part of its speed.
    """
    n_prompts = min(4, len(group.tokens))
    while True:
        read_prompts(model, _first(group, n_prompts))
        started = time.perf_counter()
        with account.counted() as counted:
            read_prompts(model, _first(group, n_prompts))
        seconds = time.perf_counter() - started
        if seconds > _ENOUGH_SECONDS or n_prompts == len(group.tokens):
            return counted.tokens_run / seconds
        n_prompts = min(2 * n_prompts, len(group.tokens))


def _first(group: PromptGroup, n_prompts: int) -> PromptGroup:
    return replace(group, tokens=group.tokens[:n_prompts], spans=())
