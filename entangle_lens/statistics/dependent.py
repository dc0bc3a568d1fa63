"""Tests of two correlations that were measured on the same items."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float
from scipy.stats import norm
from scipy.stats import t as student_t

from entangle_lens.errors import EntangleError

# Printed correlations are rounded, which may push the smallest eigenvalue a little below zero.
_ROUNDED = 0.02


@dataclass(frozen=True)
class DependentTest:
    """A test that two dependent correlations are equal.

    ``statistic`` is ``difference`` (of the correlations, or of their Fisher z) in standard
    errors; ``df`` are its degrees of freedom, infinite for a normal Z; ``p`` is two-sided.
    """

    difference: float
    statistic: float
    df: float
    p: float
    method: str

    def as_dict(self) -> dict[str, float | str]:
        """Return the fields as a plain dictionary, for tables and JSON."""
        return asdict(self)


def williams_test(r12: float, r13: float, r23: float, n: int) -> DependentTest:
    """Test r12 = r13, two correlations that share variable 1, in n independent items.

    t = (r12 - r13) sqrt[(n-1)(1+r23) / (2 (n-1)/(n-3) |R| + rbar^2 (1-r23)^3)] with n - 3 degrees
    of freedom, |R| = 1 - r12^2 - r13^2 - r23^2 + 2 r12 r13 r23 and rbar = (r12 + r13) / 2
    (Williams 1959; Steiger 1980, eq. 7). Items that share scenarios are not independent: there
    ``change_estimate`` is the test that holds. Correlations that no three variables can have,
    and n below 4, are errors.
    """
    _check_correlations({(1, 2): r12, (1, 3): r13, (2, 3): r23}, n)
    determinant = max(1 - r12**2 - r13**2 - r23**2 + 2 * r12 * r13 * r23, 0.0)
    mean = (r12 + r13) / 2
    spread = 2 * (n - 1) / (n - 3) * determinant + mean**2 * (1 - r23) ** 3
    if spread <= 0:
        raise EntangleError("r23 is 1: variables 2 and 3 are the same, so nothing can be compared")
    t = (r12 - r13) * np.sqrt((n - 1) * (1 + r23) / spread)
    p = 2 * float(student_t.sf(abs(t), n - 3))
    return DependentTest(r12 - r13, float(t), float(n - 3), p, "Williams t")


def steiger_test(
    r12: float, r34: float, r13: float, r14: float, r23: float, r24: float, n: int
) -> DependentTest:
    """Test r12 = r34, two correlations without a shared variable, in the same n items.

    The ZPF statistic of Raghunathan, Rosenthal & Rubin (1996), which is Dunn & Clark's (1969)
    with the covariance of Pearson & Filon (Steiger 1980, eq. 2):
    Z = sqrt((n-3)/2) (z12 - z34) / sqrt(1 - k / (2 (1-r12^2)(1-r34^2))), z = atanh(r),
    k = (r13 - r12 r23)(r24 - r23 r34) + (r14 - r13 r34)(r23 - r12 r13)
      + (r13 - r14 r34)(r24 - r12 r14) + (r14 - r12 r24)(r23 - r24 r34).
    Items are taken as independent, as in ``williams_test``. Correlations that no four variables
    can have, r12 or r34 of exactly 1, and n below 4, are errors.
    """
    given = {(1, 2): r12, (3, 4): r34, (1, 3): r13, (1, 4): r14, (2, 3): r23, (2, 4): r24}
    _check_correlations(given, n)
    k = (
        (r13 - r12 * r23) * (r24 - r23 * r34)
        + (r14 - r13 * r34) * (r23 - r12 * r13)
        + (r13 - r14 * r34) * (r24 - r12 * r14)
        + (r14 - r12 * r24) * (r23 - r24 * r34)
    )
    spread = 2 * (1 - r12**2) * (1 - r34**2)
    if spread - k <= 0:
        raise EntangleError(
            "r12 and r34 have no spread of their own (one is 1, or both are the same correlation), "
            "so nothing can be compared"
        )
    difference = float(np.arctanh(r12) - np.arctanh(r34))
    z = float(np.sqrt((n - 3) / 2) * difference / np.sqrt(1 - k / spread))
    return DependentTest(difference, z, np.inf, 2 * float(norm.sf(abs(z))), "Steiger ZPF")


def _check_correlations(given: dict[tuple[int, int], float], n: int) -> None:
    """Raise an error for numbers that are no correlations, or none that can go together."""
    for (i, j), r in given.items():
        if not -1 <= r <= 1:
            raise EntangleError(f"r{i}{j} is {r}, and a correlation lies between -1 and 1")
    if n < 4:
        raise EntangleError(f"n is {n}, and the test needs at least 4 items")
    if np.linalg.eigvalsh(_matrix(given))[0] < -_ROUNDED:
        names = ", ".join(f"r{i}{j} {r:g}" for (i, j), r in given.items())
        raise EntangleError(f"no variables have these correlations together: {names}")


def _matrix(given: dict[tuple[int, int], float]) -> Float[np.ndarray, "variables variables"]:
    size = max(j for _, j in given)
    matrix = np.eye(size)
    for i, j in combinations(range(size), 2):
        matrix[i, j] = matrix[j, i] = given[i + 1, j + 1]
    return matrix
