"""How good a fit is: held-out separation, split halves, the bootstrap cone and selectivity."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions.direction import Quality, unit
from entangle_lens.directions.methods import Method
from entangle_lens.directions.poles import Poles, halves, resamples
from entangle_lens.statistics import auc, d_prime

N_SHUFFLES = 10

Span = Callable[[Poles], Float[Tensor, "k coord"]]


def direction_quality(
    method: Method, fit: Poles, select: Poles, rng: np.random.Generator, n_resamples: int
) -> Quality:
    """Measure the direction that ``method`` fits on ``fit``, judged on ``select``."""
    own = unit(method(fit))
    odd, even = (unit(method(half)) for half in halves(fit))
    cosines = [float(own @ unit(method(drawn))) for drawn in resamples(fit, rng, n_resamples)]
    return _judged(method, fit, select, rng, float(odd @ even), cone_degrees(cosines))


def subspace_quality(
    span: Span, fit: Poles, select: Poles, rng: np.random.Generator, n_resamples: int
) -> Quality:
    """Measure the subspace that ``span`` fits on ``fit``, judged on ``select``.

    Prompts are told apart by their projection on the part of the difference of means that lies
    in the subspace. Where a direction has a cosine, a subspace has :func:`overlap`, and the cone
    is the angle whose squared cosine that is.
    """

    def inside(poles: Poles) -> Float[Tensor, " coord"]:
        basis = span(poles)
        return poles.difference @ basis.T @ basis

    own = span(fit)
    odd, even = (span(half) for half in halves(fit))
    cosines = [overlap(own, span(drawn)) ** 0.5 for drawn in resamples(fit, rng, n_resamples)]
    return _judged(inside, fit, select, rng, overlap(odd, even), cone_degrees(cosines))


def overlap(one: Float[Tensor, "k coord"], two: Float[Tensor, "j coord"]) -> float:
    """Return the mean squared cosine of the principal angles of two orthonormal bases.

    1 where the row spaces are the same, 0 where they are orthogonal.
    """
    return float((one @ two.T).square().sum() / max(len(one), len(two), 1))


def cone_degrees(cosines: Sequence[float]) -> float:
    """Return the angle within which 95 % of refits lie, in degrees; NaN where there are none."""
    if not cosines:
        return float("nan")
    return float(np.degrees(np.quantile(np.arccos(np.clip(cosines, -1, 1)), 0.95)))


def accuracy(
    vector: Float[Tensor, " coord"], middle: Float[Tensor, " coord"], poles: Poles
) -> float:
    """Return how often the side of ``middle`` names the pole, both poles counting the same."""
    high, low = _projections(vector, middle, poles)
    return float(((high > 0).mean() + (low < 0).mean()) / 2)


def control_accuracy(method: Method, fit: Poles, rng: np.random.Generator) -> float:
    """Return how well ``method`` learns labels that mean nothing, over ten random labellings.

    The control task of Hewitt & Liang (arXiv 1909.03368): every pair gets its poles dealt at
    random, the same in all wordings. It is taught in every other wording and asked in the rest;
    new pairs would tell nothing, since a random label is known only where it was taught. With
    one wording it is asked where it was taught, which is the harsher control.
    """
    found = []
    for _ in range(N_SHUFFLES):
        dealt = fit.swapped(rng.random(fit.n_pairs) < 0.5)
        taught = asked = dealt
        if len(fit.positive) > 1:
            taught, asked = dealt.contexts(slice(0, None, 2)), dealt.contexts(slice(1, None, 2))
        found.append(accuracy(method(taught), taught.middle, asked))
    return float(np.mean(found))


def _judged(
    method: Method,
    fit: Poles,
    select: Poles,
    rng: np.random.Generator,
    split_half_cosine: float,
    cone_degrees: float,
) -> Quality:
    vector, middle = method(fit), fit.middle
    high, low = _projections(vector, middle, select)
    right = accuracy(vector, middle, select)
    return Quality(
        float(auc(high, low)),
        float(d_prime(high, low)),
        split_half_cosine,
        cone_degrees,
        right,
        right - control_accuracy(method, fit, rng),
    )


def _projections(
    vector: Float[Tensor, " coord"], middle: Float[Tensor, " coord"], poles: Poles
) -> tuple[Float[np.ndarray, " high"], Float[np.ndarray, " low"]]:
    along = unit(vector)
    return ((poles.high - middle) @ along).numpy(), ((poles.low - middle) @ along).numpy()
