"""How much memory does it take, and does it grow with the number of prompts?

    python experiments/benchmarks/memory.py
    python experiments/benchmarks/memory.py --quick

1,000 and 10,000 prompts of 8 to 96 tokens, vocabulary 152k: streamed moments of every layer's
residual, and scores of nine options. The peak above the loaded weights, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from inputs import SHAPES, mixed_prompts, write_job, write_model
from race import Contender, Protocol, machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--quick", action="store_true", help="a tiny model, to try the script")
    args = parser.parse_args()
    protocol = Protocol(args.device)
    found: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for n_prompts in (20,) if args.quick else (1000, 10_000):
            for kind in ("moments", "scoring"):
                peak = peak_of(Path(scratch), kind, n_prompts, args, protocol)
                found.setdefault(kind, {})[str(n_prompts)] = peak
                print(f"{kind}, {n_prompts} prompts: {peak} MB above the weights", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    result = {"task": "memory", "machine": machine(protocol), "peak_mb": found}
    (args.out / "memory.json").write_text(json.dumps(result, indent=1) + "\n")


def peak_of(
    scratch: Path, kind: str, n_prompts: int, args: argparse.Namespace, protocol: Protocol
) -> int:
    vocab = "tiny" if args.quick else "152k"
    shape = SHAPES[vocab]
    write_model(scratch / vocab, shape, torch.float32)
    job: dict[str, Any] = {
        "task": "memory",
        "model": str(scratch / vocab),
        "dtype": "float32",
        "tokens": mixed_prompts(n_prompts, shape.vocab),
        "options": list(range(10, 19)),
    }
    folder = scratch / f"{kind}-{n_prompts}"
    write_job(folder, job)
    import sys

    runner = Contender(kind, folder, sys.executable, protocol)
    try:
        return round(runner.ask("memory")["peak_bytes"] / 1e6)
    finally:
        runner.close()


if __name__ == "__main__":
    main()
