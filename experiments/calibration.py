"""Does the instrument find what was planted, and nothing where nothing was?

    python experiments/calibration.py                      # all of it: half an hour on two cores
    python experiments/calibration.py --part statistics    # simulated ratings, minutes
    python experiments/calibration.py --part planted       # trains three organisms, 15 minutes
    python experiments/calibration.py --part organisms --only qwen3-entangled
    python experiments/calibration.py --quick

Statistics, on simulated ratings: at alpha .05 the scenario-level test gives a false alarm in
3.5-6.5 % of tables and the 95 % interval holds the true correlation in 92-97 %, however alike the
items of a scenario are; the band over layers keeps its level. Beside them the usual ways, which
do not.

Planted truth, on organisms from no leak to a large one (those that do not ship are trained): the
recovered leak rises with the generator's own with slope 1 within .1, and none without a leak is
called entangled. The leak after the repair stands beside it.

Organisms, with seeds 0, 1 and 2: an entangled one is judged entangled, with the leak within .08 of
the generator's own; its moral-grammar pair is repaired, and its moral-economic leak falls by 60 %
or more with economic accuracy not below the clean run; a disentangled one is judged not entangled,
with nothing to repair.

Prints the tables, writes them to ``--out`` with one report, ``report.html``, and ends with exit
code 1 where one of these fails. With ``--quick`` a simulated rate has to be compatible with its bar
at 99 %, in full it has to lie within.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from calibration_report import SECTIONS, write_table
from planted import missed, recovered
from simulations import Size, coverage, false_positives, layer_choice, meets, mixed_sizes

import entangle_lens as el
from entangle_lens.entanglement.study import Finding
from entangle_lens.models import info
from entangle_lens.organisms.bundle import ORGANISM_PREFIX, bundled_organisms

PARTS = ("statistics", "planted", "organisms")
LARGEST_ERROR = 0.08
SMALLEST_FALL = 0.6
HEAD = "organism              seed pair            true   leak   after  accuracy       verdict"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["all", *PARTS], default="all")
    parser.add_argument("--out", type=Path, default=Path("runs/calibration"))
    parser.add_argument("--organisms", type=Path, default=Path("runs/organisms"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=bundled_organisms(), metavar="ORGANISM")
    parser.add_argument("--quick", action="store_true", help="seed 0, fewer wordings and samples")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name, part in {
        "statistics": statistics,
        "planted": planted,
        "organisms": organisms,
    }.items():
        if args.part in ("all", name):
            failed += part(args)
    print(f"{failed} missed" if failed else "all bars met")
    sys.exit(failed > 0)


def statistics(args: argparse.Namespace) -> int:
    """Simulate, print and write the tables; return how many conditions miss their bar."""
    size = Size(200, 400) if args.quick else Size(2000, 1000)
    rng = np.random.default_rng(0)
    tables = {}
    for simulate in (false_positives, mixed_sizes, coverage, layer_choice):
        name = simulate.__name__
        tables[name] = simulate(rng, size)
        write_table(args.out, name, tables[name])
        title = SECTIONS[name].title
        print(f"\n{title} ({size.simulations} simulations, {size.resamples} resamples)")
        print(tables[name].round(3).to_string(index=False), flush=True)
    alarms, mixed, held, layers = tables.values()
    few = size.simulations if args.quick else None
    checks = [
        *(meets(each, 0.035, 0.065, few) for each in alarms["scenario test"]),
        *(meets(each, 0.035, 0.065, few) for each in mixed["scenario test"]),
        *(meets(each, 0.92, 0.97, few) for each in held["coverage"]),
        *(meets(each, 0.035, 0.065, few) for each in layers["picked by validity"]),
        *(meets(each, 0.0, 0.065, few) for each in layers["max-statistic band"]),
        # The controls: what is usually done fails, or the simulation shows nothing.
        *(
            not meets(each["items as independent"].iloc[-1], 0.0, 0.1, few)
            for each in (alarms, mixed)
        ),
        *(not meets(each, 0.0, 0.15, few) for each in layers["picked by the largest r"]),
    ]
    return checks.count(False)


def planted(args: argparse.Namespace) -> int:
    """Recover what was planted, from no leak to a large one; return how many bars are missed."""
    table, slope = recovered(args)
    print("\nPlanted and recovered leak")
    print(table.round(3).to_string(index=False))
    print(f"slope of the recovered leak on the true one: {slope:.3f}", flush=True)
    write_table(args.out, "planted", table)
    return missed(table, slope)


def organisms(args: argparse.Namespace) -> int:
    """Study every organism with every seed; return how many pairs miss their bar."""
    seeds = [0] if args.quick else args.seeds
    print(f"\n{HEAD}")
    failed, rows = 0, []
    for name in args.only:
        model = el.load(ORGANISM_PREFIX + name)
        card = json.loads((info(model).stimuli.parent / "organism.json").read_text())
        for seed in seeds:
            study = el.study(model, seed=seed, quick=args.quick).run()
            for pair, finding in study.findings.pairs.items():
                true = card["true_correlation"][pair]
                good = meets_the_bars(finding, true, planted=any(card["leak"].values()))
                failed += not good
                rows.append({"organism": name, "seed": seed, **measured(finding, true)})
                print(line(rows[-1]) + ("" if good else "  MISSED"), flush=True)
    write_table(args.out, "organisms", pd.DataFrame(rows))
    return failed


def meets_the_bars(finding: Finding, true: float, *, planted: bool) -> bool:
    before, after = finding.repair.before, finding.repair.after
    near = abs(finding.behaviour.leak.value - true) <= LARGEST_ERROR
    if not planted:
        words = (finding.entangled.word, finding.repaired.word)
        return near and words == ("not entangled", "nothing to repair")
    if finding.entangled.word != "entangled" or not near or after is None:
        return False
    if finding.pair == "moral_grammar":
        return finding.repaired.word == "repaired"
    fall = 1 - abs(after.leak.value) / abs(before.leak.value)
    return fall >= SMALLEST_FALL and after.accuracy.value >= before.accuracy.value


def measured(finding: Finding, true: float) -> dict[str, Any]:
    before, after = finding.repair.before, finding.repair.after
    return {
        "pair": finding.pair,
        "true": true,
        "leak": finding.behaviour.leak.value,
        "leak after": after.leak.value if after else np.nan,
        "accuracy": before.accuracy.value,
        "accuracy after": after.accuracy.value if after else np.nan,
        "verdict": f"{finding.entangled.word}, {finding.repaired.word}",
    }


def line(row: dict[str, Any]) -> str:
    return (
        f"{row['organism']:<21} {row['seed']:<4} {row['pair']:<15} {row['true']:5.3f} "
        f"{row['leak']:6.3f} {row['leak after']:6.3f}  "
        f"{row['accuracy']:.3f} -> {row['accuracy after']:.3f} {row['verdict']}"
    )


if __name__ == "__main__":
    main()
