"""How fast is an intervention swept over layers?

    python experiments/benchmarks/sweep.py            # forty minutes on two cores
    python experiments/benchmarks/sweep.py --only entangle_lens "entangle_lens, many directions"
    python experiments/benchmarks/sweep.py --vocab 8b --device cuda --dtype bfloat16
    python experiments/benchmarks/sweep.py --quick

64 prompts (40 shared tokens, 16 of the item, 12 after it), a one-layer ablation at every layer,
nine rating options read at the last token. One of the contenders does the same for 20 random
directions a layer: what an intervention costs it, against what it costs in the sweep of one.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from contenders import CONTENDERS, MANY, OURS, PLAIN
from inputs import SHAPES, random_directions, rating_like_prompts, write_job, write_model
from race import Protocol, here_python, machine, print_table, race, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocab", choices=["32k", "152k", "8b"], default="152k")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--only", nargs="*", metavar="CONTENDER")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="a tiny model, to try the script")
    args = parser.parse_args()
    tolerance = 1e-4 if args.dtype == "float32" else 0.1
    protocol = Protocol(args.device, repetitions=args.repetitions, tolerance=tolerance)
    if args.quick:
        protocol = Protocol(args.device, warm_ups=1, repetitions=2)

    vocab = "tiny" if args.quick else args.vocab
    many = 3 if args.quick else 20
    with tempfile.TemporaryDirectory() as scratch:
        result = sweep(Path(scratch), vocab, many, args, protocol)
    write(args.out, f"sweep-{vocab}", result)
    contenders = result["contenders"]
    print_table(f"sweep-{vocab}", contenders, OURS)
    if MANY in contenders:
        share = contenders[MANY]["median_s"] / many / contenders[OURS]["median_s"]
        print(f"  {many} directions a layer: {share:.2f} of the cost an intervention")


def sweep(
    scratch: Path,
    vocab: str,
    n_directions: int,
    args: argparse.Namespace,
    protocol: Protocol,
) -> dict[str, Any]:
    shape = SHAPES[vocab]
    model, folder = scratch / vocab, scratch / f"{vocab}-job"
    write_model(model, shape, getattr(torch, args.dtype))
    tokens = rating_like_prompts(8 if args.quick else 64, shape.vocab)
    job = {
        "task": "sweep",
        "model": str(model),
        "dtype": args.dtype,
        "n_layers": shape.n_layers,
        "tokens": tokens,
        "options": list(range(10, 19)),
    }
    write_job(folder, job, random_directions(n_directions, shape.d_model))
    names = args.only or list(CONTENDERS["sweep"])
    reference = PLAIN if PLAIN in names else OURS
    return {
        "task": "sweep",
        "shape": vars(shape),
        "prompts": len(tokens),
        "directions": n_directions,
        "machine": machine(protocol),
        "contenders": race(here_python(names), folder, protocol, reference),
    }


if __name__ == "__main__":
    main()
