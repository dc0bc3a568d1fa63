"""The protocol: same numbers first, then warm-ups, then interleaved repetitions, then memory.

Every contender is a process of its own (:mod:`worker`), so that none disturbs another's memory, and
only one of them runs at a time.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import psutil
import torch

HERE = Path(__file__).parent
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Protocol:
    """How a race is run."""

    device: str = "cpu"
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    warm_ups: int = 3
    repetitions: int = 7
    tolerance: float = TOLERANCE


class Contender:
    """A worker process that does what it is told, one command after the other."""

    def __init__(self, name: str, folder: Path, python: Path | str, protocol: Protocol) -> None:
        self.name = name
        command = [str(python), str(HERE / "worker.py"), name, str(folder)]
        command += ["--device", protocol.device, "--threads", str(protocol.threads)]
        threads = {"OMP_NUM_THREADS": str(protocol.threads), "TOKENIZERS_PARALLELISM": "false"}
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ | threads | {"HF_HUB_OFFLINE": "1"},
        )

    def ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self._log.seek(0)
            raise SystemExit(f"{self.name} failed:\n{self._log.read()[-2000:]}") from None

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()


def race(
    pythons: Mapping[str, Path | str], folder: Path, protocol: Protocol, reference: str
) -> dict[str, Any]:
    """Run the job in ``folder`` by every contender; return seconds, memory and differences.

    Raises:
        SystemExit: a contender fails, or its numbers are not those of ``reference``.
    """
    runners = {name: Contender(name, folder, python, protocol) for name, python in pythons.items()}
    try:
        differences = _same_numbers(runners, folder, protocol, reference)
        for runner in runners.values():
            for _ in range(protocol.warm_ups - 1):  # the answer was the first
                runner.ask("run")
        seconds: dict[str, list[float]] = {name: [] for name in runners}
        order = list(runners)
        for repetition in range(protocol.repetitions):
            turn = repetition % len(order)
            for name in [*order[turn:], *order[:turn]]:
                seconds[name].append(runners[name].ask("run")["seconds"])
                print(f"  {name}: {seconds[name][-1]:.2f} s", file=sys.stderr, flush=True)
        peaks = {name: runner.ask("memory")["peak_bytes"] for name, runner in runners.items()}
    finally:
        for runner in runners.values():
            runner.close()
    return {
        name: {
            "median_s": statistics.median(seconds[name]),
            "fastest_s": min(seconds[name]),
            "slowest_s": max(seconds[name]),
            "seconds": [round(each, 4) for each in seconds[name]],
            "peak_mb": round(peaks[name] / 1e6),
            "largest_difference": differences[name],
        }
        for name in runners
    }


def _same_numbers(
    runners: Mapping[str, Contender], folder: Path, protocol: Protocol, reference: str
) -> dict[str, float]:
    answers = {}
    for name, runner in runners.items():
        path = folder / f"answer-{len(answers)}.npz"
        runner.ask(f"answer {path}")
        with np.load(path) as saved:
            answers[name] = dict(saved)
    found = {name: largest_difference(each, answers[reference]) for name, each in answers.items()}
    wrong = {name: each for name, each in found.items() if not each <= protocol.tolerance}
    if wrong:
        raise SystemExit(f"not the numbers of {reference}: {wrong} (allowed {protocol.tolerance})")
    return found


def largest_difference(answer: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]) -> float:
    """Return the largest difference in what both hold; NaN entries are left out.

    In units of the right numbers' root mean square where that is above one.
    """
    largest = 0.0
    for name in set(answer) & set(right):
        known = np.isfinite(answer[name])
        if known.mean() < 0.5:
            return float("nan")
        scale = max(1.0, float(np.sqrt(np.mean(np.square(right[name])))))
        largest = max(largest, float(np.abs(answer[name] - right[name])[known].max()) / scale)
    return largest


def machine(protocol: Protocol) -> dict[str, Any]:
    """Say where and how it was measured."""
    import transformers

    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    gpu = torch.cuda.get_device_name() if protocol.device.startswith("cuda") else None
    return {
        "cpu": cpu,
        "gpu": gpu,
        "threads": protocol.threads,
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "warm_ups": protocol.warm_ups,
        "repetitions": protocol.repetitions,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def write(out: Path, name: str, result: dict[str, Any]) -> None:
    """Write the result as JSON, and its figure as one HTML file."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    shown = figure(name, result["contenders"])
    config = {"showSendToCloud": False, "displaylogo": False}
    shown.write_html(out / f"{name}.html", include_plotlyjs=True, config=config)


def figure(title: str, contenders: Mapping[str, Mapping[str, Any]]) -> go.Figure:
    """Draw every repetition of every contender, and the medians."""
    shown = go.Figure()
    for name, each in sorted(contenders.items(), key=lambda pair: -pair[1]["median_s"]):
        shown.add_trace(
            go.Bar(
                y=[name],
                x=[each["median_s"]],
                orientation="h",
                marker_color="#2a6f97" if name.startswith("entangle_lens") else "#adb5bd",
                text=f"{each['median_s']:.2f} s",
                textposition="outside",
                cliponaxis=False,
            )
        )
        shown.add_trace(
            go.Scatter(
                y=[name] * len(each["seconds"]),
                x=each["seconds"],
                mode="markers",
                marker={"color": "#212529", "size": 5, "opacity": 0.5},
            )
        )
    return shown.update_layout(
        title=f"{title}: seconds, median of {len(each['seconds'])} (points: each repetition)",
        template="plotly_white",
        showlegend=False,
        xaxis_title="seconds",
        xaxis_rangemode="tozero",
        height=140 + 45 * len(contenders),
        margin={"l": 200, "r": 80},
    )


def print_table(title: str, contenders: Mapping[str, Mapping[str, Any]], ours: str) -> None:
    base = contenders[ours]["median_s"]
    print(f"\n{title}")
    print(f"{'':<28}{'median':>9}{'range':>18}{'x ours':>8}{'peak MB':>9}{'difference':>12}")
    for name, each in contenders.items():
        spread = f"{each['fastest_s']:.2f}-{each['slowest_s']:.2f}"
        print(
            f"{name:<28}{each['median_s']:>8.2f}s{spread:>18}{each['median_s'] / base:>8.2f}"
            f"{each['peak_mb']:>9}{each['largest_difference']:>12.1e}"
        )


def here_python(names: Sequence[str]) -> dict[str, Path | str]:
    """Give the interpreter that runs this to every contender in ``names``."""
    return dict.fromkeys(names, sys.executable)
