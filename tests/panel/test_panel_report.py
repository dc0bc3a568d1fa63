"""What is shown and kept of rating tables: figure, folder, report."""

import json

import pandas as pd
import pytest

import entangle_lens as el


@pytest.fixture
def analysis(make_ratings):
    tables = {
        "leaky": make_ratings(leak=1.0, seed=1),
        "<b>odd</b> name": make_ratings(leak=0.0, seed=2),
        "flat": make_ratings().assign(moral=5),
    }
    return el.analyse_ratings(tables, human=make_ratings(leak=0.1, seed=3))


def test_forest_plot_shows_every_model_and_people(analysis):
    figure = analysis.figure()
    drawn = figure.data[0]
    table = analysis.table().dropna(subset="r").sort_values("r")
    assert list(drawn.y) == table["model"].tolist()
    assert list(drawn.x) == table["r"].tolist()
    assert list(drawn.error_x.array) == pytest.approx((table["high"] - table["r"]).tolist())
    lines = [each.x0 for each in figure.layout.shapes if each.type == "line"]
    assert analysis.findings.people.entanglement.value in lines
    said = " ".join(str(each.text) for each in figure.layout.annotations)
    assert "people" in said
    assert "no correlation: moral ratings constant" in said


def test_marks_are_filled_where_the_corrected_p_is_small(analysis):
    colours = dict(
        zip(analysis.figure().data[0].y, analysis.figure().data[0].marker.color, strict=True)
    )
    table = analysis.table().set_index("model")["p_corrected"].dropna()
    assert {name: colour != "white" for name, colour in colours.items()} == (table < 0.05).to_dict()
    assert set(table < 0.05) == {True, False}


def test_folder_holds_report_summary_tables_and_manifest(analysis, tmp_path):
    report = analysis.save(tmp_path / "out")
    held = {path.relative_to(tmp_path / "out").as_posix() for path in report.parent.rglob("*.*")}
    assert held == {
        "report.html",
        "summary.json",
        "manifest.json",
        *(f"tables/{name}.parquet" for name in ("models", "ratings", "scenarios")),
    }
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    table = analysis.table().set_index("model")
    assert summary["models"]["leaky"]["r"] == table.loc["leaky", "r"]
    assert summary["models"]["flat"]["r"] is None
    assert summary["people"]["n_scenarios"] == 17
    saved = pd.read_parquet(tmp_path / "out/tables/models.parquet")
    pd.testing.assert_frame_equal(saved, analysis.table())
    ratings = pd.read_parquet(tmp_path / "out/tables/ratings.parquet")
    again = ratings.query("rater == 'leaky'")[["moral", "secondary"]].corr().iloc[0, 1]
    assert again == pytest.approx(table.loc["leaky", "r"], abs=1e-12)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_manifest_is_written_last_and_says_what_was_read(make_ratings, tmp_path):
    make_ratings().to_csv(tmp_path / "m.csv", index=False)
    el.analyse_ratings(tmp_path / "m.csv", seed=4).save(tmp_path / "out")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["seed"] == 4
    assert manifest["tables"][0]["columns"]["moral"] == "moral"
    assert len(manifest["tables"][0]["sha256"]) == 64
    assert str(tmp_path) not in json.dumps(manifest)
    times = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert times["manifest.json"] == max(times.values())


def test_used_folder_is_left_alone(analysis, tmp_path):
    analysis.save(tmp_path / "out")
    with pytest.raises(el.EntangleError, match="holds another run"):
        analysis.save(tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("precious")
    with pytest.raises(el.EntangleError, match="not empty"):
        analysis.save(tmp_path / "mine")
    with pytest.raises(el.EntangleError, match="cannot be written"):
        analysis.save(tmp_path / "mine/thesis.tex/out")


def test_report_needs_no_network_and_escapes_names(analysis, tmp_path):
    html = analysis.save(tmp_path / "out").read_text()
    assert 'src="http' not in html
    assert "<link" not in html
    assert "<td><b>odd" not in html
    assert "&lt;b&gt;odd" in html
    for part in ("Against people", "no correlation: moral ratings constant", "Steiger"):
        assert part in html


def test_report_of_one_table_draws_its_items(make_ratings, texts_of, tmp_path):
    table = make_ratings().drop(columns="scenario_id")
    table["text"] = texts_of(table)
    html = el.analyse_ratings(table, scenario_from_text=True).save(tmp_path / "out").read_text()
    assert "Item by item" in html
    assert "The guessed scenarios" in html
    blind = el.analyse_ratings(table).save(tmp_path / "blind").read_text()
    assert "The guessed scenarios" not in blind
    assert "treated as independent" in blind
