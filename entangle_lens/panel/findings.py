"""What is found in rating tables, of one rater and of all."""

from __future__ import annotations

from dataclasses import dataclass

from entangle_lens.panel.people import AgainstPeople
from entangle_lens.panel.reliability import Reliability
from entangle_lens.panel.scenarios import Scenarios
from entangle_lens.panel.table import RatingTable
from entangle_lens.statistics import Estimate


@dataclass(frozen=True)
class RaterFinding:
    """What was found of one rater.

    ``entanglement`` is r(moral, secondary) over the items with both ratings, None where there is
    none for ``reason``; ``p_corrected`` its p after Benjamini-Hochberg over the raters.
    """

    name: str
    n_items: int
    n_missing: int
    entanglement: Estimate | None
    reason: str
    p_corrected: float = float("nan")
    reliability: Reliability | None = None
    against_people: AgainstPeople | None = None


@dataclass(frozen=True)
class PanelFindings:
    """What was found of all raters; ``notes`` says in sentences what a reader has to know."""

    moral: str
    secondary: str
    raters: tuple[RaterFinding, ...]
    people: RaterFinding | None
    tables: tuple[RatingTable, ...]
    people_table: RatingTable | None
    scenarios: Scenarios
    seed: int
    n_resamples: int
    notes: tuple[str, ...]
