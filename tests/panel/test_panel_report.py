"""What is shown and kept of rating tables: figure, folder, report."""

import json

import numpy as np
import pandas as pd
import pytest

import entangle_lens as el
from entangle_lens.results.figures.panel import panel_figures
from entangle_lens.results.panel_tables import estimate_text, number_text, shown_tables
from entangle_lens.statistics import Estimate


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


def test_long_names_that_begin_alike_keep_rows_of_their_own(make_ratings):
    names = [f"organisation/model-{'x' * 60}-{size}b-{'y' * 60}" for size in (7, 70)]
    figure = el.analyse_ratings({name: make_ratings(seed=len(name)) for name in names}).figure()
    assert set(figure.data[0].y) == set(figure.layout.yaxis.tickvals) == set(names)
    assert max(map(len, figure.layout.yaxis.ticktext)) <= 36
    ends = [f"{'x' * 40}-{size}b" for size in (7, 70)]
    figure = el.analyse_ratings({name: make_ratings(seed=1) for name in ends}).figure()
    assert len(set(figure.layout.yaxis.ticktext)) == 2


def filled(analysis):
    drawn = analysis.figure().data[0]
    return {name: c != "white" for name, c in zip(drawn.y, drawn.marker.color, strict=True)}


def clear(analysis):
    table = analysis.table().set_index("model").dropna(subset="r")
    return table["p_corrected"] < 0.05, (table["low"] > 0) | (table["high"] < 0)


def test_marks_are_filled_where_the_corrected_p_is_small(analysis):
    small, excludes = clear(analysis)
    assert filled(analysis) == (small & excludes).to_dict()
    assert set(small) == {True, False}


def test_no_mark_is_filled_where_r_differs_so_between_scenarios_that_it_may_be_zero():
    """The ratings depend on each other, in half of the scenarios the other way round."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(12, 6))
    slope = np.repeat([3.0, -1.0], 6)[:, None]
    frame = pd.DataFrame(
        {
            "item_id": range(72),
            "scenario_id": np.repeat(np.arange(12), 6),
            "moral": x.ravel(),
            "grammar": (slope * x).ravel() + 0.1 * rng.normal(size=72),
        }
    )
    found = el.analyse_ratings({"odd": frame})
    small, excludes = clear(found)
    assert small.all()
    assert not excludes.any()
    assert filled(found) == {"odd": False}


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


def test_reliability_of_people_is_shown_and_saved(make_ratings, to_singles, tmp_path):
    people = to_singles(make_ratings(leak=0.1, seed=3))
    found = el.analyse_ratings(make_ratings(), human=people)
    found.save(tmp_path / "out")
    saved = json.loads((tmp_path / "out/summary.json").read_text())["people"]
    known = found.findings.people.reliability
    assert saved["moral_reliability"] == known.moral
    assert saved["secondary_reliability"] == known.secondary
    assert saved["r_corrected"] == known.corrected
    assert shown_tables(found.findings)["reliability"]["model"].tolist() == ["people: people"]
    el.analyse_ratings(make_ratings(), human=make_ratings(seed=3)).save(tmp_path / "plain")
    assert "r_corrected" not in (tmp_path / "plain/summary.json").read_text()


def test_zero_has_no_sign():
    assert number_text(-0.001) == "0.00"
    shown = estimate_text(Estimate(-0.001, -0.31, -0.004, 0.9, 20, 20, "scenarios"))
    assert shown == "0.00 [-0.31, 0.00]"


def test_one_model_is_corrected_for_nothing(make_ratings, analysis, tmp_path):
    one = el.analyse_ratings(make_ratings()).save(tmp_path / "one").read_text()
    many = analysis.save(tmp_path / "many").read_text()
    assert "orrected over models" not in one
    assert "corrected over models" in many


def test_manifest_is_written_after_the_data_and_says_what_was_read(make_ratings, tmp_path):
    make_ratings().to_csv(tmp_path / "m.csv", index=False)
    el.analyse_ratings(tmp_path / "m.csv", seed=4).save(tmp_path / "out")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["seed"] == 4
    assert manifest["tables"][0]["columns"]["moral"] == "moral"
    assert len(manifest["tables"][0]["sha256"]) == 64
    assert str(tmp_path) not in json.dumps(manifest)
    times = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file()}
    page = times.pop("report.html")
    assert page > times["manifest.json"] == max(times.values())


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


def test_p_that_no_permutation_reached_is_shown_as_a_bound(make_ratings, monkeypatch, tmp_path):
    tables = {"leaky": make_ratings(leak=2.0, seed=1), "clean": make_ratings(leak=0.0, seed=2)}
    shown = shown_tables(el.analyse_ratings(tables).findings)["r"].set_index("model")
    assert shown.loc["leaky", ["p", "p (BH)"]].tolist() == ["< 0.0001", "< 0.0002"]
    assert not shown.loc["clean", "p"].startswith("<")
    monkeypatch.setattr("entangle_lens.panel.analysis._DRAWS", 17_000)
    few = el.analyse_ratings(tables)
    assert few.findings.n_resamples == 1_000
    shown = shown_tables(few.findings)["r"].set_index("model")
    assert shown.loc["leaky", ["p", "p (BH)"]].tolist() == ["< 0.001", "< 0.002"]
    said = {text.partition(":")[0]: text for text in few.figure().data[0].text}
    assert said["leaky"].endswith("corrected p &lt; 0.002")
    assert "corrected p = " in said["clean"]
    assert "&lt; 0.001" in few.save(tmp_path / "out").read_text()


HOSTILE = "\x1b[2J\u202ered<b>bold</b>\x07"
RAW = ("\x1b[2J", "\u202ered", "</b>\x07")


@pytest.mark.parametrize("n_models", [1, 2])
def test_text_from_files_reaches_terminal_and_report_escaped(make_ratings, tmp_path, n_models):
    tables = [
        make_ratings(seed=seed).assign(model=f"{HOSTILE}{seed}", text=HOSTILE)
        for seed in range(n_models)
    ]
    for table in tables:
        table["text"] = [f"a{n // 4} b{n // 4} c{n // 4} {HOSTILE}{n}" for n in range(68)]
    frame = pd.concat(tables).rename(columns={"grammar": HOSTILE})
    people = make_ratings(seed=3).rename(columns={"grammar": HOSTILE})
    source = {f"{HOSTILE}0": frame} if n_models == 1 else frame
    found = el.analyse_ratings(source, secondary=HOSTILE, human=people, scenario_from_text=True)
    html = found.save(tmp_path / "out").read_text()
    for text in (str(found), html):
        assert not any(raw in text for raw in RAW)
        assert "\\x1b[2J" in text
    body = html[: html.index("plotly-graph-div")] + html[html.index("<table") :]
    assert "<b>bold" not in body
    assert "&lt;b&gt;bold" in body
    drawn = [text for figure in panel_figures(found.findings).values() for text in words(figure)]
    assert not any("<b>" in text for text in drawn)
    assert sum("&lt;b&gt;bold" in text for text in drawn) >= 5


def words(figure):
    """Return what plotly reads as text with tags."""
    yield from (each.text for each in figure.layout.annotations)
    yield from (text for trace in figure.data for text in trace.text)
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        yield from axis.ticktext or ()
        yield axis.title.text or ""


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
