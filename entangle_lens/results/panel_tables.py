"""The analysis of rating tables as DataFrames, and as aligned plain text."""

from __future__ import annotations

import numpy as np
import pandas as pd

from entangle_lens.errors import printable
from entangle_lens.panel.findings import PanelFindings, RaterFinding
from entangle_lens.panel.scenarios import COLUMN, NOWHERE
from entangle_lens.panel.table import RatingTable
from entangle_lens.statistics import Estimate
from entangle_lens.text import p_text

LEGEND = {
    "r": "r: Pearson over items; [ ]: 95 % interval that resamples whole scenarios, as many as "
    "stand beside it; p: permutes whole scenarios (of mixed sizes, turns the signs of their shares "
    "in r), which tests whether the ratings are independent. Where r differs between scenarios, "
    "only the interval tests r = 0.",
    "items": "r: Pearson over items; [ ]: 95 % interval that resamples single items (the number of "
    "scenarios is not known); p: permutes items.",
    "reliability": "Reliability: share of the variance over items that is not raters' noise; "
    "corrected r: r over the root of both (takes the noise of the two ratings as independent).",
    "people": "Difference: r less people's r over the items that both rated, [ ] and p from the "
    "paired scenario bootstrap; Steiger: ZPF test, which treats items as independent.",
}
_CORRECTED = " BH: corrected over models (Benjamini-Hochberg)."
_NAN = float("nan")


def models_table(findings: PanelFindings) -> pd.DataFrame:
    """Return one row per rater: r, interval, p, corrected p, counts, and the tests there are."""
    table = pd.DataFrame([_row(each) for each in findings.raters])
    table["scenarios_from"] = findings.scenarios.origin
    return table


def ratings_table(findings: PanelFindings) -> pd.DataFrame:
    """Return one row per rater and item: what was analysed, after averaging."""
    return pd.concat(
        [_ratings(each, findings) for each in (*findings.tables, findings.people_table) if each],
        ignore_index=True,
    )


def _ratings(table: RatingTable, findings: PanelFindings) -> pd.DataFrame:
    shown = table.table.drop(columns=["scenario_id", "text"], errors="ignore")
    shown.insert(0, "rater", table.name)
    shown.insert(1, "is_people", table is findings.people_table)
    shown.insert(3, "scenario_id", findings.scenarios.of(table.item_ids))
    return shown


def _row(rater: RaterFinding) -> dict[str, object]:
    row: dict[str, object] = {"model": rater.name} | _of_estimate(rater.entanglement, "r", "")
    row |= {
        "p_corrected": rater.p_corrected,
        "n_items": rater.n_items,
        "n_scenarios": rater.entanglement.n_scenarios if rater.entanglement else 0,
        "n_missing": rater.n_missing,
        "reason": rater.reason,
    }
    row |= reliability_row(rater)
    against = rater.against_people
    if against is not None:
        row |= {"model_r_common": against.model_r, "people_r": against.people_r}
        row |= _of_estimate(against.difference, "difference", "difference_")
        row |= {
            "difference_p_corrected": against.p_corrected,
            "steiger_z": against.steiger_z,
            "steiger_p": against.steiger_p,
            "steiger_p_corrected": against.steiger_p_corrected,
            "n_common": against.difference.n_items,
            "n_common_scenarios": against.difference.n_scenarios,
            "difference_reason": against.reason,
        }
    return row


def reliability_row(rater: RaterFinding) -> dict[str, object]:
    """Return a rater's reliability and corrected r; nothing where there are no standard errors."""
    if rater.reliability is None:
        return {}
    return {
        "moral_reliability": rater.reliability.moral,
        "secondary_reliability": rater.reliability.secondary,
        "moral_reliability_items": rater.reliability.n_moral,
        "secondary_reliability_items": rater.reliability.n_secondary,
        "r_corrected": rater.reliability.corrected,
    }


def _of_estimate(estimate: Estimate | None, name: str, prefix: str) -> dict[str, object]:
    known = estimate or Estimate(_NAN, _NAN, _NAN, _NAN, 0, 0, "")
    return {
        name: known.value,
        f"{prefix}low": known.low,
        f"{prefix}high": known.high,
        f"{prefix}p": known.p,
    }


