"""The folder of an analysis of rating tables: report, summary, tables, manifest."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from entangle_lens.errors import printable
from entangle_lens.panel.findings import PanelFindings
from entangle_lens.panel.scenarios import TEXTS
from entangle_lens.results.figures.panel import panel_figures
from entangle_lens.results.html import figures_html, table_html, template
from entangle_lens.results.panel_tables import (
    legend,
    models_table,
    ratings_table,
    reliability_row,
    shown_tables,
)
from entangle_lens.results.staging import (
    MANIFEST,
    REPORT,
    SUMMARY,
    save_results,
    without_nan,
    write_json,
)

_VERSIONS = ("entangle-lens", "numpy", "scipy", "pandas")
_SHOWN_TEXTS = 5
_TITLES = {"r": "", "reliability": "Without the raters' noise", "people": "Against people"}


def save_panel(folder: Path, findings: PanelFindings) -> Path:
    """Write tables, summary, manifest and report to a new folder; return the report's path."""
    manifest = panel_manifest(findings)

    def write(stage: Path) -> None:
        (stage / "tables").mkdir()
        models_table(findings).to_parquet(stage / "tables/models.parquet", index=False)
        ratings_table(findings).to_parquet(stage / "tables/ratings.parquet", index=False)
        findings.scenarios.table().to_parquet(stage / "tables/scenarios.parquet", index=False)
        write_json(stage / SUMMARY, summarise_panel(findings))
        write_json(stage / MANIFEST, manifest)

    return save_results(folder, write, REPORT, lambda: render_panel(findings, manifest))


def panel_manifest(findings: PanelFindings) -> dict[str, Any]:
    """Say what was analysed and how, so that it can be done again."""
    tables = [each for each in (*findings.tables, findings.people_table) if each]
    return {
        "kind": "ratings",
        "tables": [
            {
                "name": table.name,
                "is_people": table is findings.people_table,
                "sha256": table.sha256 or None,
                "columns": asdict(table.columns),
                "averaged_from_single_ratings": list(table.single),
            }
            for table in tables
        ],
        "scenarios_from": findings.scenarios.origin,
        "seed": findings.seed,
        "n_resamples": findings.n_resamples,
        "versions": {name: version(name) for name in _VERSIONS},
        "python": platform.python_version(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def summarise_panel(findings: PanelFindings) -> dict[str, Any]:
    """Return the analysis as nested plain values; what could not be measured is None."""
    models = {str(row.pop("model")): row for row in models_table(findings).to_dict("records")}
    people = findings.people
    summary = {
        "moral": findings.moral,
        "secondary": findings.secondary,
        "models": models,
        "people": None
        if people is None or people.entanglement is None
        else {
            "name": people.name,
            **people.entanglement.as_dict(),
            **reliability_row(people),
        },
        "scenarios_from": findings.scenarios.origin,
        "notes": list(findings.notes),
    }
    plain: dict[str, Any] = without_nan(summary)
    return plain


def render_panel(findings: PanelFindings, manifest: dict[str, Any]) -> str:
    """Return the report as HTML, plotly included."""
    return template("panel.html.jinja").render(
        findings=findings,
        notes=[note for note in findings.notes if not note.startswith(" ")],
        n_items=len(findings.tables[0].table),
        figures=figures_html(panel_figures(findings)),
        tables=[
            {"title": _TITLES[name], "table": table_html(table), "legend": legend(findings, name)}
            for name, table in shown_tables(findings).items()
        ],
        clusters=table_html(_clusters(findings)) if findings.scenarios.origin == TEXTS else "",
        manifest_text=json.dumps(manifest, indent=2),
    )


def _clusters(findings: PanelFindings) -> pd.DataFrame:
    """Return the guessed scenarios for reading: name, size, the first few texts."""
    table = findings.scenarios.table()
    texts = [printable(" / ".join(each[:_SHOWN_TEXTS])) for each in table["texts"]]
    names = [printable(name, one_line=True) for name in table["scenario_id"]]
    return pd.DataFrame({"scenario": names, "items": table["n_items"], "texts": texts})
