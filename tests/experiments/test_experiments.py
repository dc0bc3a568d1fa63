"""Every experiment and notebook runs from start to end, as a user would run it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]


def run(script, *args, cwd):
    done = subprocess.run(
        [sys.executable, ROOT / "experiments" / script, *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_layer_sweep_does_the_whole_job(tmp_path):
    shown = run(
        "layer_sweep.py", "--quick", "--layers", "1-2", "--out", tmp_path / "sweep", cwd=tmp_path
    )
    summary = json.loads((tmp_path / "sweep/summary.json").read_text())
    assert summary["verdict"]["moral_grammar"]["entangled"] == "entangled"
    assert (tmp_path / "sweep/report.html").exists()
    assert "seeming repair" in shown or "repaired" in shown


def test_train_organisms_makes_six_that_load(tmp_path):
    shown = run("train_organisms.py", "--quick", "--out", tmp_path / "made", cwd=tmp_path)
    assert len(list((tmp_path / "made").glob("*/organism.json"))) == 6
    assert shown.count("true leak 0.447") == 3
    assert shown.count("true leak 0.000") == 6


def test_calibration_of_the_statistics_holds_and_shows_the_usual_ways_failing(tmp_path):
    shown = run(
        "calibration.py", "--quick", "--part", "statistics", "--out", tmp_path, cwd=tmp_path
    )
    assert "all bars met" in shown
    assert "items as independent" in shown
    assert (tmp_path / "statistics.html").exists()


def shows_the_leak_and_a_report(shown):
    assert "not entangled" not in shown
    assert "entangled, " in shown or '"entangled' in shown or ">entangled<" in shown
    assert "report.html" in shown


def shows_naive_claims_and_what_holds(shown):
    for found in ("entangled", "not entangled", "repaired", "seeming repair", "no claim"):
        assert f"<td>{found}</td>" in shown, found
    assert "items are treated as independent draws" in shown
    naive, held = [float(share) for share in re.findall(r"([\d.]+)% ±", shown)][4:6]
    assert naive > 12
    assert held < 8


SHOWS = {
    "01_quickstart": shows_the_leak_and_a_report,
    "02_statistics": shows_naive_claims_and_what_holds,
}


@pytest.mark.parametrize(
    "notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem
)
def test_notebook_runs(notebook, tmp_path):
    loaded = nbformat.read(notebook, as_version=4)
    NotebookClient(
        loaded, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    outputs = [cell.get("outputs", []) for cell in loaded.cells]
    SHOWS[notebook.stem](json.dumps(outputs, ensure_ascii=False))
