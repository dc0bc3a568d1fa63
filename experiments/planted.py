"""Planted truth: the leak that a study recovers against the leak that the generator has."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pandas as pd

import entangle_lens as el
from entangle_lens.models import info
from entangle_lens.organisms.train import train_organism
from entangle_lens.organisms.world import Leak

BUNDLED = ("organism:qwen3-disentangled", "organism:qwen3-entangled")
# With the bundled ones (0, 0) and (.5, .7): every lambda of 0, .1, .2, .3, .5, .7 for some pair.
BETWEEN = ((0.1, 0.2), (0.2, 0.3), (0.3, 0.1))
SLOPE_WITHIN = 0.1


def recovered(args: argparse.Namespace) -> tuple[pd.DataFrame, float]:
    """Study organisms of every strength, training those that are missing; return the slope too."""
    models = list(BUNDLED)
    for grammar, economic in () if args.quick else BETWEEN:
        folder = args.organisms / f"qwen3-{grammar:g}-{economic:g}"
        if not (folder / "organism.json").exists():
            train_organism("qwen3", Leak(grammar, economic), 0, folder, progress=True)
        models.append(str(folder))
    table = pd.DataFrame([row for each in models for row in _studied(each, args.quick)])
    table = table.sort_values("true", kind="stable", ignore_index=True)
    slope = float(np.polyfit(table["true"], table["leak"], 1)[0])
    return table, slope


def _studied(name: str, quick: bool) -> list[dict[str, object]]:
    model = el.load(name)
    card = json.loads((info(model).stimuli.parent / "organism.json").read_text())
    rows = []
    for pair, finding in el.study(model, quick=quick).run().findings.pairs.items():
        leak, after = finding.behaviour.leak, finding.repair.after
        rows.append(
            {
                "lambda": card["leak"][pair.removeprefix("moral_")],
                "pair": pair,
                "true": card["true_correlation"][pair],
                "leak": leak.value,
                "low": leak.low,
                "high": leak.high,
                "verdict": finding.entangled.word,
                "leak after": after.leak.value if after else np.nan,
                "accuracy": finding.repair.before.accuracy.value,
                "accuracy after": after.accuracy.value if after else np.nan,
            }
        )
    return rows


def missed(table: pd.DataFrame, slope: float) -> int:
    """Count the bars that are missed: the slope, and each false alarm where nothing leaks."""
    without = table[table["lambda"] == 0]
    return int(abs(slope - 1) > SLOPE_WITHIN) + int((without["verdict"] == "entangled").sum())
