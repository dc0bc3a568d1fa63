"""An estimate with its interval and the number of scenarios it rests on."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Estimate:
    """A number, its 95 % interval, its p-value and its sample size.

    ``value``, ``low`` and ``high`` share one unit; ``p`` is two-sided and NaN where no test
    was made; ``n_items`` items lie in ``n_scenarios`` scenarios; ``method`` names how the
    interval was made.
    """

    value: float
    low: float
    high: float
    p: float
    n_items: int
    n_scenarios: int
    method: str

    def as_dict(self) -> dict[str, float | int | str]:
        """Return the fields as a plain dictionary, for tables and JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"
