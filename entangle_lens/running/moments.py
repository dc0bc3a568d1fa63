"""Count, mean and covariance of activations, summed up batch by batch in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of ``count`` activations at each layer, in float64 on the CPU.

    ``covariance`` is the sample covariance (divided by count - 1); None where not asked for.
    """

    count: int
    mean: Float[Tensor, "layer d"]
    covariance: Float[Tensor, "layer d d"] | None


class RunningMoments:
    """Adds batches of activations up without keeping them.

    Batches are merged by the parallel algorithm of Chan, Golub & LeVeque (1983), equation 2.1:
    M <- M_a + M_b + delta delta^T n_a n_b / n with delta = mean_b - mean_a.
    """

    def __init__(self, *, covariance: bool) -> None:
        self._count = 0
        self._mean: Tensor | None = None
        self._scatter: Tensor | None = None
        self._with_scatter = covariance

    def add(self, activation: Float[Tensor, "row layer d"]) -> None:
        """Add a batch, on the device it is on."""
        batch = activation.double()
        n_new = len(batch)
        if n_new == 0:
            return
        mean = batch.mean(0)
        if self._mean is None:
            self._mean = torch.zeros_like(mean)
        delta, total = mean - self._mean, self._count + n_new
        if self._with_scatter:
            self._add_scatter(batch - mean, delta, self._count * n_new / total)
        self._mean = self._mean + delta * (n_new / total)
        self._count = total

    def result(self) -> Moments:
        """Return the moments of everything added so far."""
        if self._mean is None:
            raise ValueError("no activation was added")
        covariance = None
        if self._scatter is not None:
            covariance = (self._scatter / max(1, self._count - 1)).cpu()
        return Moments(self._count, self._mean.cpu(), covariance)

    def _add_scatter(
        self,
        centred: Float[Tensor, "row layer d"],
        delta: Float[Tensor, "layer d"],
        weight: float,
    ) -> None:
        by_layer = centred.transpose(0, 1)
        own = by_layer.transpose(1, 2) @ by_layer
        between = weight * delta[:, :, None] * delta[:, None, :]
        self._scatter = own + between if self._scatter is None else self._scatter + own + between
