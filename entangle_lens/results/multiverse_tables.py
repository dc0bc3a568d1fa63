"""A multiverse as DataFrames, plain text and plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from entangle_lens.entanglement.multiverse import Curve, MultiverseFindings
from entangle_lens.results.staging import without_nan

_SHOWN_MOVES = 3


def curves_table(findings: MultiverseFindings) -> pd.DataFrame:
    """Return one row a pair and measure: counts, median, range, shares, where the default sits."""
    rows = []
    for curve in findings.curves:
        row = asdict(curve)
        moves = row.pop("moves")
        rows.append(row | {f"moved_by_{choice}": share for choice, share in moves.items()})
    return pd.DataFrame(rows)


def shown_curves(findings: MultiverseFindings) -> pd.DataFrame:
    """Return the same to read, every cell text."""
    return pd.DataFrame([_shown(curve) for curve in findings.curves])


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
    return f"{len(findings.universes):,} universes, {drawn}, shared by all"


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
        "n_universes": len(findings.universes),
        "n_resamples": findings.n_resamples,
        "n_permutations": findings.n_permutations,
        "seed": findings.seed,
        "pairs": pairs,
        "notes": list(findings.notes),
    }
    plain: dict[str, Any] = without_nan(summary)
    return plain


def _shown(curve: Curve) -> dict[str, str]:
    default = "none"
    if curve.default_r is not None:
        default = f"{curve.default_r:.2f} ({curve.default_rank} of {curve.n_universes})"
    shown = {
        "pair": curve.pair,
        "measure": curve.measure,
        "universes": f"{curve.n_universes:,}",
        "median r": _two(curve.median),
        "range": f"{_two(curve.low)} to {_two(curve.high)}",
        "p of median": f"{curve.p_median:.2g}" if np.isfinite(curve.p_median) else "",
        "same sign": f"{curve.same_sign:.0%}",
        "and p < .05": f"{curve.significant:.0%}",
        "default r (from the lowest)": default,
    }
    if curve.n_undefined:
        shown["universes"] += f" (+ {curve.n_undefined:,} without a correlation)"
    return shown


def _two(number: float) -> str:
    return f"{number:.2f}"
