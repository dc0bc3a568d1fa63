"""What an intervention costs: neutral text, minimal pairs, generations, and its own size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from entangle_lens.entanglement.side_effects import kl_each, next_tokens, share_of_minimal_pairs
from entangle_lens.models import Model
from entangle_lens.running import (
    Edit,
    PromptGroup,
    chat_prompts,
    generate_tokens,
    plain_prompts,
    sequence_log_probs,
)
from entangle_lens.stimuli import Stimuli

N_GENERATED, N_PROMPTS, N_GRAM = 24, 16, 3
_NAN = float("nan")


@dataclass(frozen=True)
class Damage:
    """Side effects of one intervention; NaN where the stimuli have no table for it.

    ``kl``: mean KL(clean || edited) of the next token on neutral prompts, in nats.
    ``perplexity``: of the neutral texts. ``minimal_pairs``: share of pairs whose grammatical
    member is likelier. ``repetition``: share of three-token sequences of the generated texts that
    stood before in the same text. ``fluency``: mean log-probability of generated tokens under the
    clean model.
    """

    kl: float
    perplexity: float
    minimal_pairs: float
    repetition: float
    fluency: float


@dataclass(frozen=True, eq=False)
class DamageMeter:
    """Measures damage against the clean model, whose own distributions it keeps."""

    model: Model
    stimuli: Stimuli
    clean: Float[Tensor, "prompt vocab"] | None

    @classmethod
    def of(cls, model: Model, stimuli: Stimuli) -> DamageMeter:
        """Read the clean model."""
        return cls(model, stimuli, next_tokens(model, stimuli))

    def kl(self, edits: Sequence[Edit]) -> float:
        """Return the mean KL on neutral prompts."""
        if self.clean is None:
            return _NAN
        return float(kl_each(self.clean, next_tokens(self.model, self.stimuli, edits)).mean())

    def measure(self, edits: Sequence[Edit], *, kl: float | None = None) -> Damage:
        """Measure everything under ``edits``; none measures the clean model.

        ``kl`` is the mean KL on neutral prompts where it has been measured already.
        """
        minimal = share_of_minimal_pairs(self.model, self.stimuli, edits)
        repetition, fluency = self._generated(edits)
        return Damage(
            self.kl(edits) if kl is None else kl,
            self._perplexity(edits),
            _NAN if minimal is None else minimal,
            repetition,
            fluency,
        )

    def _perplexity(self, edits: Sequence[Edit]) -> float:
        if not self.stimuli.neutral:
            return _NAN
        group = plain_prompts(self.model, self.stimuli.neutral)
        n_tokens = sum(len(tokens) - 1 for tokens in group.tokens)
        total = float(sequence_log_probs(self.model, group, edits=edits).sum())
        return float(np.exp(-total / n_tokens)) if n_tokens else _NAN

    def _generated(self, edits: Sequence[Edit]) -> tuple[float, float]:
        """Return the repetition and the fluency of texts generated after neutral prompts."""
        if not self.stimuli.neutral:
            return _NAN, _NAN
        prompts = chat_prompts(self.model, self.stimuli.neutral[:N_PROMPTS])
        made = generate_tokens(self.model, prompts, max_new_tokens=N_GENERATED, edits=edits)
        whole = PromptGroup(
            tuple((*prompt, *text) for prompt, text in zip(prompts.tokens, made, strict=True))
        )
        gained = sequence_log_probs(self.model, whole) - sequence_log_probs(self.model, prompts)
        n_tokens = sum(map(len, made))
        fluency = float(gained.sum()) / n_tokens if n_tokens else _NAN
        return repetition(made), fluency


def repetition(texts: Sequence[Sequence[int]]) -> float:
    """Return the share of three-token sequences that stood before in the same text."""
    seen_before, total = 0, 0
    for text in texts:
        grams = [tuple(text[first : first + N_GRAM]) for first in range(len(text) - N_GRAM + 1)]
        seen_before += len(grams) - len(set(grams))
        total += len(grams)
    return seen_before / total if total else _NAN
