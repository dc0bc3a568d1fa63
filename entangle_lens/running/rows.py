"""Which token of each row is what, for edits that depend on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from entangle_lens.errors import EntangleError


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one pass over a batch of prompts, or over what was generated after them.

    ``real`` marks tokens that are no padding. ``last`` is the place of each prompt's last token:
    what stands after it was generated. It is None in a pass over generated tokens only.
    ``memory`` lives from the pass over the prompts to the last generated token: edits keep there
    what they read of a prompt.
    """

    real: Bool[Tensor, "batch pos"]
    last: Int[Tensor, " batch"] | None
    memory: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def of_prompts(cls, mask: Tensor, n_after: int = 0) -> Rows:
        """Describe prompts by their attention mask, padded on either side.

        The last ``n_after`` tokens of each row come after its prompt.
        """
        real = mask.bool()
        places = torch.arange(real.shape[1], device=real.device)
        return cls(real, (places * real).argmax(1) - n_after)

    @property
    def generated(self) -> Bool[Tensor, "batch pos"]:
        """Which tokens come after a prompt."""
        if self.last is None:
            return self.real
        return torch.arange(self.real.shape[1], device=self.real.device) > self.last[:, None]

    def at_last(self, resid: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch d_model"]:
        """Return the activations at each prompt's last token, in the pass that holds it."""
        assert self.last is not None, "the caller asks in a pass over prompts"
        return resid[torch.arange(len(resid), device=resid.device), self.last]

    def remembered(self, key: int) -> Tensor:
        """Return what an edit kept of the prompts.

        Raises:
            EntangleError: text goes on from keys and values of prompts that it never saw.
        """
        if key not in self.memory:
            raise EntangleError(
                "an intervention reads the prompt, and the model went on from keys and values made "
                "outside it; run the prompt inside the 'with' block too"
            )
        return self.memory[key]

    def following(self, n_tokens: int) -> Rows:
        """Describe ``n_tokens`` more tokens of every row, none of them padding."""
        real = self.real.new_ones(len(self.real), n_tokens)
        return Rows(real, None, self.memory)


class RowsReader:
    """Keeps :class:`Rows` up to date while a model is called by others, ``generate`` say."""

    def __init__(self) -> None:
        self.rows: Rows | None = None

    @contextmanager
    def watching(self, hf_model: nn.Module) -> Iterator[RowsReader]:
        """Read the ids and the mask of every forward pass inside the ``with`` block."""
        handle = hf_model.register_forward_pre_hook(self._read, with_kwargs=True)
        try:
            yield self
        finally:
            handle.remove()

    def _read(self, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        ids = args[0] if args else options.get("input_ids")
        if ids is None:
            ids = options["inputs_embeds"][..., 0]
        cache = options.get("past_key_values")
        n_before = 0 if cache is None else int(cache.get_seq_length())
        if n_before and self.rows is not None:
            self.rows = self.rows.following(ids.shape[1])
            return
        mask = options.get("attention_mask")
        if mask is None or mask.ndim != 2 or mask.shape[1] != ids.shape[1]:
            mask = torch.ones_like(ids)
        self.rows = Rows.of_prompts(mask)
