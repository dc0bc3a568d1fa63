"""An estimate with its interval and the number of scenarios it rests on."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from entangle_lens.text import p_equation


@dataclass(frozen=True)
class Estimate:
    """A number, its 95 % interval, its p-value and its sample size.

    ``value``, ``low`` and ``high`` share one unit; ``p`` is two-sided and NaN where no test
    was made; ``n_items`` items lie in ``n_scenarios`` scenarios; ``method`` names how the
    interval was made. ``n_permutations`` is the number behind p, which cannot be smaller than
    1 / (n_permutations + 1).
    """

    value: float
    low: float
    high: float
    p: float
    n_items: int
    n_scenarios: int
    method: str
    n_permutations: int | None = None

    @property
    def p_text(self) -> str:
        """The p-value for a sentence: a bound where no permutation reached the estimate.

        >>> Estimate(0.4, 0.3, 0.5, 1 / 2_001, 96, 24, "", 2_000).p_text
        'p < 0.0005'
        """
        return p_equation(self.p, self.n_permutations)

    def as_dict(self) -> dict[str, float | int | str]:
        """Return the fields as a plain dictionary, for tables and JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"
