"""How fast are residuals captured? The last token's at every layer, and the difference of means.

    python experiments/benchmarks/extraction.py   # four races: hours on two cores
    python experiments/benchmarks/extraction.py --vocab 152k --shared 40 --without repeng
    python experiments/benchmarks/extraction.py --vocab 8b --device cuda --dtype bfloat16
    python experiments/benchmarks/extraction.py --quick

512 prompts of 8 to 96 tokens each, alone or after 40 shared tokens, through a random model of the
Qwen3 shape. Peers take part whose environment was made by ``make_peer_environments.py``. Contenders
that unembed every position are slow with the large vocabulary: ``--without`` leaves some out.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from contenders import CONTENDERS, OURS, PLAIN
from gpu import rates
from inputs import SHAPES, mixed_prompts, write_job, write_model
from make_peer_environments import PACKAGES, python_of
from race import Protocol, here_python, machine, print_table, race, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocab", choices=["32k", "152k", "8b"], action="append")
    parser.add_argument("--shared", type=int, choices=[0, 40], action="append")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--without", nargs="*", default=[], metavar="CONTENDER")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="a tiny model, to try the script")
    args = parser.parse_args()
    tolerance = 1e-4 if args.dtype == "float32" else 0.1
    protocol = Protocol(args.device, repetitions=args.repetitions, tolerance=tolerance)
    if args.quick:
        protocol = Protocol(args.device, warm_ups=1, repetitions=2)

    with tempfile.TemporaryDirectory() as scratch:
        for vocab in ["tiny"] if args.quick else args.vocab or ["32k", "152k"]:
            for shared in args.shared or [0, 40]:
                result = extraction(Path(scratch), vocab, shared, args, protocol)
                name = f"extraction-{vocab}-shared{shared}"
                write(args.out, name, result)
                print_table(name, result["contenders"], OURS)
                for each, speed in result["rates"].items():
                    print(f"  {each}: {speed}")


def extraction(
    scratch: Path, vocab: str, shared: int, args: argparse.Namespace, protocol: Protocol
) -> dict[str, Any]:
    shape = SHAPES[vocab]
    model, folder = scratch / vocab, scratch / f"{vocab}-{shared}"
    write_model(model, shape, getattr(torch, args.dtype))
    tokens = mixed_prompts(24 if args.quick else 512, shape.vocab, shared=shared)
    job = {
        "task": "extraction",
        "model": str(model),
        "dtype": args.dtype,
        "n_layers": shape.n_layers,
        "d_model": shape.d_model,
        "tokens": tokens,
    }
    write_job(folder, job)
    pythons = here_python(list(CONTENDERS["extraction"]))
    if not args.quick:
        pythons |= {peer: python_of(peer) for peer in PACKAGES if python_of(peer).exists()}
    pythons = {name: python for name, python in pythons.items() if name not in args.without}
    contenders = race(pythons, folder, protocol, reference=PLAIN)
    n_tokens = sum(map(len, tokens))
    return {
        "task": "extraction",
        "shape": vars(shape),
        "prompts": len(tokens),
        "prompt_tokens": n_tokens,
        "machine": machine(protocol),
        "contenders": contenders,
        "rates": rates(shape, n_tokens, contenders, args.device),
    }


if __name__ == "__main__":
    main()
