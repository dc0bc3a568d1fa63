"""Interventions side by side: behind ``el.compare``."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from entangle_lens.entanglement.comparison import CLEAN, Compared, Comparison, compare_interventions
from entangle_lens.entanglement.design import BOTH, Design, Layers
from entangle_lens.entanglement.methods import METHODS
from entangle_lens.errors import EntangleError
from entangle_lens.models import Model, ModelInfo, info
from entangle_lens.results.figures.comparison import leakage_figure, pareto
from entangle_lens.results.html import figures_html, table_html, template
from entangle_lens.results.staging import (
    MANIFEST,
    REPORT,
    SUMMARY,
    save_results,
    without_nan,
    write_json,
)
from entangle_lens.results.study import Study, stimuli_for
from entangle_lens.stimuli import Scale, Stimuli

_SHOWN = ["method", "setting", "layer", "leak", "accuracy", "moral_accuracy", "kl", "verdict"]


@dataclass(frozen=True)
class InterventionComparison:
    """What was found: ``findings`` holds all of it, the rest shows it."""

    findings: Comparison
    about: ModelInfo
    design: Design
    stimuli_digest: str

    def table(self) -> pd.DataFrame:
        """Return one row per pair and intervention: repair, damage, and how it was chosen."""
        return pd.DataFrame([_row(each, self.findings) for each in self.findings.rows])

    def leakage(self) -> pd.DataFrame:
        """Return r(design level, rating) under each intervention, one row per pair and level."""
        rows = [
            {"pair": each.pair, "method": each.method, "level": level, "question": question, "r": r}
            for each in self.findings.rows
            for (level, question), r in each.leakage.items()
        ]
        return pd.DataFrame(rows)

    def figure(self) -> go.Figure:
        """Return repair against damage, one panel per pair, the Pareto front drawn in."""
        return pareto(self.table())

    def save(self, folder: str | Path) -> Path:
        """Write report, tables and manifest to a new folder; return the report's path."""

        def write(stage: Path) -> None:
            (stage / "tables").mkdir()
            self.table().to_parquet(stage / "tables/comparison.parquet", index=False)
            self.leakage().to_parquet(stage / "tables/leakage.parquet", index=False)
            records = self.table().to_dict("records")
            summary = {"recommended": self.findings.recommended, "rows": records}
            write_json(stage / SUMMARY, without_nan(summary))
            write_json(stage / MANIFEST, self._manifest())

        return save_results(Path(folder), write, REPORT, self._report)

    def __str__(self) -> str:
        """Return the tables as text, with the recommendation under each."""
        parts = []
        for pair, rows in self.table().groupby("pair", sort=False):
            shown = rows[_SHOWN].round(3).to_string(index=False, na_rep="")
            parts.append(f"{pair}\n{shown}\n{self.recommendation(str(pair))}")
        parts += self.findings.notes
        return "\n\n".join(parts)

    def recommendation(self, pair: str) -> str:
        """Say which method the rule chooses on held-out pairs, and how the test items judge it."""
        entangled = self.findings.entangled(pair)
        if entangled.word != "entangled":
            return f"judged {entangled.word}: nothing to repair ({entangled.reason})"
        name = self.findings.recommended[pair]
        if name is None:
            return "no method passes the filters on held-out pairs"
        judgement = self.findings.row(pair, name).outcome.judgement
        assert judgement is not None
        text = f"chosen on held-out pairs: {name}; on the test items: {judgement.headline}"
        if judgement.word not in ("repaired", "partly repaired"):
            return f"{text}, so the two disagree ({judgement.reason})"
        return "; ".join([text, *judgement.price.sentences])

    def _report(self) -> str:
        table = self.table()
        figures = {"pareto": pareto(table), "leakage": leakage_figure(self.leakage())}
        pairs = [
            {
                "name": pair,
                "recommendation": self.recommendation(str(pair)),
                "table": table_html(rows.drop(columns="pair").map(_short)),
            }
            for pair, rows in table.groupby("pair", sort=False)
        ]
        return template("comparison.html.jinja").render(
            about=self.about,
            pairs=pairs,
            notes=self.findings.notes,
            figures=figures_html(figures),
            methods=table_html(methods_table()),
            manifest_text=json.dumps(self._manifest(), indent=2),
        )

    def _manifest(self) -> dict[str, object]:
        return {
            "kind": "comparison",
            "model": self.about.name,
            "revision": self.about.revision,
            "dtype": self.about.dtype,
            "stimuli_sha256": self.stimuli_digest,
            **self.design.as_dict(),
            "versions": {"entangle-lens": version("entangle-lens"), "torch": version("torch")},
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def compare(
    model: Model,
    stimuli: Stimuli | str | Path | None = None,
    methods: Sequence[str] = tuple(METHODS),
    *,
    scale: Scale | str = "1:9",
    seed: int = 0,
    quick: bool = False,
    layers: Layers | None = None,
    polarity: str = BOTH,
    progress: bool = False,
) -> InterventionComparison:
    """Compare ways to remove the moral value, each at its best on held-out pairs.

    Layer and setting of every method are chosen on scenarios of the selection split, by a rule
    that is fixed before (:mod:`entangle_lens.entanglement.validation`); the test items then say
    what it did. Controls: a prompt, label-shuffled and random directions.

    Raises:
        EntangleError: a method that is not known, or as :func:`entangle_lens.study`.
    """
    if not methods:
        raise EntangleError("no method was given; name at least one")
    design = Design.make(scale=scale, seed=seed, quick=quick, layers=layers, polarity=polarity)
    asked = Study(model, stimuli_for(model, stimuli), design)
    findings = compare_interventions(model, asked.stimuli, design, methods, progress=progress)
    return InterventionComparison(findings, info(model), design, asked.stimuli.digest)


def methods_table() -> pd.DataFrame:
    """Return every method with its formula, its source and when to use it."""
    return pd.DataFrame(
        [
            {"method": each.name, "formula": each.formula, "source": each.source, "use": each.when}
            for each in METHODS.values()
        ]
    )


def _row(each: Compared, findings: Comparison) -> dict[str, object]:
    outcome, chosen = each.outcome, each.validation
    candidate = chosen.candidate if chosen else None
    row: dict[str, object] = {
        "pair": each.pair,
        "method": each.method,
        "setting": candidate.setting if candidate else "",
        "layer": float("nan") if candidate is None or candidate.layer is None else candidate.layer,
        "verdict": outcome.judgement.word if outcome.judgement else CLEAN,
        "cost": "; ".join(outcome.judgement.price.sentences) if outcome.judgement else "",
        "leak": outcome.leak.value,
        "leak_low": outcome.leak.low,
        "leak_high": outcome.leak.high,
        "accuracy": outcome.accuracy.value,
        "moral_accuracy": outcome.moral_accuracy.value,
        "apparent": outcome.apparent.value,
        "spread": outcome.spread,
        "mass": outcome.mass,
        **asdict(each.damage),
        "size": each.size,
        "left": chosen.left if chosen else float("nan"),
        "kept": chosen.kept if chosen else float("nan"),
        "spread_kept": chosen.spread if chosen else float("nan"),
        "passes": chosen.passes if chosen else None,
        "failures": "; ".join(chosen.failures) if chosen else "",
        "chosen": each.method == findings.recommended[each.pair],
    }
    return row


def _short(cell: object) -> object:
    if not isinstance(cell, float):
        return cell
    return "" if math.isnan(cell) else f"{cell:.3g}"
