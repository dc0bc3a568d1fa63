"""The run folder: whole or not at all, and everything in it reads back."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

import entangle_lens as el
from entangle_lens.results import run_folder as rooms

PAIRS = ("moral_grammar", "moral_economic")
CORRELATION = {"r", "low", "high", "p", "n_items", "n_scenarios"}


@pytest.fixture(scope="module")
def summary(run_folder):
    return json.loads((run_folder / "summary.json").read_text())


def test_run_folder_holds_what_was_promised(run_folder):
    held = {path.relative_to(run_folder).as_posix() for path in run_folder.rglob("*")}
    assert {"manifest.json", "summary.json", "report.html"} <= held
    assert {f"tables/{name}.parquet" for name in ("items", "ratings", "repair", "null")} <= held
    assert "directions/moral_under_grammar.safetensors" in held
    assert not [name for name in held if "partial" in name]


def test_manifest_says_what_was_run_on_what(run_folder, entangled_study):
    manifest = json.loads((run_folder / "manifest.json").read_text())
    assert manifest["model"] == "organism:qwen3-entangled"
    assert manifest["stimuli"]["sha256"] == entangled_study.stimuli.digest
    assert manifest["chat_template"] == entangled_study.model.tokenizer.chat_template
    assert manifest["dtype"] == "float32"
    assert manifest["versions"]["torch"] == torch.__version__
    assert {"revision", "seed", "layers", "scale", "python"} <= set(manifest)


@pytest.mark.parametrize("pair", PAIRS)
def test_summary_holds_every_promised_number(summary, pair):
    for measure in ("behaviour", "embedding", "residual"):
        assert set(summary[measure][pair]) >= CORRELATION
    assert set(summary["residual"][pair]) >= {"layer", "auc"}
    assert set(summary["repair"][pair]) >= {
        "leak_before", "leak_after", "null_low", "null_high", "secondary_accuracy_before",
        "secondary_accuracy_after", "moral_accuracy_after", "option_mass_after",
    }  # fmt: skip
    assert set(summary["verdict"][pair]) >= {"entangled", "repaired", "reason"}
    assert summary["side_effects"]["kl"] >= 0
    assert {"model", "stimuli"} <= set(summary)


@pytest.mark.parametrize("pair", PAIRS)
def test_summary_equals_the_saved_item_ratings(run_folder, summary, pair):
    """The headline numbers, taken once more from the tables by the plainest means."""
    items = pd.read_parquet(run_folder / "tables/items.parquet").query("pair == @pair")
    behaviour = summary["behaviour"][pair]
    r = np.corrcoef(items["moral_rating"], items["secondary_rating"])[0, 1]
    leak = np.corrcoef(items["moral"], items["secondary_rating"])[0, 1]
    assert behaviour["r"] == pytest.approx(r, abs=1e-9)
    assert behaviour["leak"]["r"] == pytest.approx(leak, abs=1e-9)
    assert behaviour["n_items"] == len(items)
    assert behaviour["n_scenarios"] == items["scenario_id"].nunique()
    null = pd.read_parquet(run_folder / "tables/null.parquet").query("pair == @pair")["leak"]
    assert summary["repair"][pair]["null_low"] == pytest.approx(np.quantile(null, 0.025))


def test_directions_read_back_as_they_were(run_folder, entangled_study):
    path = run_folder / "directions/moral_under_grammar.safetensors"
    fitted = entangled_study.directions.at_layers(("moral", "grammar"))
    for layer in fitted.layers:
        read = el.load_direction(path, layer)
        assert read.vector.equal(fitted.vectors[fitted.row(layer)])
        assert read.quality == fitted.at(layer).quality
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["model"] == "organism:qwen3-entangled"
    assert metadata["hook_point"] == "resid_post"


def test_direction_read_back_ablates_like_the_first(run_folder, entangled_study):
    model, first = entangled_study.model, entangled_study.directions["moral", "grammar"]
    read = el.load_direction(run_folder / "directions/moral_under_grammar.safetensors", first.layer)
    tokens = torch.arange(2, 12)[None]
    logits = []
    for direction in (first, read):
        with el.ablate(model, direction):
            logits.append(model(tokens))
    assert logits[0].equal(logits[1])
    assert not logits[0].allclose(model(tokens), atol=1e-3)


def test_direction_at_a_layer_that_is_not_there_is_refused(run_folder):
    path = run_folder / "directions/moral_under_moral.safetensors"
    with pytest.raises(el.EntangleError, match=r"holds no layer 99; it holds \[0, 1"):
        el.load_direction(path, 99)
    with pytest.raises(el.EntangleError, match="no such file"):
        el.load_direction(run_folder / "directions/joy.safetensors", 0)


def test_run_folder_that_holds_a_run_is_left_alone(run_folder, entangled_study):
    before = {path: path.stat().st_mtime_ns for path in run_folder.rglob("*")}
    with pytest.raises(el.EntangleError, match="holds another run"):
        entangled_study.save(run_folder)
    assert {path: path.stat().st_mtime_ns for path in run_folder.rglob("*")} == before


def test_run_that_fails_while_saving_leaves_nothing(tmp_path, entangled_study, monkeypatch):
    def fail(*args):
        raise RuntimeError("disk full")

    monkeypatch.setattr(rooms, "summarise_findings", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        entangled_study.save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    entangled_study.save(tmp_path / "run")
    assert (tmp_path / "run/manifest.json").exists()


def test_manifest_is_written_after_all_data_and_the_page_after_it(
    tmp_path, entangled_study, monkeypatch
):
    run, real = tmp_path / "run", rooms.render_report

    def render(*args):
        held = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
        assert {"manifest.json", "summary.json", "tables/ratings.parquet"} <= held
        return real(*args)

    monkeypatch.setattr(rooms, "render_report", render)
    assert entangled_study.save(run).read_text()
    stamps = {p.name: p.stat().st_mtime_ns for p in run.iterdir() if p.is_file()}
    assert max(stamps, key=stamps.get) == "report.html"
    assert stamps["manifest.json"] >= stamps["summary.json"]
