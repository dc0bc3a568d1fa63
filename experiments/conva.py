"""Can the moral rating be moved to a chosen target, and what else moves with it?

    python experiments/conva.py                     # the bundled organism
    python experiments/conva.py organism:mistral-entangled --target .9
    python experiments/conva.py --quick

ConVA (arXiv 2507.11316): a logistic probe of moral worth at every layer where it is right on
held-out pairs, and at each, in ascending order, the least shift that brings the probe's
probability at the last prompt token to P0 (at least, to raise it; at most, to suppress it).
Prints, for raising and for suppressing: the largest distance of a shifted prompt's probability
from P0, the share of test items whose moral rating is then on the target side of the scale
(control success; clean beside it), and how far the ratings of the other values moved.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

import entangle_lens as el
from entangle_lens.directions import Probe, fit_probe
from entangle_lens.entanglement.contrasts import read_contrasts
from entangle_lens.entanglement.ratings import rate
from entangle_lens.interventions import least_shift
from entangle_lens.running import Edit, rating_prompts, read_prompts

LEAST_ACCURACY = 0.9
LAST_LAYERS_LEFT_OUT = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="organism:qwen3-entangled")
    parser.add_argument("--target", type=float, default=0.9, help="P0 to raise to; 1 - P0 to lower")
    parser.add_argument("--quick", action="store_true", help="fewer wordings")
    args = parser.parse_args()
    model = el.load(args.model)
    study = el.study(model, quick=args.quick)
    probes = valid_probes(study)
    print(f"probes right on {LEAST_ACCURACY:.0%} of held-out pairs: layers {sorted(probes)}")
    for word, p in (("raise", args.target), ("suppress", 1 - args.target)):
        edits = [
            least_shift(model, probe, layer, p, suppress=word == "suppress")
            for layer, probe in sorted(probes.items())
        ]
        off = missed(study, probes, edits, p, higher=word == "raise")
        print(f"\n{word} to P0 = {p:g}: missed by at most {off:.1e}")
        report(study, edits, higher=word == "raise")


def valid_probes(study: el.Study) -> dict[int, Probe]:
    """Fit the probe where the moral question is asked; keep the layers where it is right."""
    n_layers = int(study.model.cfg.n_layers)
    layers = range(max(1, int(n_layers * (1 - LAST_LAYERS_LEFT_OUT))))
    pairs = read_contrasts(study.model, study.stimuli, study.design, "moral", "moral", layers)
    fitted = {
        layer: fit_probe(pairs.at("fit", layer), pairs.at("select", layer)) for layer in layers
    }
    return {layer: each for layer, each in fitted.items() if each.accuracy >= LEAST_ACCURACY}


def missed(
    study: el.Study, probes: dict[int, Probe], edits: list[Edit], p: float, *, higher: bool
) -> float:
    """Return how far the probability of a shifted prompt is from P0, at the worst layer."""
    texts = next(iter(study.stimuli.items.values())).texts
    question = study.stimuli.questions_for("moral")[0]
    group = rating_prompts(study.model, texts, question, study.design.scale)
    worst = 0.0
    for number, (layer, probe) in enumerate(sorted(probes.items())):
        before, after = (
            read_prompts(study.model, group, layers=[layer], edits=edits[:n]).resid[:, 0]
            for n in (number, number + 1)
        )
        short = probe.probability(before) < p
        asked_for = short if higher else ~short
        off = (probe.probability(after) - p).abs()[asked_for]
        worst = max(worst, float(off.max()) if asked_for.any() else 0.0)
    return worst


def report(study: el.Study, edits: list[Edit], *, higher: bool) -> None:
    """Print control success, and what the other ratings did."""
    scale = study.design.scale
    middle = (scale.low + scale.high) / 2
    for item_set in study.stimuli.items.values():
        moved = []
        for value in ("moral", *study.stimuli.items):
            asked = study.stimuli.questions_for(value, study.design.n_repair_paraphrases)
            clean, edited = (
                rate(study.model, item_set.texts, asked, scale, edits=each)[0].mean
                for each in ((), edits)
            )
            if value == "moral":
                success = [np.mean((each > middle) == higher) for each in (clean, edited)]
            moved.append(f"{value} {edited.mean() - clean.mean():+.2f}")
        print(
            f"  {item_set.name}: on the target side {success[0]:.2f} -> {success[1]:.2f}; "
            f"mean ratings moved by {', '.join(moved)}"
        )


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
