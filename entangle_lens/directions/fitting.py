"""From contrast pairs to a direction or a probe, by any of the methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions.contrast import ContrastResid, check_held_out
from entangle_lens.directions.direction import Direction
from entangle_lens.directions.logistic import logistic_regression
from entangle_lens.directions.methods import METHODS, method_named
from entangle_lens.directions.poles import poles_along, span_of
from entangle_lens.directions.quality import direction_quality


def fit_direction(
    method: str,
    fit: ContrastResid,
    select: ContrastResid,
    *,
    others: Float[Tensor, "other d_model"] | None = None,
    rng: np.random.Generator,
    n_resamples: int = 200,
) -> Direction:
    """Fit one value's direction by ``method``, and measure it on scenarios it was not fitted on.

    ``method`` is a name in ``METHODS``, or "LDA", which is "whitened". ``others`` are residuals
    of other texts for "mean-centred" and directions of other values for "disentangled"; the rest
    read none. ``n_resamples`` refits make the bootstrap cone; with 0 it stays NaN. The vector has
    the length that its method gives: only that of a difference is in residual-stream units.

    Raises:
        EntangleError: an unknown method, others missing or not wanted, fewer than four
            scenarios to fit, or a ``select`` that is of another place or shares scenarios.
    """
    name = method_named(method, others)
    check_held_out(fit, select)
    basis = span_of(fit, others)
    poles, held_out = poles_along(basis, fit, others), poles_along(basis, select)
    vector = METHODS[name](poles)
    quality = direction_quality(METHODS[name], poles, held_out, rng, n_resamples)
    return Direction(
        fit.value,
        fit.question,
        fit.layer,
        basis @ vector,
        basis @ poles.middle,
        quality,
        name,
        dict(fit.provenance),
    )


@dataclass(frozen=True, eq=False)
class Probe:
    """A logistic probe of one value after one layer: P(positive | e) = sigmoid(w.e + b).

    ``accuracy`` is the share of held-out prompts on the right side of P = .5, both poles
    counting the same.
    """

    value: str
    question: str
    layer: int
    weight: Float[Tensor, " d_model"]
    bias: float
    accuracy: float
    provenance: Mapping[str, str] = field(default_factory=dict)

    def logit(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "..."]:
        """Return w.e + b."""
        return resid.double() @ self.weight + self.bias

    def probability(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "..."]:
        """Return P(positive | e)."""
        return torch.sigmoid(self.logit(resid))


def fit_probe(fit: ContrastResid, select: ContrastResid) -> Probe:
    """Fit the probe of ConVA (arXiv 2507.11316): logistic regression, L2, C = 1, in float64.

    Its weight is the vector of ``fit_direction("logistic probe", ...)``, which has the quality
    measures; the probe keeps the bias beside it.

    Raises:
        EntangleError: as :func:`fit_direction`.
    """
    check_held_out(fit, select)
    basis = span_of(fit)
    poles = poles_along(basis, fit)
    weight, bias = logistic_regression(poles.high, poles.low)
    held_out = poles_along(basis, select)
    right = (held_out.high @ weight + bias > 0).double().mean()
    wrong = (held_out.low @ weight + bias > 0).double().mean()
    return Probe(
        fit.value,
        fit.question,
        fit.layer,
        basis @ weight,
        bias,
        float(1 + right - wrong) / 2,
        dict(fit.provenance),
    )
