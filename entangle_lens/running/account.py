"""What running cost: prompts asked, the tokens they have, and the tokens that were really run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Account:
    """A running sum over everything that was run while it was open.

    ``prompt_tokens`` is what one forward pass a prompt (and an intervention, and a beginning of
    an option of several tokens) would run; ``tokens_run`` counts each token by the share of the
    model's blocks that it was sent through, padding left out. ``seconds`` is how long it was open.
    """

    prompts: int = 0
    prompt_tokens: int = 0
    tokens_run: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"ran {self.prompts:,} prompts of {self.prompt_tokens:,} tokens by running "
            f"{self.tokens_run:,.0f} ({self.share_run:.0%}), in {self.seconds:.0f} s"
        )

    @property
    def share_run(self) -> float:
        """Tokens run as a share of prompt tokens; NaN where nothing was asked."""
        return self.tokens_run / self.prompt_tokens if self.prompt_tokens else float("nan")


_OPEN: ContextVar[tuple[Account, ...]] = ContextVar("open_accounts", default=())


@contextmanager
def counted() -> Iterator[Account]:
    """Count what is run inside the ``with`` block."""
    account = Account()
    token = _OPEN.set((*_OPEN.get(), account))
    started = time.perf_counter()
    try:
        yield account
    finally:
        account.seconds = time.perf_counter() - started
        _OPEN.reset(token)


def asked(tokens: Sequence[Sequence[int]], times: int = 1) -> None:
    """Count prompts that were asked, each ``times`` times."""
    for account in _OPEN.get():
        account.prompts += len(tokens) * times
        account.prompt_tokens += sum(map(len, tokens)) * times


def ran(n_tokens: int, share_of_blocks: float = 1.0) -> None:
    """Count tokens that went through a share of the blocks."""
    for account in _OPEN.get():
        account.tokens_run += n_tokens * share_of_blocks
