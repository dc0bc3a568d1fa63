"""Logistic regression in float64, without a machine-learning library."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor

from entangle_lens.errors import EntangleError

C = 1.0
_TOLERANCE = 1e-9  # of the gradient at zero


def logistic_regression(
    high: Float[Tensor, "high coord"], low: Float[Tensor, "low coord"]
) -> tuple[Float[Tensor, " coord"], float]:
    """Return weight and bias that minimise |w|^2 / 2 + C sum log(1 + exp(-y (w.x + b))), C = 1.

    y is 1 in ``high`` and -1 in ``low``; the bias is not penalised. Newton steps in a trust
    region, since residuals of unlike scale make gradient methods crawl.

    Raises:
        EntangleError: no minimum was reached.
    """
    rows = torch.cat([high, low]).double().numpy()
    centre = rows.mean(0)
    design = np.column_stack([rows - centre, np.ones(len(rows))])
    label = np.repeat([1.0, -1.0], [len(high), len(low)])
    penalty = np.append(np.ones(rows.shape[1]), 0.0)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        margin = label * (design @ theta)
        value = C * np.logaddexp(0, -margin).sum() + penalty @ theta**2 / 2
        return value, penalty * theta - C * (label * expit(-margin)) @ design

    def curvature(theta: np.ndarray) -> np.ndarray:
        margin = design @ theta
        spread = C * expit(margin) * expit(-margin)
        return np.asarray((design.T * spread) @ design + np.diag(penalty))

    start = np.zeros(design.shape[1])
    limit = _TOLERANCE * max(1.0, float(np.linalg.norm(loss(start)[1])))
    theta = minimize(
        loss, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": limit}
    ).x
    if np.linalg.norm(loss(theta)[1]) > limit:
        # The search ends where the loss is rounded, the gradient not yet: one Newton step is left.
        theta = theta - np.linalg.solve(curvature(theta), loss(theta)[1])
    if not np.linalg.norm(loss(theta)[1]) <= limit:
        raise EntangleError("the logistic probe found no minimum; the residuals may be too large")
    weight = theta[:-1]
    return torch.from_numpy(weight), float(theta[-1] - weight @ centre)
