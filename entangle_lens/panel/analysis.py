"""Entanglement in rating tables: one rater or many, with people beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from entangle_lens.errors import EntangleError, printable
from entangle_lens.panel.findings import PanelFindings, RaterFinding
from entangle_lens.panel.items import (
    check_same_items,
    check_same_value,
    check_texts,
    on_common_items,
    on_items_of,
)
from entangle_lens.panel.notes import reliability_notes, resample_notes, table_notes
from entangle_lens.panel.people import compare
from entangle_lens.panel.reliability import find_reliability
from entangle_lens.panel.scenarios import Scenarios, find_scenarios
from entangle_lens.panel.table import ROLES, RatingTable
from entangle_lens.statistics import benjamini_hochberg, correlation_estimate
from entangle_lens.statistics.correlation import centred

N_RESAMPLES = 10_000
_MIN_RESAMPLES = 1_000
_DRAWS = 20_000_000
_NAN = float("nan")


@dataclass(frozen=True)
class _Resampling:
    """What every rater is estimated with: the scenarios, the seed, the number of resamples."""

    scenarios: Scenarios
    seed: int
    n_resamples: int


def analyse(
    tables: Sequence[RatingTable],
    people: RatingTable | None = None,
    *,
    from_text: bool = False,
    allow_missing: bool = False,
    common_items: bool = False,
    seed: int = 0,
) -> PanelFindings:
    """Estimate every rater's r(moral, secondary), and its difference from people's.

    Each rater is analysed with the same seed, so its numbers do not depend on the others but for
    the corrected p-values.

    Raises:
        EntangleError: tables of different items, texts or values, too many missing ratings, fewer
            than eight scenarios, or constant ratings where one table is all there is.
    """
    tables, people, item_notes = _on_same_items(tables, people, common_items)
    every = [*tables, *([people] if people else [])]
    text_notes = check_texts(every)
    if not allow_missing:
        for table in tables:
            table.check_missing()
    scenarios = find_scenarios(tables, people, from_text)
    scenarios.clusters(tables[0].item_ids, tables[0].name)
    alone = tables if len(tables) == 1 else []  # among others, a rater without r says so in a row
    for table in [*alone, *every[len(tables) :]]:
        _check_correlation(table, scenarios)
    n_resamples = _affordable(len(set(scenarios.of_item.values())))
    how = _Resampling(scenarios, seed, n_resamples)
    found = [_rater(table, how) for table in every]
    raters = found[: len(tables)]
    if people is not None:
        raters = [_against(*each, people, how) for each in zip(raters, tables, strict=True)]
    notes = [*table_notes(every), *reliability_notes(found), *item_notes, *text_notes]
    notes += [*resample_notes(n_resamples, N_RESAMPLES), *scenarios.sentences()]
    return PanelFindings(
        moral=printable(tables[0].columns.moral_label, one_line=True),
        secondary=printable(tables[0].columns.label, one_line=True),
        raters=tuple(_corrected(raters)),
        people=None if people is None else found[-1],
        tables=tuple(tables),
        people_table=people,
        scenarios=scenarios,
        seed=seed,
        n_resamples=n_resamples,
        notes=tuple(printable(note, one_line=True) for note in notes),
    )


def pair(table: RatingTable) -> tuple[Float[np.ndarray, " items"], Float[np.ndarray, " items"]]:
    """Return the moral and the secondary ratings of the items that have both."""
    moral, secondary = (table.table.loc[table.complete, role].to_numpy() for role in ROLES)
    return moral, secondary


def _on_same_items(
    tables: Sequence[RatingTable], people: RatingTable | None, common_items: bool
) -> tuple[Sequence[RatingTable], RatingTable | None, list[str]]:
    """Return tables that rate the same items, with people's ratings of them, and notes."""
    check_same_value(tables)
    if common_items:
        return on_common_items(tables, people)
    check_same_items(tables)
    if people is None:
        return tables, None, []
    kept, notes = on_items_of(people, tables[0])
    return tables, kept, notes


def _check_correlation(table: RatingTable, scenarios: Scenarios) -> None:
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


def _rater(table: RatingTable, how: _Resampling) -> RaterFinding:
    """Estimate one rater's correlation; where there is none, say why."""
    item_ids = table.table["item_id"][table.complete].tolist()
    finding = RaterFinding(table.name, len(item_ids), table.n_missing, None, "")
    moral, secondary = pair(table)
    for name, _ in _constant(table):
        return replace(finding, reason=f"no correlation: {name} ratings constant")
    try:
        clusters = how.scenarios.clusters(item_ids, table.name)
    except EntangleError:
        number = len(set(how.scenarios.of(item_ids)))
        few = f"{how.scenarios.counted(number)} {'is' if number == 1 else 'are'} too few"
        return replace(finding, reason=f"no correlation: {few}")
    rng = np.random.default_rng(how.seed)
    x, y = (values / np.abs(values).max() for values in map(centred, (moral, secondary)))
    estimate = correlation_estimate(x, y, clusters, rng, how.n_resamples)
    reliability = find_reliability(table, estimate.value)
    return replace(finding, entanglement=estimate, reliability=reliability)


def _against(
    rater: RaterFinding, table: RatingTable, people: RatingTable, how: _Resampling
) -> RaterFinding:
    """Return a rater's finding with its difference from people's."""
    tested = compare(table, people, how.scenarios.clusters, how.seed, how.n_resamples)
    return replace(rater, against_people=tested)


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


def _affordable(n_scenarios: int) -> int:
    return max(_MIN_RESAMPLES, min(N_RESAMPLES, _DRAWS // n_scenarios))
