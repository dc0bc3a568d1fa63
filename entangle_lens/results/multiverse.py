"""The headline under every reasonable choice: behind ``el.multiverse`` and ``Study.multiverse``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from entangle_lens.entanglement.evidence import gather_evidence
from entangle_lens.entanglement.multiverse import MultiverseFindings, explore
from entangle_lens.errors import EntangleError, choices
from entangle_lens.results.figures.multiverse import multiverse_figures
from entangle_lens.results.multiverse_folder import (
    check_headline,
    read_headlines,
    read_run,
    save_multiverse,
)
from entangle_lens.results.multiverse_tables import as_text, curves_table


@dataclass(frozen=True)
class Multiverse:
    """Every universe of a run: ``findings`` holds all of it, the rest shows it.

    ``of`` says what run it is of (its manifest).
    """

    findings: MultiverseFindings
    of: Mapping[str, Any]

    def table(self) -> pd.DataFrame:
        """Return one row a universe: its choices, r, interval, p, default and circular or not."""
        return self.findings.universes

    def summary(self) -> pd.DataFrame:
        """Return one row per pair and measure: median r, range, shares, where the default sits."""
        return curves_table(self.findings)

    def figures(self) -> dict[str, go.Figure]:
        """Return one specification curve a pair and measure, by name."""
        return multiverse_figures(self.findings)

    def figure(self, pair: str = "moral_grammar", measure: str = "behaviour") -> go.Figure:
        """Return the specification curve of one pair and measure (behaviour or residual)."""
        figures, name = self.figures(), f"multiverse-{pair}-{measure}"
        if name not in figures:
            known = [f"{curve.pair}, {curve.measure}" for curve in self.findings.curves]
            raise EntangleError(
                f"there is no curve of {pair!r}, {measure!r}; there are {choices(known)}"
            )
        return figures[name]

    def save(self, folder: str | Path) -> Path:
        """Write table, page, summary and manifest to a new folder; return the page's path."""
        return save_multiverse(Path(folder), self.findings, self.of)

    def __str__(self) -> str:
        return as_text(self.findings)


def multiverse(run: str | Path, *, seed: int = 0) -> Multiverse:
    """Compute the headline of a run folder under every reasonable choice; no model is needed.

    Args:
        run: a folder that ``entangle-lens run`` or ``Study.save`` has written.
        seed: of the resamples and permutations; the estimates do not depend on it.

    Raises:
        EntangleError: no such folder, no run, half a run, tables that do not hold together.
    """
    if seed < 0:
        raise EntangleError(f"seed {seed} is negative; a whole number from 0 on was expected")
    folder = Path(run)
    tables, manifest = read_run(folder)
    read_headlines(folder)
    findings = explore(gather_evidence(tables), seed)
    check_headline(folder, findings)
    return Multiverse(findings, manifest)
