"""A multiverse as DataFrames, plain text and plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from entangle_lens.entanglement.multiverse import Curve, MultiverseFindings
from entangle_lens.results.staging import without_nan
from entangle_lens.text import p_text

_SHOWN_MOVES = 3


def curves_table(findings: MultiverseFindings) -> pd.DataFrame:
    """Return one row per pair and measure: counts, median, range, shares, and the default."""
    rows = []
    for curve in findings.curves:
        row = asdict(curve)
        moves = row.pop("moves")
        rows.append(row | {f"moved_by_{choice}": share for choice, share in moves.items()})
    return pd.DataFrame(rows)


def shown_curves(findings: MultiverseFindings) -> pd.DataFrame:
    """Return the same to read, every cell text."""
    return pd.DataFrame([_shown(curve, findings.n_permutations) for curve in findings.curves])


def shown_moves(findings: MultiverseFindings) -> pd.DataFrame:
    """Return which choices move the result, most first, every cell text."""
    return pd.DataFrame(
        {
            "pair": curve.pair,
            "measure": curve.measure,
            "moved most by (share of the variance over universes)": ", ".join(
                f"{choice.replace('_', ' ')} {share:.0%}"
                for choice, share in list(curve.moves.items())[:_SHOWN_MOVES]
            ),
        }
        for curve in findings.curves
    )


def headline(findings: MultiverseFindings) -> str:
    """Say how many universes there are and what they share."""
    drawn = f"{findings.n_permutations:,} permutations of whole scenarios"
    if findings.n_resamples:
        drawn = f"{findings.n_resamples:,} resamples and {drawn}"
    aside = [f"{findings.n_circular:,} circular ones that are shown and not counted"]
    if findings.n_undefined:
        aside.append(f"{findings.n_undefined:,} without a correlation")
    besides = " and ".join(aside)
    return f"{findings.n_universes:,} universes (besides {besides}), {drawn}, shared by all"


def as_text(findings: MultiverseFindings) -> str:
    """Return what the command line prints."""
    tables = [shown_curves(findings), shown_moves(findings)]
    blocks = [headline(findings), *(table.to_string(index=False) for table in tables)]
    return "\n\n".join([*blocks, "\n".join(findings.notes)])


def summarise_multiverse(findings: MultiverseFindings) -> dict[str, Any]:
    """Return the multiverse in numbers as nested plain values; None where there is none."""
    pairs: dict[str, Any] = {}
    for curve in findings.curves:
        row = asdict(curve)
        pairs.setdefault(row.pop("pair"), {})[row.pop("measure")] = row
    summary = {
        "n_universes": findings.n_universes,
        "n_circular": findings.n_circular,
        "n_undefined": findings.n_undefined,
        "n_resamples": findings.n_resamples,
        "n_permutations": findings.n_permutations,
        "seed": findings.seed,
        "pairs": pairs,
        "notes": list(findings.notes),
    }
    plain: dict[str, Any] = without_nan(summary)
    return plain


def _shown(curve: Curve, n_permutations: int) -> dict[str, str]:
    default = "none"
    if curve.default_r is not None:
        default = f"{curve.default_r:.2f} ({curve.default_rank} of {curve.n_universes})"
    shown = {
        "pair": curve.pair,
        "measure": curve.measure,
        "universes": f"{curve.n_universes:,}",
        "median r": _two(curve.median),
        "range": f"{_two(curve.low)} to {_two(curve.high)}" if curve.n_universes else "",
        "p of median": p_text(curve.p_median, n_permutations),
        "same sign": _share(curve.same_sign),
        "and p < .05": _share(curve.significant),
        "default r (from the lowest)": default,
    }
    if curve.n_undefined:
        shown["universes"] += f" (+ {curve.n_undefined:,} without a correlation)"
    if curve.n_circular:
        shown["universes"] += f" (+ {curve.n_circular:,} circular)"
    return shown


def _two(number: float) -> str:
    return f"{number:.2f}" if np.isfinite(number) else ""


def _share(number: float) -> str:
    return f"{number:.0%}" if np.isfinite(number) else ""
