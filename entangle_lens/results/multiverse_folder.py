"""The multiverse of a run folder: its tables read, the multiverse written beside them."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import ArrowException

from entangle_lens.entanglement.evidence import TABLES
from entangle_lens.entanglement.multiverse import MultiverseFindings
from entangle_lens.entanglement.universes import BEHAVIOUR
from entangle_lens.errors import EntangleError
from entangle_lens.results.figures.multiverse import multiverse_figures
from entangle_lens.results.html import figures_html, table_html, template
from entangle_lens.results.multiverse_tables import (
    headline,
    shown_curves,
    shown_moves,
    summarise_multiverse,
)
from entangle_lens.results.run_files import read_json, read_manifest
from entangle_lens.results.staging import MANIFEST, SUMMARY, save_results, write_json

PAGE, TABLE = "multiverse.html", "multiverse.parquet"
_VERSIONS = ("entangle-lens", "numpy", "scipy", "pandas")
_SAME_R = 1e-9


def read_run(folder: Path) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Return the tables that a multiverse needs, and the run's manifest.

    Raises:
        EntangleError: no such folder, no run, half a run, a table that cannot be read.
    """
    manifest = read_manifest(folder)
    return {name: _table(folder, name) for name in TABLES}, manifest


def check_headline(folder: Path, findings: MultiverseFindings) -> None:
    """Refuse tables whose default universe is not the headline in the run's summary."""
    headlines = read_headlines(folder)
    for curve in findings.curves:
        if curve.measure != BEHAVIOUR:
            continue
        said = headlines.get(curve.pair)
        if said is None or curve.default_r is None:
            if said != curve.default_r:
                raise _changed(folder, curve.pair, said, curve.default_r)
        elif abs(said - curve.default_r) > _SAME_R:
            raise _changed(folder, curve.pair, said, curve.default_r)


def read_headlines(folder: Path) -> dict[str, float | None]:
    """Return r of the ratings by pair, as the run's summary says it.

    Raises:
        EntangleError: a summary that cannot be read or does not hold them.
    """
    behaviour = read_json(folder / SUMMARY).get(BEHAVIOUR)
    headlines = {}
    for pair, each in behaviour.items() if isinstance(behaviour, dict) else ():
        r = each.get("r") if isinstance(each, dict) else ""
        if isinstance(r, bool) or not isinstance(r, int | float | None):
            raise EntangleError(
                f"{str(folder / SUMMARY)!r} gives r = {r!r} for {pair}; a number was expected"
            )
        headlines[str(pair)] = r
    if not headlines:
        raise EntangleError(f"{str(folder / SUMMARY)!r} holds no correlation of ratings")
    return headlines


def _changed(folder: Path, pair: str, said: object, found: object) -> EntangleError:
    return EntangleError(
        f"the tables of {str(folder)!r} give r = {found} for {pair} and its {SUMMARY} {said}: "
        "one of them was changed after the run"
    )


def save_multiverse(folder: Path, findings: MultiverseFindings, of: Mapping[str, Any]) -> Path:
    """Write table, summary, manifest and page to a new folder; return the page's path.

    ``of`` says what run it is of: its manifest, or as much of it as there is.
    """
    manifest = {
        "kind": "multiverse",
        "of": dict(of),
        "seed": findings.seed,
        "n_resamples": findings.n_resamples,
        "n_permutations": findings.n_permutations,
        "versions": {name: version(name) for name in _VERSIONS},
        "python": platform.python_version(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }

    def write(stage: Path) -> None:
        findings.universes.to_parquet(stage / TABLE, index=False)
        write_json(stage / SUMMARY, summarise_multiverse(findings))
        write_json(stage / MANIFEST, manifest)

    return save_results(folder, write, PAGE, lambda: render_multiverse(findings, manifest))


def render_multiverse(findings: MultiverseFindings, manifest: Mapping[str, Any]) -> str:
    """Return the page as HTML, plotly included."""
    return template("multiverse.html.jinja").render(
        model=str(manifest["of"].get("model", "")),
        headline=headline(findings),
        notes=findings.notes,
        figures=figures_html(multiverse_figures(findings)),
        tables=[table_html(shown_curves(findings)), table_html(shown_moves(findings))],
        manifest_text=json.dumps(manifest, indent=2),
    )


def _table(folder: Path, name: str) -> pd.DataFrame:
    path = folder / "tables" / f"{name}.parquet"
    if not path.is_file():
        raise EntangleError(
            f"{str(folder)!r} lacks tables/{name}.parquet, which the multiverse is computed from; "
            "run the model again with this version"
        )
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError, ArrowException) as error:
        raise EntangleError(
            f"{str(path)!r} cannot be read as parquet ({type(error).__name__})"
        ) from None
