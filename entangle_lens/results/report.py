"""The report: one HTML file that opens from disk, without network, and holds every number."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
from markupsafe import Markup

from entangle_lens.entanglement.evidence import gather_evidence
from entangle_lens.entanglement.multiverse import explore
from entangle_lens.entanglement.study import Findings
from entangle_lens.entanglement.verdict import RULE, Judgement
from entangle_lens.models import ModelInfo
from entangle_lens.results.figures.study import all_figures
from entangle_lens.results.figures.style import TITLES
from entangle_lens.results.html import figures_html, table_html, template
from entangle_lens.results.multiverse_tables import headline, shown_curves, shown_moves
from entangle_lens.results.reliability import shown_reliability, shown_wordings
from entangle_lens.results.summary import shown_positions
from entangle_lens.results.tables import all_tables
from entangle_lens.text import p_text

_N_PERMUTATIONS = 200  # of the multiverse; ``entangle-lens multiverse`` makes more, and intervals
_SHOWN_IN_REPAIR = ("leak", "apparent", "accuracy", "moral_accuracy")


def render_report(findings: Findings, about: ModelInfo, manifest: dict[str, Any]) -> str:
    """Return the report as HTML, plotly included."""
    tables = all_tables(findings)
    universes = explore(
        gather_evidence(tables), manifest["seed"], n_resamples=0, n_permutations=_N_PERMUTATIONS
    )
    return template("report.html.jinja").render(
        about=about,
        manifest=manifest,
        manifest_text=json.dumps(manifest, indent=2),
        pairs=[
            {
                "title": f"{TITLES[name].capitalize()} good",
                "entangled": each.entangled.word.capitalize(),
                "entangled_reason": each.entangled.reason,
                "repaired": each.repaired.headline,
                "repaired_reason": _sentence(_without_cost(each.repaired)),
                "cost": [_sentence(cost) for cost in each.repaired.price.sentences],
                "warnings": each.reliability.warnings,
                "not_known": each.reliability.not_known,
            }
            for name, each in findings.pairs.items()
        ],
        prompting=findings.prompting,
        given_up=findings.plan.given_up,
        figures=figures_html(all_figures(findings)),
        multiverse_headline=headline(universes),
        tables={
            "summary": table_html(_summary(tables["summary"])),
            "reliability": table_html(shown_reliability(findings)),
            "wordings": table_html(shown_wordings(findings)),
            "multiverse": table_html(shown_curves(universes)),
            "moves": table_html(shown_moves(universes)),
            "positions": table_html(shown_positions(findings)),
            "repair": _repairs(tables["repair"]),
            "layer_sweep": table_html(_sweep(tables["layer_sweep"])),
            "side_effects": table_html(_rounded(tables["side_effects"])),
        },
        rule=RULE,
    )


def _without_cost(judgement: Judgement) -> str:
    """Return the reason of a judgement without what the card says above it."""
    parts = judgement.reason.split("; ")
    costs = "; ".join(judgement.price.sentences)
    kept = [part for part in parts if part not in costs]
    return "; ".join(kept or parts)


def _sentence(text: str) -> str:
    """Return a text with a capital at its beginning, all others left alone."""
    return text[:1].upper() + text[1:]


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    shown = table[["pair", "measure"]].copy()
    shown["r [95 % interval]"] = _with_interval(table["r"], table["low"], table["high"])
    shown["p"] = [
        p_text(p, None if pd.isna(n) else int(n))
        for p, n in zip(table["p"], table["n_permutations"], strict=True)
    ]
    return shown.assign(items=table["n_items"], scenarios=table["n_scenarios"])


def _repairs(table: pd.DataFrame) -> dict[str, Markup]:
    """Return one table per pair, under a title that says how many scenarios are resampled."""
    shown = {}
    for pair, rows in table.groupby("pair", sort=False):
        title = f"{TITLES[str(pair)].capitalize()} ({rows['n_scenarios'].iloc[0]} scenarios)"
        shown[title] = table_html(_repair(rows), "arms")
    return shown


def _repair(table: pd.DataFrame) -> pd.DataFrame:
    shown = pd.DataFrame({"ablation": table["ablation"] + "\n" + table["description"]})
    shown["judged"] = table["repaired"] + table["cost"].map(
        lambda cost: f"\n{cost}" if cost else ""
    )
    for figure in _SHOWN_IN_REPAIR:
        shown[figure.replace("_", " ")] = _with_interval(
            table[figure], table[f"{figure}_low"], table[f"{figure}_high"]
        )
    shown["spread"] = table["spread"].map("{:.2f}".format)
    shown["mass"] = table["option_mass"].map("{:.2f}".format)
    return shown


def _sweep(table: pd.DataFrame) -> pd.DataFrame:
    shown = table[["pair", "fitted_under", "layer"]].copy()
    for figure in _SHOWN_IN_REPAIR:
        shown[figure.replace("_", " ")] = table[figure].map("{:.2f}".format)
    return shown.assign(judged=table["repaired"])


def _with_interval(value: pd.Series, low: pd.Series, high: pd.Series) -> list[str]:
    return [f"{v:.2f} [{a:.2f}, {b:.2f}]" for v, a, b in zip(value, low, high, strict=True)]


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    return table.map(lambda cell: f"{cell:.3g}" if isinstance(cell, float) else cell)
