"""Make the example tables for ``entangle-lens ratings``: a model's ratings and simulated people's.

The model is a bundled organism in which morality leaks into grammar ratings. The people are made
up: they rate each value by its own level, with noise, so that nothing leaks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import entangle_lens as el

N_SCENARIOS = 12
FOLDER = Path(__file__).parents[1] / "examples" / "ratings"


def main() -> None:
    """Write ``model.csv`` and ``people.csv``."""
    study = el.study(el.load("organism:qwen3-entangled"))
    items = study.stimuli.items["grammar"].thinned(N_SCENARIOS)
    named = items.table[["item_id", "scenario_id", "text"]]
    ratings = {name: study.rate(items.texts, name).to_numpy().round(2) for name in VALUES}
    named.assign(**ratings).to_csv(FOLDER / "model.csv", index=False)
    rng = np.random.default_rng(0)
    levels = {"moral": items.moral, "grammar": items.level}
    people = {name: simulate(levels[name], rng) for name in VALUES}
    named.assign(**people).to_csv(FOLDER / "people.csv", index=False)
    print(pd.read_csv(FOLDER / "model.csv").head())


VALUES = ("moral", "grammar")


def simulate(level: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return ratings from 1 to 9 that follow one level, with noise."""
    standard = (level - level.mean()) / level.std()
    return np.clip(5 + 2 * standard + rng.normal(0, 0.8, len(level)), 1, 9).round(2)


if __name__ == "__main__":
    main()
