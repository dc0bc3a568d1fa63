"""The reliability of a study's ratings, as tables and as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from entangle_lens.entanglement.reliability import Reliability, ValueReliability
from entangle_lens.entanglement.study import Finding, Findings
from entangle_lens.statistics import Estimate
from entangle_lens.stimuli import POLARITIES

_SHARES = ("scenario", "item", "paraphrase", "polarity", "item_x_paraphrase", "residual")


def reliability_table(findings: Findings) -> pd.DataFrame:
    """Return one row per pair and value: split halves, shares of the variance, accuracies.

    ``accuracy_POLARITY`` is r(design level, rating of that same value) where the scale runs in that
    way only: a model that ignores which end stands for what is right in one and wrong in the other.
    """
    return pd.DataFrame(
        {"pair": name, **_numbers(value), **_accuracies(each, value.value)}
        for name, each in findings.pairs.items()
        for value in _both(each.reliability)
    )


def wordings_table(findings: Findings) -> pd.DataFrame:
    """Return one row per pair, value and way of asking: both correlations, with their signs."""
    columns = ["pair", "value", "kind", "name"]
    for figure in ("entanglement", "design"):
        columns += [figure, f"{figure}_low", f"{figure}_high"]
    rows = [
        (name, each.value, each.kind, each.name, *_bounds(each.entanglement), *_bounds(each.design))
        for name, finding in findings.pairs.items()
        for each in finding.reliability.wordings
    ]
    return pd.DataFrame(rows, columns=columns)


def summarise_reliability(finding: Finding) -> dict[str, Any]:
    """Return split halves, shares, warnings and what is not known; NaN where not known."""
    reliability = finding.reliability
    plain: dict[str, Any] = {}
    for value in _both(reliability):
        numbers = _numbers(value)
        plain[str(numbers.pop("value"))] = numbers
    return plain | {
        "warnings": list(reliability.warnings),
        "not_known": list(reliability.not_known),
    }


def shown_reliability(findings: Findings) -> pd.DataFrame:
    """Return the table of the report: shares in per cent, "not known" where they are not."""
    table = reliability_table(findings)
    shown = table[["pair", "value"]].copy()
    shown["prompts"] = [
        f"{n} x {m}" for n, m in zip(table["n_paraphrases"], table["n_polarities"], strict=True)
    ]
    shown["split half"] = table["split_half"].map(lambda r: _said(r, "{:.3f}"))
    for polarity in POLARITIES:
        accuracy = table[f"accuracy_{polarity}"]
        shown[f"accuracy, {polarity}"] = accuracy.map(lambda r: _said(r, "{:+.2f}"))
    for share in _SHARES:
        shown[share.replace("_", " ")] = table[share].map(lambda part: _said(part, "{:.1%}"))
    return shown


def shown_wordings(findings: Findings) -> pd.DataFrame:
    """Return the table of the report with every way of asking."""
    table = wordings_table(findings)
    shown = table[["pair", "value"]].copy()
    shown["asked"] = table["kind"] + " " + table["name"]
    for figure, title in (("entanglement", "r of ratings"), ("design", "r with moral level")):
        rows = zip(*(table[f"{figure}{end}"] for end in ("", "_low", "_high")), strict=True)
        shown[title] = [
            f"{r:+.2f} [{low:.2f}, {high:.2f}]" if np.isfinite(r) else "constant ratings"
            for r, low, high in rows
        ]
    return shown


def _accuracies(finding: Finding, value: str) -> dict[str, float]:
    by_polarity = finding.behaviour.facts.ratings[value].by_polarity
    return {f"accuracy_{polarity}": by_polarity.get(polarity, np.nan) for polarity in POLARITIES}


def _both(reliability: Reliability) -> tuple[ValueReliability, ValueReliability]:
    return reliability.moral, reliability.secondary


def _numbers(value: ValueReliability) -> dict[str, Any]:
    shares = {} if value.components is None else value.components.as_dict()
    return {
        "value": value.value,
        "n_paraphrases": value.n_paraphrases,
        "n_polarities": value.n_polarities,
        "split_half": np.nan if value.split_half is None else value.split_half,
        **{share: shares.get(share, np.nan) for share in (*_SHARES, "total")},
    }


def _bounds(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _said(number: float, form: str) -> str:
    return form.format(number) if np.isfinite(number) else "not known"
