"""What a direction is compared with: random ones that remove as much variance."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions.direction import unit

_SMALLEST_SCALE = 1e-3  # of the largest standard deviation; below it there is only noise
_SMALLEST_EXPONENT, _LARGEST_EXPONENT = -4.0, 1.0


def random_units(
    resid: Float[Tensor, "prompt d_model"],
    matched: Float[Tensor, " d_model"],
    n_directions: int,
    rng: np.random.Generator,
    pool_per_direction: int = 20,
) -> Float[Tensor, "direction d_model"]:
    """Draw random unit vectors, orthogonal to ``matched``, that remove as much variance as it does.

    Candidates are drawn from N(0, (P Sigma P)^g), Sigma the covariance of ``resid`` and P the
    projection off ``matched``; g (1: like the activations, 0: in all directions alike) is found
    by bisection so that the median removed variance u^T Sigma u is that of ``matched``. Those
    nearest to it on a log scale are kept. g stays at or below 1, since beyond it the draws would
    all be the first principal axis: a direction of more variance than the activations have
    elsewhere is matched as nearly as they allow.
    """
    along = unit(matched)
    centred = resid.double() - resid.double().mean(0)
    centred = centred - (centred @ along)[:, None] * along
    _, scale, axes = torch.linalg.svd(centred, full_matrices=False)
    real = scale > _SMALLEST_SCALE * scale.max()
    scale, axes = scale[real], axes[real]
    z = torch.from_numpy(rng.standard_normal((n_directions * pool_per_direction, len(scale))))
    target = removed_variance(resid, along[None]).log()

    def drawn(exponent: float) -> tuple[Float[Tensor, "draw axis"], Float[Tensor, " draw"]]:
        """Return coordinates on the principal axes, and the log of the variance removed."""
        coordinates = unit(z * scale**exponent)
        return coordinates, (coordinates**2 @ scale**2 / (len(resid) - 1)).log()

    low, high = _SMALLEST_EXPONENT, _LARGEST_EXPONENT
    for _ in range(20):
        middle = (low + high) / 2
        _, reached = drawn(middle)
        low, high = (low, middle) if reached.median() > target else (middle, high)
    coordinates, reached = drawn((low + high) / 2)
    nearest = (reached - target).abs().argsort()[:n_directions]
    return coordinates[nearest] @ axes


def removed_variance(
    resid: Float[Tensor, "prompt d_model"], units: Float[Tensor, "direction d_model"]
) -> Float[Tensor, " direction"]:
    """Return u^T Sigma u for each unit vector: the variance that ablating it removes."""
    centred = resid.double() - resid.double().mean(0)
    return (centred @ units.double().T).var(0)
