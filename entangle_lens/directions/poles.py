"""The two poles of a contrast as the fits compute with them: float64, in few coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entangle_lens.directions.contrast import ContrastResid


@dataclass(frozen=True, eq=False)
class Poles:
    """Residuals of the two poles in coordinates along an orthonormal basis of their own span.

    Every fit here turns with the residuals and lies in their span, so a few hundred coordinates
    say all that ``d_model`` of them would, and a refit costs little. ``scenarios`` numbers each
    pair's scenario 0, 1, ...; ``others`` are further vectors that a method may read; ``width``
    is ``d_model``.
    """

    positive: Float[Tensor, "context pair coord"]
    negative: Float[Tensor, "context pair coord"]
    scenarios: Int[np.ndarray, " pair"]
    others: Float[Tensor, "other coord"]
    width: int

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return self.positive.shape[1]

    @property
    def high(self) -> Float[Tensor, "prompt coord"]:
        """The positive pole, one row per prompt, contexts one after another."""
        return rearrange(self.positive, "context pair coord -> (context pair) coord")

    @property
    def low(self) -> Float[Tensor, "prompt coord"]:
        """The negative pole, in the same order."""
        return rearrange(self.negative, "context pair coord -> (context pair) coord")

    @property
    def difference(self) -> Float[Tensor, " coord"]:
        """The difference of the two class means."""
        return self.high.mean(0) - self.low.mean(0)

    @property
    def middle(self) -> Float[Tensor, " coord"]:
        """The mean of the two class means."""
        return (self.high.mean(0) + self.low.mean(0)) / 2

    def pairs(self, chosen: Int[np.ndarray, " draw"]) -> Poles:
        """Return the ``chosen`` pairs, in all contexts."""
        index = torch.from_numpy(chosen)
        return replace(
            self,
            positive=self.positive[:, index],
            negative=self.negative[:, index],
            scenarios=self.scenarios[chosen],
        )

    def contexts(self, chosen: slice) -> Poles:
        """Return the ``chosen`` contexts of all pairs."""
        return replace(self, positive=self.positive[chosen], negative=self.negative[chosen])

    def swapped(self, swap: Bool[np.ndarray, " pair"]) -> Poles:
        """Return the same pairs with the two poles of some of them exchanged."""
        mask = torch.from_numpy(swap)[:, None]
        return replace(
            self,
            positive=torch.where(mask, self.negative, self.positive),
            negative=torch.where(mask, self.positive, self.negative),
        )


def span_of(
    fit: ContrastResid, others: Float[Tensor, "other d_model"] | None = None
) -> Float[Tensor, "d_model coord"]:
    """Return an orthonormal basis of a space that holds all residuals of ``fit`` and ``others``."""
    width = fit.positive.shape[-1]
    rows = [fit.positive.reshape(-1, width), fit.negative.reshape(-1, width)]
    rows += [] if others is None else [others]
    return orthonormal(torch.cat([each.double() for each in rows]))


def orthonormal(rows: Float[Tensor, "row d_model"]) -> Float[Tensor, "d_model coord"]:
    """Return orthonormal columns that span ``rows``, as many as rows or dimensions at most."""
    basis, _ = torch.linalg.qr(rows.double().T)
    return basis


def scenario_codes(scenario_ids: Sequence[str]) -> Int[np.ndarray, " pair"]:
    """Number the scenarios 0, 1, ... in order of first appearance."""
    numbers = {name: i for i, name in enumerate(dict.fromkeys(scenario_ids))}
    return np.array([numbers[name] for name in scenario_ids])


def poles_along(
    basis: Float[Tensor, "d_model coord"],
    contrast: ContrastResid,
    others: Float[Tensor, "other d_model"] | None = None,
) -> Poles:
    """Return the poles of ``contrast`` in coordinates along ``basis``."""
    empty = torch.zeros(0, basis.shape[1], dtype=torch.float64)
    return Poles(
        contrast.positive.double() @ basis,
        contrast.negative.double() @ basis,
        scenario_codes(contrast.scenario_ids),
        empty if others is None else others.double() @ basis,
        len(basis),
    )


def halves(poles: Poles) -> tuple[Poles, Poles]:
    """Return the pairs of the first, third, ... scenario, and those of the others."""
    odd = poles.scenarios % 2 == 0
    return poles.pairs(np.flatnonzero(odd)), poles.pairs(np.flatnonzero(~odd))


def resamples(poles: Poles, rng: np.random.Generator, n_resamples: int) -> Iterator[Poles]:
    """Yield bootstrap resamples: as many scenarios as there are, drawn with replacement.

    A draw of one scenario only has no spread to fit with and is drawn again.
    """
    members = [np.flatnonzero(poles.scenarios == each) for each in np.unique(poles.scenarios)]
    for _ in range(n_resamples):
        drawn = rng.integers(len(members), size=len(members))
        while len(np.unique(drawn)) == 1:
            drawn = rng.integers(len(members), size=len(members))
        yield poles.pairs(np.concatenate([members[each] for each in drawn]))
