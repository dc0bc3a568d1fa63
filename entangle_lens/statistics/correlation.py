"""Pearson correlation, one or many at a time, and the scenarios that items belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from entangle_lens.errors import EntangleError

MIN_CLUSTERS = 8
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Clusters:
    """Which scenario each item belongs to.

    ``codes`` numbers the scenarios 0, 1, ... in order of first appearance. Fewer than eight
    scenarios are refused: with so few, no resampling interval keeps its level.
    """

    codes: Int[np.ndarray, " items"]

    @classmethod
    def of(cls, scenario_ids: Sequence[str]) -> Clusters:
        """Number the scenarios of ``scenario_ids``, one id an item."""
        numbers: dict[str, int] = {}
        codes = [numbers.setdefault(scenario, len(numbers)) for scenario in scenario_ids]
        if len(numbers) < MIN_CLUSTERS:
            raise EntangleError(
                f"{len(numbers)} scenarios were given, and a scenario-clustered interval "
                f"needs at least {MIN_CLUSTERS}"
            )
        return cls(np.asarray(codes))

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.codes)

    @property
    def n_clusters(self) -> int:
        """Number of scenarios."""
        return int(self.codes.max()) + 1

    def check(self, **arrays: Float[np.ndarray, "..."]) -> None:
        """Raise an error that names the first of ``arrays`` whose last axis is not the items."""
        for name, values in arrays.items():
            length = values.shape[-1] if values.ndim else 0
            if length != self.n_items:
                raise EntangleError(
                    f"{name} holds {length} items and the scenarios {self.n_items}; "
                    "give one value for each item"
                )

    def sums(self, values: Float[np.ndarray, "... items"]) -> Float[np.ndarray, "... clusters"]:
        """Sum ``values`` within each scenario."""
        self.check(values=values)
        order = np.argsort(self.codes, kind="stable")
        first = np.searchsorted(self.codes[order], np.arange(self.n_clusters))
        return np.asarray(np.add.reduceat(values[..., order], first, axis=-1))


def centred(x: Float[np.ndarray, "... items"]) -> Float[np.ndarray, "... items"]:
    """Return x less its mean over the last axis; exactly zero where x is constant.

    The mean of many times .1 is not .1 to the last bit, and what is left would correlate.
    """
    size = np.abs(x).max(-1, keepdims=True)
    constant = np.ptp(x, axis=-1, keepdims=True) <= _ROUNDING * size
    return np.where(constant, 0.0, x - x.mean(-1, keepdims=True))


def pearson(
    x: Float[np.ndarray, "... items"], y: Float[np.ndarray, "... items"]
) -> Float[np.ndarray, "..."]:
    """Return Pearson's r over the last axis, broadcasting the others; NaN where one is constant."""
    x, y = centred(x), centred(y)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    return np.asarray(np.clip(r, -1.0, 1.0))
