"""Which intervention removes the leak, and what does each one cost?

    python experiments/compare_interventions.py                 # the three entangled organisms
    python experiments/compare_interventions.py Qwen/Qwen2.5-7B-Instruct --out compare
    python experiments/compare_interventions.py organism:qwen3-disentangled
    python experiments/compare_interventions.py --quick

Every method has its layer and setting chosen on held-out pairs; the test items say what it did.
Prints one table per pair, writes report, figure and tables: without ``--out`` to new folders in
``runs/compare``. With the bundled organisms, whose truth is
known, it ends with exit code 1 unless two methods bring both leaks below .12 with secondary
accuracy not below the clean run, while the controls repair nothing, and unless nothing is called a
repair where nothing leaks.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

import entangle_lens as el
from entangle_lens.entanglement.comparison import CLEAN, CONTROLS
from entangle_lens.staging import claim

ORGANISMS = ("organism:qwen3-entangled", "organism:gemma3-entangled", "organism:mistral-entangled")
SMALL_LEAK = 0.12
REPAIRS = ("repaired", "partly repaired")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(ORGANISMS), metavar="MODEL")
    parser.add_argument("--out", type=Path, help="folder of the reports; none may be there yet")
    parser.add_argument("--methods", nargs="+", help="by name; all by default")
    parser.add_argument("--layers", default="all", help="all, 8, 4,8,12 or 4-12")
    parser.add_argument("--quick", action="store_true", help="one organism, fewer wordings")
    args = parser.parse_args()
    names = args.models[:1] if args.quick else args.models
    with ExitStack() as held:  # all folders before the work, which may take hours
        places = [_place(args.out, name) for name in names]
        folders = [held.enter_context(claim(each, fresh=args.out is None)) for each in places]
        sys.exit(compare(args, dict(zip(names, folders, strict=True))) > 0)


def _place(out: Path | None, name: str) -> Path:
    return (out or Path("runs/compare")) / name.replace(":", "-").replace("/", "-")


def compare(args: argparse.Namespace, folders: dict[str, Path]) -> int:
    """Compare, print and save, model by model; return how much is not as it was planted."""
    failed = 0
    for name, folder in folders.items():
        options = {"methods": args.methods} if args.methods else {}
        found = el.compare(el.load(name), quick=args.quick, layers=args.layers, **options)
        print(f"\n{name}\n{found}")
        print("report:", found.save(folder), flush=True)
        if name.startswith("organism:"):
            failed += misses(found.table(), planted=name.endswith("-entangled"))
    return failed


def misses(table: pd.DataFrame, *, planted: bool) -> int:
    """Say what is not as it was planted; return how much of it there is."""
    tried = table[table["method"] != CLEAN]
    controls = tried["method"].isin(CONTROLS)
    wrong = list(tried[controls & tried["verdict"].isin(REPAIRS)]["method"])
    if not planted:
        wrong += list(tried[tried["verdict"].isin(REPAIRS)]["method"])
    else:
        clean = table[table["method"] == CLEAN].set_index("pair")["accuracy"]
        kept = tried["accuracy"] >= tried["pair"].map(clean)
        good = tried[~controls & (tried["leak"].abs() < SMALL_LEAK) & kept]
        both = good["method"].value_counts() == table["pair"].nunique()
        print("both leaks below .12, accuracy kept:", ", ".join(both[both].index) or "none")
        wrong += [] if both.sum() >= 2 else ["fewer than two methods repair both pairs"]
    for each in wrong:
        print("NOT AS PLANTED:", each)
    return len(wrong)


if __name__ == "__main__":
    main()