def shown_tables(findings: PanelFindings) -> dict[str, pd.DataFrame]:
    """Return the tables to print, every cell text: ``r``, ``reliability`` and ``people``."""
    raters = [*findings.raters, *([findings.people] if findings.people else [])]
    shown = {"r": pd.DataFrame([_shown_r(each, findings) for each in raters])}
    if len(findings.raters) == 1:
        shown["r"] = shown["r"].drop(columns="p (BH)")
    if any(each.reliability for each in raters):
        shown["reliability"] = pd.DataFrame(
            [_shown_reliability(each, findings) for each in raters if each.reliability]
        )
    if findings.people is not None:
        shown["people"] = pd.DataFrame([_shown_people(each, findings) for each in findings.raters])
    if findings.people is not None and len(findings.raters) == 1:
        shown["people"] = shown["people"].drop(columns=["p (BH)", "Steiger p (BH)"])
    return shown


def legend(findings: PanelFindings, table: str) -> str:
    """Return the sentence that explains one of the shown tables."""
    independent = table == "r" and findings.scenarios.origin == NOWHERE
    corrected = _CORRECTED if table != "reliability" and len(findings.raters) > 1 else ""
    return LEGEND["items" if independent else table] + corrected


def _shown_r(rater: RaterFinding, findings: PanelFindings) -> dict[str, str]:
    estimate = rater.entanglement
    is_people, n = rater is findings.people, findings.n_resamples
    return {
        "model": _shown_name(rater, findings),
        "r [95 % interval]": estimate_text(estimate) if estimate else rater.reason,
        "p": p_text(estimate.p, n) if estimate else "",
        "p (BH)": p_text(rater.p_corrected, n, uncorrected=estimate.p)
        if estimate and not is_people
        else "",
        "items": str(rater.n_items),
        "scenarios": _n_scenarios(estimate, findings),
        "missing": str(rater.n_missing),
    }


def _shown_name(rater: RaterFinding, findings: PanelFindings) -> str:
    return f"people: {rater.name}" if rater is findings.people else rater.name


def _shown_reliability(rater: RaterFinding, findings: PanelFindings) -> dict[str, str]:
    known = rater.reliability
    assert known is not None
    assert rater.entanglement is not None
    return {
        "model": _shown_name(rater, findings),
        f"{findings.moral} reliability": number_text(known.moral),
        f"{findings.secondary} reliability": number_text(known.secondary),
        "r": number_text(rater.entanglement.value),
        "corrected r": known.reason or _shown_corrected(known.corrected),
    }


def _shown_corrected(r: float) -> str:
    return f"{number_text(r)}, beyond 1" if abs(r) > 1 else number_text(r)


def _shown_people(rater: RaterFinding, findings: PanelFindings) -> dict[str, str]:
    against = rater.against_people
    assert against is not None
    return {
        "model": rater.name,
        "difference [95 % interval]": against.reason or estimate_text(against.difference),
        "p": p_text(against.difference.p),
        "p (BH)": p_text(against.p_corrected),
        "Steiger p": p_text(against.steiger_p),
        "Steiger p (BH)": p_text(against.steiger_p_corrected),
        "items": str(against.difference.n_items),
        "scenarios": _n_scenarios(against.difference, findings),
    }


def _n_scenarios(estimate: Estimate | None, findings: PanelFindings) -> str:
    if estimate is None or not estimate.n_scenarios:
        return ""
    number = str(estimate.n_scenarios)
    return {COLUMN: number, NOWHERE: "unknown"}.get(findings.scenarios.origin, f"{number} guessed")


def number_text(value: float) -> str:
    """Return a number with two decimals, a dash for NaN."""
    return "-" if np.isnan(value) else f"{value:z.2f}"


def estimate_text(estimate: Estimate) -> str:
    """Return an estimate with its interval, two decimals, zero without a sign."""
    return f"{estimate.value:z.2f} [{estimate.low:z.2f}, {estimate.high:z.2f}]"


def aligned(table: pd.DataFrame) -> str:
    """Return a table of text as lines with columns of equal width, two blanks between them."""
    cells = [list(table.columns), *table.to_numpy().tolist()]
    rows = [[printable(str(cell), one_line=True) for cell in row] for row in cells]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def as_text(findings: PanelFindings) -> str:
    """Return everything that is to be printed: heading, tables with legends, notes."""
    first = findings.tables[0]
    parts = [
        f"r({findings.moral}, {findings.secondary}), columns {first.columns.moral!r} and "
        f"{first.columns.secondary!r}, over {len(first.table)} items"
    ]
    for name, table in shown_tables(findings).items():
        parts.append(f"{aligned(table)}\n{legend(findings, name)}")
    parts += ["\n".join(findings.notes)] if findings.notes else []
    return "\n\n".join(map(printable, parts))
