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
from entangle_lens.results.staging import MANIFEST, SUMMARY, staged, write_json

FOLDER, PAGE, TABLE = "multiverse", "multiverse.html", "multiverse.parquet"
_VERSIONS = ("entangle-lens", "numpy", "scipy", "pandas")
_SAME_R = 1e-9


def read_run(folder: Path) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Return the tables that a multiverse needs, and the run's manifest.

    Raises:
        EntangleError: no such folder, no run, half a run, a table that cannot be read.
    """
    if not folder.is_dir():
        raise EntangleError(
            f"no such folder: {str(folder)!r}; give one that entangle-lens run has written"
        )
    if not (folder / MANIFEST).is_file():
        raise EntangleError(
            f"{str(folder)!r} holds no {MANIFEST}: it is no run folder, or the run never ended"
        )
    manifest = _json(folder / MANIFEST)
    if "stimuli" not in manifest:
        raise EntangleError(f"{str(folder)!r} is not a folder that entangle-lens run has written")
    return {name: _table(folder, name) for name in TABLES}, manifest


def check_headline(folder: Path, findings: MultiverseFindings) -> None:
    """Refuse tables whose default universe is not the headline in the run's summary."""
    summary = _json(folder / SUMMARY)
    for curve in findings.curves:
        if curve.measure != BEHAVIOUR:
            continue
        said = summary.get(BEHAVIOUR, {}).get(curve.pair, {}).get("r")
        if said is None or curve.default_r is None:
            if said != curve.default_r:
                raise _changed(folder, curve.pair, said, curve.default_r)
        elif abs(said - curve.default_r) > _SAME_R:
            raise _changed(folder, curve.pair, said, curve.default_r)


def _changed(folder: Path, pair: str, said: object, found: object) -> EntangleError:
    return EntangleError(
        f"the tables of {str(folder)!r} give r = {found} for {pair} and its {SUMMARY} {said}: "
        "one of them was changed after the run"
    )


def check_multiverse_folder(folder: Path) -> None:
    """Refuse a folder that holds anything, before any work is done."""
    if folder.is_file():
        raise EntangleError(f"{str(folder)!r} is a file; give a new or empty folder with --out")
    if folder.is_dir() and any(folder.iterdir()):
        what = "holds a multiverse" if (folder / TABLE).exists() else "is not empty"
        raise EntangleError(f"{str(folder)!r} {what}; give a new or empty folder with --out")


def save_multiverse(folder: Path, findings: MultiverseFindings, of: Mapping[str, Any]) -> Path:
    """Write table, page, summary and manifest, whole or not at all; return the page's path.

    ``of`` says what run it is of: its manifest, or as much of it as there is.
    """
    check_multiverse_folder(folder)
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
    with staged(folder) as stage:
        findings.universes.to_parquet(stage / TABLE, index=False)
        (stage / PAGE).write_text(render_multiverse(findings, manifest), encoding="utf-8")
        write_json(stage / SUMMARY, summarise_multiverse(findings))
        write_json(stage / MANIFEST, manifest)
    return folder / PAGE


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
    except (OSError, ValueError) as error:
        raise EntangleError(
            f"{str(path)!r} cannot be read as parquet ({type(error).__name__})"
        ) from None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EntangleError(f"{str(path)!r} cannot be read ({type(error).__name__})") from None
    if not isinstance(value, dict):
        raise EntangleError(f"{str(path)!r} does not hold what entangle-lens run writes")
    return value
