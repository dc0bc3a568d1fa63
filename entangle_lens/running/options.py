"""Probabilities of rating options, whole continuations included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Path = tuple[int, ...]


@dataclass(frozen=True)
class OptionTree:
    """The options of a scale as a tree of tokens.

    ``contexts`` are the inner nodes: what must stand after the prompt before the next token is
    read. With one token an option there is one context, the empty one.
    """

    options: tuple[Path, ...]

    @property
    def contexts(self) -> list[Path]:
        """Every proper beginning of an option, shortest first."""
        beginnings = {option[:n] for option in self.options for n in range(len(option))}
        return sorted(beginnings, key=lambda path: (len(path), path))

    def next_tokens(self, context: Path) -> list[int]:
        """Return the tokens that continue ``context`` towards some option, in ascending order."""
        n = len(context)
        follow = {option[n] for option in self.options if option[:n] == context and len(option) > n}
        return sorted(follow)

    def log_probs(
        self,
        next_log_probs: dict[Path, Float[Tensor, "batch next"]],
        *,
        renormalised: bool = False,
    ) -> Float[Tensor, "batch option"]:
        """Return log P(option) from the log-probabilities of the next tokens of each context.

        An option that begins a longer one ("1" and "10") counts only what does not go on to the
        longer one: P("1") - P("10"). With ``renormalised`` the options add up to one.
        """
        path_probs: dict[Path, Tensor] = {}
        for context in self.contexts:
            log_next = next_log_probs[context].float().exp()
            for column, token in enumerate(self.next_tokens(context)):
                before = path_probs.get(context)
                step = log_next[:, column]
                path_probs[(*context, token)] = step if before is None else before * step
        probs = [
            path_probs[option] - sum(path_probs[longer] for longer in self._next_longer(option))
            for option in self.options
        ]
        log_probs = torch.stack(probs, dim=1).clamp_min(torch.finfo(torch.float32).tiny).log()
        return log_probs.log_softmax(-1) if renormalised else log_probs

    def _next_longer(self, option: Path) -> Sequence[Path]:
        """Return the options that continue ``option`` with no other option in between."""
        longer = [o for o in self.options if len(o) > len(option) and o[: len(option)] == option]
        return [o for o in longer if not any(p != o and o[: len(p)] == p for p in longer)]
