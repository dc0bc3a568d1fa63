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

Prints the tables, writes them to ``--out`` and ends with exit code 1 where one of these fails.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.express as px
from planted import missed, recovered, write_figure
from simulations import Size, coverage, false_positives, layer_choice, meets

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
    tables = {
        "False positives at alpha .05, 17 scenarios": false_positives(rng, size),
        "Coverage of 95 % intervals, and power": coverage(rng, size),
        "False positives over layers, 17 scenarios": layer_choice(
            rng, Size(size.simulations // 4, size.resamples)
        ),
    }
    for title, table in tables.items():
        print(f"\n{title} ({size.simulations} simulations, {size.resamples} resamples)")
        print(table.round(3).to_string(index=False), flush=True)
    write_report(args.out / "statistics.html", tables)
    alarms, held, layers = tables.values()
    few = size.simulations // 4
    checks = [
        *(meets(each, size.simulations, 0.035, 0.065) for each in alarms["scenario permutation"]),
        *(meets(each, size.simulations, 0.92, 0.97) for each in held["coverage"]),
        *(meets(each, few, 0.035, 0.065) for each in layers["picked by validity"]),
        *(meets(each, few, 0.0, 0.065) for each in layers["max-statistic band"]),
        # The controls: what is usually done fails, or the simulation shows nothing.
        not meets(alarms["items as independent"].iloc[-1], size.simulations, 0.0, 0.1),
        *(not meets(each, few, 0.0, 0.15) for each in layers["picked by the largest r"]),
    ]
    return checks.count(False)


def planted(args: argparse.Namespace) -> int:
    """Recover what was planted, from no leak to a large one; return how many bars are missed."""
    table, slope = recovered(args)
    print("\nPlanted and recovered leak")
    print(table.round(3).to_string(index=False))
    print(f"slope of the recovered leak on the true one: {slope:.3f}", flush=True)
    table.to_csv(args.out / "planted.csv", index=False)
    write_figure(args.out / "planted.html", table)
    return missed(table, slope)


def write_report(path: Path, tables: dict[str, pd.DataFrame]) -> None:
    """Write every table with its figure into one HTML file that opens from disk."""
    parts = []
    for title, table in tables.items():
        figure = px.bar(
            table.astype({table.columns[0]: str}).melt(table.columns[0]),
            x=table.columns[0],
            y="value",
            color="variable",
            barmode="group",
            title=title,
            template="plotly_white",
        )
        parts += [figure.to_html(full_html=False, include_plotlyjs=not parts)]
        parts += [table.round(3).to_html(index=False, border=0)]
    path.write_text("<meta charset='utf-8'>" + "".join(parts), encoding="utf-8")


def organisms(args: argparse.Namespace) -> int:
    """Study every organism with every seed; return how many pairs miss their bar."""
    seeds = [0] if args.quick else args.seeds
    print(f"\n{HEAD}")
    failed = 0
    for name in args.only:
        model = el.load(ORGANISM_PREFIX + name)
        card = json.loads((info(model).stimuli.parent / "organism.json").read_text())
        for seed in seeds:
            study = el.study(model, seed=seed, quick=args.quick).run()
            for pair, finding in study.findings.pairs.items():
                true = card["true_correlation"][pair]
                good = meets_the_bars(finding, true, planted=any(card["leak"].values()))
                failed += not good
                print(
                    f"{name:<21} {seed:<4} {line(finding, true)}{'' if good else '  MISSED'}",
                    flush=True,
                )
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


def line(finding: Finding, true: float) -> str:
    before, after = finding.repair.before, finding.repair.after
    leak_after = f"{after.leak.value:6.3f}" if after else "     -"
    accuracy_after = f"{after.accuracy.value:.3f}" if after else "-"
    return (
        f"{finding.pair:<15} {true:5.3f} {finding.behaviour.leak.value:6.3f} {leak_after}  "
        f"{before.accuracy.value:.3f} -> {accuracy_after:<5} "
        f"{finding.entangled.word}, {finding.repaired.word}"
    )


if __name__ == "__main__":
    main()
