"""One contender in a process of its own: loads the model, then does the job when it is told to.

Started by ``race.py``, with the interpreter of the contender's environment. Reads one command a
line and answers each with one line of JSON:

    run            do the job once; how many seconds it took
    answer PATH    do the job once and save its numbers
    memory         do the job once; the peak of memory above that of the loaded model
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("contender")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not stand among the replies
    torch.set_num_threads(args.threads)

    job = json.loads((args.folder / "job.json").read_text())
    job |= {"folder": str(args.folder), "device": args.device}
    if args.contender in ("nnterp", "steering-vectors", "repeng"):
        import peers as module
    else:
        import contenders as module
    do = module.CONTENDERS[job["task"]][args.contender](job)

    for line in sys.stdin:
        command, _, rest = line.strip().partition(" ")
        if command == "run":
            reply = {"seconds": timed(do, args.device)}
        elif command == "memory":
            reply = {"peak_bytes": peak_memory(do, args.device)}
        else:
            np.savez(rest, **{name: np.asarray(each) for name, each in do().items()})
            reply = {"saved": rest}
        print(json.dumps(reply), file=replies, flush=True)


def timed(do: Callable[[], object], device: str) -> float:
    synchronise(device)
    started = time.perf_counter()
    do()
    synchronise(device)
    return time.perf_counter() - started


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def peak_memory(do: Callable[[], object], device: str) -> int:
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        do()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = status_bytes("VmRSS")
    do()
    return status_bytes("VmHWM") - before


def status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


if __name__ == "__main__":
    main()
