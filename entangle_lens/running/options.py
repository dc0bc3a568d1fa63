"""Probabilities of rating options, whole continuations included."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Path = tuple[int, ...]
_NOTHING = math.log(torch.finfo(torch.float32).tiny)


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
        longer one: P("1") - P("10"). With ``renormalised`` the options add up to one. All of it
        is added and subtracted as logarithms in float64: where a model hardly ever answers with
        an option, P itself is too small for a number, and the proportions of the options are not.
        """
        paths: dict[Path, Tensor] = {}
        for context in self.contexts:
            log_next = next_log_probs[context].double()
            for column, token in enumerate(self.next_tokens(context)):
                step = log_next[:, column]
                paths[(*context, token)] = paths[context] + step if context else step
        options = [
            _less(paths[option], [paths[longer] for longer in self._next_longer(option)])
            for option in self.options
        ]
        log_probs = torch.stack(options, dim=1)
        return (log_probs.log_softmax(-1) if renormalised else log_probs).float()

    def _next_longer(self, option: Path) -> Sequence[Path]:
        """Return the options that continue ``option`` with no other option in between."""
        longer = [o for o in self.options if len(o) > len(option) and o[: len(option)] == option]
        return [o for o in longer if not any(p != o and o[: len(p)] == p for p in longer)]


def _less(
    whole: Float[Tensor, " batch"], parts: Sequence[Float[Tensor, " batch"]]
) -> Float[Tensor, " batch"]:
    """Return log(P(whole) - sum of P(parts)), finite where nothing is left of the whole.

    Rounding can make the parts add up to more than the whole.
    """
    if not parts:
        return whole
    share = (torch.logsumexp(torch.stack(list(parts)), dim=0) - whole).exp()
    return whole + torch.where(share < 1, torch.log1p(-share), _NOTHING)
