"""Where does removing the morality direction repair a model, and where does it only seem to?

    python experiments/layer_sweep.py                                   # the bundled organism
    python experiments/layer_sweep.py Qwen/Qwen2.5-7B-Instruct --out sweep
    python experiments/layer_sweep.py --quick

The same job as ``entangle-lens run``, from Python: measure, ablate at every single layer, judge
each by the one rule. Prints the table and writes the run folder with its report: without ``--out``
a new one, ``runs/layer_sweep``, ``runs/layer_sweep-2`` and so on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import entangle_lens as el
from entangle_lens.staging import claim

COLUMNS = ["pair", "fitted_under", "layer", "leak", "apparent", "accuracy", "repaired"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="hub id, folder or organism:NAME")
    parser.add_argument("--out", type=Path, help="new or empty folder; by default one under runs/")
    parser.add_argument("--layers", default="all", help="all, 8, 4,8,12 or 4-12")
    parser.add_argument("--quick", action="store_true", help="fewer wordings and samples")
    args = parser.parse_args()

    out = args.out or Path("runs/layer_sweep")
    with claim(out, fresh=args.out is None) as folder:  # before the work, which may take hours
        model = el.load(args.model) if args.model else el.load()
        study = el.study(model, layers=args.layers, quick=args.quick)
        print("plan:", study.plan())
        study.run()

        print(study.verdict().to_string(index=False))
        sweep = study.tables()["layer_sweep"]
        print(sweep[COLUMNS].round(2).to_string(index=False))
        print("report:", study.save(folder))


if __name__ == "__main__":
    main()
