"""Does the instrument find what was planted? Every bundled organism, with several seeds.

    python experiments/calibration.py            # six organisms, seeds 0, 1 and 2
    python experiments/calibration.py --quick    # seed 0, fewer wordings and samples
    python experiments/calibration.py --only qwen3-entangled mistral-entangled

Prints one line an organism, pair and seed, and ends with exit code 1 where one of these fails:
an entangled organism is judged entangled, with the leak within .08 of the generator's own; its
moral-grammar pair is repaired, and its moral-economic leak falls by 60 % or more with economic
accuracy not below the clean run; a disentangled organism is judged not entangled, with nothing to
repair.
"""

from __future__ import annotations

import argparse
import json
import sys

import entangle_lens as el
from entangle_lens.entanglement.study import Finding
from entangle_lens.models import info
from entangle_lens.organisms.bundle import ORGANISM_PREFIX, bundled_organisms

LARGEST_ERROR = 0.08
SMALLEST_FALL = 0.6
HEAD = "organism              seed pair            true   leak   after  accuracy       verdict"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=bundled_organisms(), metavar="ORGANISM")
    parser.add_argument("--quick", action="store_true", help="seed 0, fewer wordings and samples")
    args = parser.parse_args()
    seeds = [0] if args.quick else args.seeds
    print(HEAD)
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
    print(f"{failed} missed" if failed else "all bars met")
    sys.exit(failed > 0)


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
