"""The benchmarks run, tiny, to their end: contenders agree, results and figures are written."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "experiments" / "benchmarks"


def run(script, out, *options):
    command = [sys.executable, BENCHMARKS / script, "--quick", "--out", out, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=out)


@pytest.mark.parametrize(
    ("script", "options", "name"),
    [
        ("extraction.py", ["--shared", "40"], "extraction-tiny-shared40"),
        ("sweep.py", [], "sweep-tiny"),
        ("study.py", [], "study"),
    ],
)
def test_benchmark_runs_and_its_contenders_agree(tmp_path, script, options, name):
    done = run(script, tmp_path, *options)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / f"{name}.json").read_text())
    contenders = result["contenders"]
    assert len(contenders) >= 2
    assert all(each["largest_difference"] <= 1e-4 for each in contenders.values())
    assert all(len(each["seconds"]) >= 1 for each in contenders.values())
    assert result["machine"]["threads"] >= 1
    assert (tmp_path / f"{name}.html").exists()


def test_memory_benchmark_runs(tmp_path):
    done = run("memory.py", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    peaks = json.loads((tmp_path / "memory.json").read_text())["peak_mb"]
    assert set(peaks) == {"moments", "scoring"}


def test_race_is_off_where_a_contender_has_other_numbers(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from race import largest_difference

    right = {"resid": np.ones((3, 4)), "more": np.zeros(2)}
    assert largest_difference({"resid": np.ones((3, 4))}, right) == 0
    assert largest_difference({"resid": 1.1 * np.ones((3, 4))}, right) == pytest.approx(0.1)
    assert np.isnan(largest_difference({"resid": np.full((3, 4), np.nan)}, right))
