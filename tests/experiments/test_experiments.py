"""Every experiment and notebook runs from start to end, as a user would run it."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

import entangle_lens as el
from entangle_lens.results.staging import save_results, write_json

ROOT = Path(__file__).parents[2]
COLUMNS = ["pair", "fitted_under", "layer", "leak", "apparent", "accuracy", "repaired"]


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


def test_layer_sweep_never_loses_a_run_to_an_earlier_one(tmp_path, monkeypatch, capsys):
    """Run twice, with a study that measures nothing: the second run gets a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["layer_sweep.py"])
    table = pd.DataFrame(columns=COLUMNS, dtype=float)
    done = []

    def save(folder):
        return save_results(folder, lambda stage: write_json(stage / "manifest.json", {}), "r", str)

    def study(*_, **__):
        done.append(1)
        return SimpleNamespace(
            plan=str, run=str, verdict=lambda: table, tables=lambda: {"layer_sweep": table},
            save=save,
        )  # fmt: skip

    monkeypatch.setattr(el, "load", lambda *_: None, raising=False)
    monkeypatch.setattr(el, "study", study, raising=False)
    for _ in range(2):
        runpy.run_path(str(ROOT / "experiments/layer_sweep.py"), run_name="__main__")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "layer_sweep", "layer_sweep-2",
    ]  # fmt: skip
    assert len(list(tmp_path.glob("runs/*/manifest.json"))) == 2
    monkeypatch.setattr(sys, "argv", ["layer_sweep.py", "--out", "runs/layer_sweep"])
    with pytest.raises(el.EntangleError, match="holds another run"):
        runpy.run_path(str(ROOT / "experiments/layer_sweep.py"), run_name="__main__")
    assert len(done) == 2
    assert "report: " in capsys.readouterr().out


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
    report = (tmp_path / "report.html").read_text()
    assert report.count("plotly-graph-div") == report.count("<table") == 4
    rates = pd.read_csv(tmp_path / "false_positives.csv")
    assert rates["items as independent"].iloc[-1] > 2 * rates["scenario test"].iloc[-1]


def test_calibration_recovers_what_was_planted(tmp_path):
    shown = run("calibration.py", "--quick", "--part", "planted", "--out", tmp_path, cwd=tmp_path)
    assert "all bars met" in shown
    slope = float(re.search(r"slope of the recovered leak on the true one: ([\d.]+)", shown)[1])
    assert 0.9 <= slope <= 1.1
    assert "What was planted and what is found" in (tmp_path / "report.html").read_text()


def test_word_frequencies_are_those_that_ship(tmp_path):
    shipped = ROOT / "entangle_lens/data/stimuli/goods"
    frame = pd.read_csv(shipped / "covariates.csv", dtype=str)
    frame.rename(columns={"log_frequency": "kept"}).to_csv(tmp_path / "covariates.csv", index=False)
    shutil.copy(shipped / "items.csv", tmp_path)
    run("word_frequencies.py", tmp_path, cwd=tmp_path)
    made = pd.read_csv(tmp_path / "covariates.csv", dtype=str)
    assert list(made) == ["item_id", "kept", "log_frequency"]
    assert (
        made["log_frequency"].tolist() == made["kept"].tolist() == frame["log_frequency"].tolist()
    )
    assert frame["log_frequency"].nunique() > 100


def test_interventions_are_compared_and_two_repair_both_pairs(tmp_path):
    few = ("ablation", "LEACE", "subspace, pair differences")
    options = ("--quick", "--layers", "2", "--methods", *few, "--out", tmp_path / "made")
    shown = run("compare_interventions.py", *options, cwd=tmp_path)
    kept = re.search("accuracy kept: (.*)", shown)[1]
    assert "LEACE" in kept
    assert "subspace, pair differences" in kept
    assert (tmp_path / "made/organism-qwen3-entangled/report.html").exists()


def test_conva_reaches_its_probability_and_moves_the_moral_rating(tmp_path):
    shown = run("conva.py", "--quick", cwd=tmp_path)
    missed = [float(each) for each in re.findall(r"missed by at most ([\d.e-]+)", shown)]
    assert len(missed) == 2
    assert max(missed) < 1e-3
    raised, lowered = (shown.split("raise")[1].split("suppress")[0], shown.split("suppress")[1])
    for part, sign in ((raised, 1), (lowered, -1)):
        for before, after in re.findall(r"side ([\d.]+) -> ([\d.]+)", part):
            assert float(after) > float(before)
        assert all(sign * float(each) > 0.5 for each in re.findall(r"by moral ([+-][\d.]+)", part))


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


def shows_repairs_and_a_checkpoint(shown):
    assert shown.count(">repaired<") >= 2
    assert float(re.search(r"weights against hooks: ([\d.e-]+)", shown)[1]) < 1e-5
    assert float(re.search(r"weights against the clean model: ([\d.e+-]+)", shown)[1]) > 0.1
    assert "the repair holds" in shown
    assert "refused: " in shown


SHOWS = {
    "01_quickstart": shows_the_leak_and_a_report,
    "02_statistics": shows_naive_claims_and_what_holds,
    "03_repair": shows_repairs_and_a_checkpoint,
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
