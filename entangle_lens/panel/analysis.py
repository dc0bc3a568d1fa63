"""Entanglement in rating tables: one rater or many, with people beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from entangle_lens.errors import EntangleError
from entangle_lens.panel.people import AgainstPeople, compare
from entangle_lens.panel.reading import several, shown
from entangle_lens.panel.reliability import Reliability, find_reliability
from entangle_lens.panel.scenarios import Scenarios, find_scenarios
from entangle_lens.panel.table import ROLES, RatingTable
from entangle_lens.statistics import Estimate, benjamini_hochberg, correlation_estimate
from entangle_lens.statistics.correlation import centred

N_RESAMPLES = 10_000
_MIN_RESAMPLES = 1_000
_DRAWS = 20_000_000
_NAN = float("nan")


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


def analyse(
    tables: Sequence[RatingTable],
    people: RatingTable | None = None,
    *,
    from_text: bool = False,
    allow_missing: bool = False,
    seed: int = 0,
) -> PanelFindings:
    """Estimate every rater's r(moral, secondary), and its difference from people's.

    Each rater is analysed with the same seed, so its numbers do not depend on the others but for
    the corrected p-values.

    Raises:
        EntangleError: tables of different items or values, too many missing ratings, fewer than
            eight scenarios, or constant ratings where one table is all there is.
    """
    _check_same(tables)
    if not allow_missing:
        for table in tables:
            table.check_missing()
    given, people = people, None if people is None else _on_items(people, tables[0])
    scenarios = find_scenarios(tables, people, from_text)
    scenarios.clusters(tables[0].item_ids, tables[0].name)
    n_resamples = _affordable(len(set(scenarios.of_item.values())))
    for each in (*tables[: len(tables) == 1], people):
        if each is not None:
            _insist(each, scenarios)
    raters = [_rater(table, scenarios, seed, n_resamples) for table in tables]
    asked = None
    if people is not None:
        asked = _rater(people, scenarios, seed, n_resamples)
        raters = [
            replace(
                rater, against_people=compare(table, people, scenarios.clusters, seed, n_resamples)
            )
            for rater, table in zip(raters, tables, strict=True)
        ]
    notes = _single_notes(tables if people is None else (*tables, people))
    notes += _people_notes(given, people, len(tables[0].table))
    notes += _resample_notes(n_resamples) + scenarios.sentences()
    return PanelFindings(
        tables[0].columns.moral_label,
        tables[0].columns.label,
        tuple(_corrected(raters)),
        asked,
        tuple(tables),
        people,
        scenarios,
        seed,
        n_resamples,
        tuple(notes),
    )


def pair(table: RatingTable) -> tuple[Float[np.ndarray, " items"], Float[np.ndarray, " items"]]:
    """Return the moral and the secondary ratings of the items that have both."""
    moral, secondary = (table.table.loc[table.complete, role].to_numpy() for role in ROLES)
    return moral, secondary


def _insist(table: RatingTable, scenarios: Scenarios) -> None:
    """Raise an error where a table has no correlation, and say why."""
    for name, values in _constant(table):
        raise EntangleError(
            f"{table.name}: the {name} ratings are constant ({values[0]:g}), so there is no "
            "correlation"
        )
    known = table.table["item_id"][table.complete].tolist()
    scenarios.clusters(known, f"{table.name}, {len(known)} items with both ratings")


def _constant(table: RatingTable) -> list[tuple[str, Float[np.ndarray, " items"]]]:
    """Return the values whose ratings are all the same, up to rounding."""
    named = zip((table.columns.moral_label, table.columns.label), pair(table), strict=True)
    return [(name, values) for name, values in named if len(values) and not centred(values).any()]


def _rater(table: RatingTable, scenarios: Scenarios, seed: int, n_resamples: int) -> RaterFinding:
    """Estimate one rater's correlation; where there is none, say why."""
    item_ids = table.table["item_id"][table.complete].tolist()
    finding = RaterFinding(table.name, len(item_ids), table.n_missing, None, "")
    moral, secondary = pair(table)
    for name, _ in _constant(table):
        return replace(finding, reason=f"no correlation: {name} ratings constant")
    try:
        clusters = scenarios.clusters(item_ids, table.name)
    except EntangleError:
        number = len(set(scenarios.of(item_ids)))
        few = f"{scenarios.counted(number)} {'is' if number == 1 else 'are'} too few"
        return replace(finding, reason=f"no correlation: {few}")
    rng = np.random.default_rng(seed)
    x, y = (values / np.abs(values).max() for values in map(centred, (moral, secondary)))
    estimate = correlation_estimate(x, y, clusters, rng, n_resamples)
    reliability = find_reliability(table, estimate.value)
    return replace(finding, entanglement=estimate, reliability=reliability)


