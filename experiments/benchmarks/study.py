"""How long does the default study take, and what do sharing and resuming save it?

    python experiments/benchmarks/study.py             # the whole default design, 20 minutes
    python experiments/benchmarks/study.py --quick

The default study of a random Qwen3 shape with the bundled organism's tokenizer and stimuli: as it
is, and with every prompt run from its first token and every ablation from the first layer on.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from contenders import CONTENDERS, OURS
from inputs import write_job
from race import Protocol, here_python, machine, print_table, race, write

import entangle_lens as el
from entangle_lens.models import info
from entangle_lens.organisms.build import Shape, tiny_model

SHAPE = Shape(n_layers=10, d_model=384, d_mlp=1152, n_heads=6, n_kv_heads=3, d_head=64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--quick", action="store_true", help="a tiny model, to try the script")
    args = parser.parse_args()
    protocol = Protocol(args.device, warm_ups=1, repetitions=1 if args.quick else 3)
    shape = Shape(n_layers=3, d_model=32, d_mlp=64) if args.quick else SHAPE
    with tempfile.TemporaryDirectory() as scratch:
        result = study(Path(scratch), shape, args, protocol)
    write(args.out, "study", result)
    print_table("study", result["contenders"], OURS)
    for name, each in result["tokens"].items():
        print(f"  {name}: ran {each['tokens_run']:,} of {each['prompt_tokens']:,} prompt tokens")


def study(
    scratch: Path, shape: Shape, args: argparse.Namespace, protocol: Protocol
) -> dict[str, Any]:
    organism = info(el.load(device="cpu"))
    assert organism.stimuli is not None
    model = tiny_model("qwen3", len(organism.tokenizer), 0, shape)
    model.save_pretrained(scratch / "model")
    organism.tokenizer.save_pretrained(scratch / "model")
    shutil.copytree(organism.stimuli, scratch / "model" / "stimuli")
    job = {
        "task": "study",
        "model": str(scratch / "model"),
        "dtype": args.dtype,
        "quick": args.quick,
    }
    write_job(scratch / "job", job)
    names = list(CONTENDERS["study"])
    contenders = race(here_python(names), scratch / "job", protocol, OURS)
    tokens = {}
    for number, name in enumerate(names):
        with np.load(scratch / "job" / f"answer-{number}.npz") as answer:
            ran = next(answer[key] for key in answer if key.startswith("run"))
        tokens[name] = {"prompt_tokens": int(ran[1]), "tokens_run": round(float(ran[2]))}
    return {
        "task": "study",
        "shape": vars(shape),
        "parameters": sum(each.numel() for each in model.parameters()),
        "machine": machine(protocol),
        "contenders": contenders,
        "tokens": tokens,
    }


if __name__ == "__main__":
    main()
