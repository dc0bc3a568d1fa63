"""What a reader has to know of an analysis of rating tables, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from entangle_lens.panel.findings import RaterFinding
from entangle_lens.panel.table import RatingTable


def table_notes(tables: Sequence[RatingTable]) -> list[str]:
    """Say how tables were read, which hold single ratings, and what is missing there."""
    notes: list[str] = []
    for table in tables:
        notes += table.notes
        if table.single:
            notes.append(
                f"{table.name}: the {' and '.join(table.single)} ratings are single ones, averaged "
                f"for each item; {table.n_missing_single} of them were missing and left out."
            )
        if table.single and table.n_rated_once:
            notes.append(
                f"{table.name}: {table.n_rated_once} of {len(table.table)} items have only one "
                "rating, so their standard error is unknown."
            )
    return notes


def reliability_notes(raters: Sequence[RaterFinding]) -> list[str]:
    """Say of which items a reliability is, and what a corrected r beyond 1 means."""
    notes = []
    for rater in raters:
        known = rater.reliability
        if known is None:
            continue
        for role, n_items in (("moral", known.n_moral), ("secondary", known.n_secondary)):
            if n_items == 0:
                notes.append(
                    f"{rater.name}: the {role} ratings have no standard errors and count as free "
                    "of noise."
                )
            elif n_items < rater.n_items:
                notes.append(
                    f"{rater.name}: the reliability of the {role} ratings is that of the {n_items} "
                    f"of {rater.n_items} items that have a standard error, and r that of all."
                )
        if abs(known.corrected) > 1:
            notes.append(
                f"{rater.name}: the corrected r is {known.corrected:.2f}, and no correlation is "
                "beyond 1: the reliabilities are too low or the two ratings share their noise, so "
                "it is not an estimate."
            )
    return notes


def resample_notes(n_resamples: int, usual: int) -> list[str]:
    """Say how many resamples were drawn where they are fewer than usual."""
    if n_resamples == usual:
        return []
    return [f"With so many scenarios, {n_resamples:,} resamples were drawn."]
