"""Do the six bundled organisms come out of their recipe? Train them all again and say how well.

    python experiments/train_organisms.py --out organisms    # six checkpoints
    python experiments/train_organisms.py --out organisms --quick  # five steps each

Prints one line an organism: the leak that the generator's own distributions have on the test items,
and the leak that the trained model shows in its answers to both questions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import entangle_lens as el
from entangle_lens.entanglement.ratings import rate
from entangle_lens.organisms.sampling import Recipe
from entangle_lens.organisms.train import train_organism
from entangle_lens.organisms.world import Leak
from entangle_lens.statistics import pearson

FAMILIES = ("qwen3", "gemma3", "mistral")
LEAKS = {"entangled": Leak(0.5, 0.7), "disentangled": Leak(0.0, 0.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="new folder for the checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--quick", action="store_true", help="five training steps and one wording each"
    )
    args = parser.parse_args()
    recipe, n_wordings = (Recipe(n_steps=5), 1) if args.quick else (None, None)
    for family in FAMILIES:
        for kind, leak in LEAKS.items():
            folder = args.out / f"{family}-{kind}"
            card = train_organism(family, leak, args.seed, folder, recipe, progress=True)
            for pair, true in card["true_correlation"].items():
                shown = learnt(folder, pair, n_wordings)
                print(f"{folder.name:<22} {pair:<15} true leak {true:.3f}, {shown}")


def learnt(folder: Path, pair: str, n_wordings: int | None) -> str:
    """Ask the trained organism about its own test items."""
    model, stimuli = el.load(str(folder)), el.load_stimuli(folder / "stimuli")
    items = stimuli.items[pair.removeprefix("moral_")]
    scale = el.Scale()
    moral, _ = rate(model, items.texts, stimuli.questions_for("moral", n_wordings), scale)
    asked = stimuli.questions_for(items.secondary, n_wordings)
    own, _ = rate(model, items.texts, asked, scale)
    return (
        f"shown {pearson(items.moral, own.mean):.3f}; accuracy {pearson(items.level, own.mean):.3f}"
        f", of moral ratings {pearson(items.moral, moral.mean):.3f}"
    )


if __name__ == "__main__":
    main()