def _corrected(raters: Sequence[RaterFinding]) -> list[RaterFinding]:
    """Return the raters with p-values corrected over all of them, each kind of test by itself."""
    against = [each.against_people for each in raters]
    own = _adjusted([each.entanglement.p if each.entanglement else _NAN for each in raters])
    paired = _adjusted([each.difference.p if each else _NAN for each in against])
    steiger = _adjusted([each.steiger_p if each else _NAN for each in against])
    return [
        replace(
            rater,
            p_corrected=own[row],
            against_people=rater.against_people
            and replace(
                rater.against_people, p_corrected=paired[row], steiger_p_corrected=steiger[row]
            ),
        )
        for row, rater in enumerate(raters)
    ]


def _adjusted(p: list[float]) -> list[float]:
    return [float(each) for each in benjamini_hochberg(np.asarray(p))]


def _check_same(tables: Sequence[RatingTable]) -> None:
    """Raise an error where tables rate other items, or another value, than the first."""
    first = tables[0]
    for table in tables[1:]:
        if table.columns.label != first.columns.label:
            raise EntangleError(
                f"{first.name} rates {first.columns.label!r} and {table.name} "
                f"{table.columns.label!r}; say which with --secondary"
            )
        for one, other in ((first, table), (table, first)):
            known = set(other.item_ids)
            lacking = [item for item in one.item_ids if item not in known]
            if lacking:
                raise EntangleError(
                    f"{other.name} lacks {len(lacking)} of the {len(one.item_ids)} items of "
                    f"{one.name} ({several([shown(item) for item in lacking])}); all tables must "
                    "rate the same items: give a row with an empty rating for what a model did "
                    "not answer"
                )


def _on_items(people: RatingTable, table: RatingTable) -> RatingTable:
    """Return people's ratings of the items of ``table``; none in common is an error."""
    kept = people.table[people.table["item_id"].isin(set(table.item_ids))].reset_index(drop=True)
    if kept.empty:
        raise EntangleError(
            f"{people.name} and {table.name} have no item in common: "
            f"{several([shown(item) for item in people.item_ids], 2)} there and "
            f"{several([shown(item) for item in table.item_ids], 2)} here"
        )
    return replace(people, table=kept)


def _affordable(n_scenarios: int) -> int:
    return max(_MIN_RESAMPLES, min(N_RESAMPLES, _DRAWS // n_scenarios))


def _single_notes(tables: Sequence[RatingTable]) -> list[str]:
    """Say which tables hold single ratings, what is missing, and what has no standard error."""
    notes = []
    for table in tables:
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


def _people_notes(given: RatingTable | None, people: RatingTable | None, n_items: int) -> list[str]:
    """Say how many items people rated, and how many of theirs were left out."""
    if given is None or people is None:
        return []
    notes = [f"{people.name} has both ratings of {int(people.complete.sum())} of {n_items} items."]
    more = len(given.table) - len(people.table)
    if more:
        notes.append(f"{people.name}: {more} more items, which no model rated, were left out.")
    return notes


def _resample_notes(n_resamples: int) -> list[str]:
    if n_resamples == N_RESAMPLES:
        return []
    return [f"With so many scenarios, {n_resamples:,} resamples were drawn."]
