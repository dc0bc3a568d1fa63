"""The run folder: everything of a study on disk, written whole or not at all."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from entangle_lens.directions import LayerDirections
from entangle_lens.entanglement.design import Design
from entangle_lens.entanglement.study import Findings
from entangle_lens.export.direction_reader import RUN_FORMAT
from entangle_lens.models import ModelInfo
from entangle_lens.results.report import render_report
from entangle_lens.results.staging import (
    MANIFEST,
    REPORT,
    SUMMARY,
    save_results,
    without_nan,
    write_json,
)
from entangle_lens.results.summary import summarise_findings
from entangle_lens.results.tables import all_tables
from entangle_lens.stimuli import Stimuli

_VERSIONS = ("entangle-lens", "transformer-lens", "transformers", "torch", "numpy", "scipy")


def save_run(
    folder: Path, findings: Findings, about: ModelInfo, stimuli: Stimuli, design: Design
) -> Path:
    """Write tables, directions, summary, manifest and report; return the report's path.

    A folder with a manifest holds all data. The report comes after it, and a report that cannot be
    made loses nothing else.

    Raises:
        EntangleError: as :func:`entangle_lens.results.staging.save_results`.
    """
    manifest = make_manifest(about, stimuli, design) | {
        "prompting": findings.prompting.as_dict(),
        "plan": findings.plan.as_dict(),
        "seconds": round(findings.cost.seconds, 1),
    }

    def write(stage: Path) -> None:
        (stage / "tables").mkdir()
        for name, table in all_tables(findings).items():
            table.to_parquet(stage / "tables" / f"{name}.parquet", index=False)
        (stage / "directions").mkdir()
        for fitted in findings.directions.fitted.values():
            save_layer_directions(
                stage / "directions" / f"{fitted.value}_under_{fitted.question}.safetensors",
                fitted,
                findings.directions.provenance,
            )
        write_json(stage / SUMMARY, summarise_findings(findings, about, stimuli, design))
        write_json(stage / MANIFEST, without_nan(manifest))

    return save_results(folder, write, REPORT, lambda: render_report(findings, about, manifest))


def make_manifest(about: ModelInfo, stimuli: Stimuli, design: Design) -> dict[str, Any]:
    """Say what was run on what, so that it can be run again."""
    return {
        "model": about.name,
        "revision": about.revision,
        "architecture": about.architecture,
        "dtype": about.dtype,
        "device": about.device,
        "chat_template": about.tokenizer.chat_template,
        "stimuli": {"name": stimuli.name, "sha256": stimuli.digest},
        **design.as_dict(),
        "hook_point": "resid_post",
        "position": "last prompt token",
        "versions": {name: version(name) for name in _VERSIONS},
        "python": platform.python_version(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def save_layer_directions(
    path: Path, fitted: LayerDirections, provenance: Mapping[str, str]
) -> None:
    """Save a value's directions at all layers, with metadata that says what they are."""
    metadata = {
        **provenance,
        "format": RUN_FORMAT,
        "value": fitted.value,
        "question": fitted.question,
        "method": "difference of means",
        "layers": json.dumps(fitted.layers),
        "auc": json.dumps(fitted.auc.tolist()),
        "d_prime": json.dumps(fitted.d_prime.tolist()),
        "split_half_cosine": json.dumps(fitted.split_half_cosine.tolist()),
        "version": version("entangle-lens"),
    }
    tensors = {"vectors": fitted.vectors.contiguous(), "means": fitted.means.contiguous()}
    save_file(tensors, path, metadata=metadata)
