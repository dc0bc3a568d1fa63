"""The report: one file, no network, every figure and the rule in it."""

import re

import pytest
from markupsafe import escape

from entangle_lens.entanglement.verdict import RULE
from entangle_lens.results.figures.study import all_figures
from entangle_lens.results.figures.style import marks


@pytest.fixture(scope="module")
def html(run_folder):
    return (run_folder / "report.html").read_text(encoding="utf-8")


def test_report_asks_the_network_for_nothing(html):
    outside = re.findall(
        r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?(?!data:)[^>]*>", html
    )
    assert outside == []
    assert "Plotly.newPlot" in html


def test_report_holds_every_figure_and_the_rule(html, entangled_study):
    for name in all_figures(entangled_study.findings):
        assert f'id="figure-{name}"' in html
    assert str(escape(RULE)).strip() in html


def test_report_shows_the_verdicts_with_their_numbers(html, entangled_study):
    for finding in entangled_study.findings.pairs.values():
        assert str(escape(finding.entangled.reason)) in html
        assert f"{finding.repair.before.leak.value:.2f} [" in html


def test_report_says_under_each_ablation_what_was_ablated_and_beside_it_the_verdict(
    html, entangled_study
):
    for finding in entangled_study.findings.pairs.values():
        for outcome in finding.repair.outcomes:
            cell = f"<td>{outcome.name}\n{outcome.description}</td>"
            judgement = outcome.judgement
            said = "\n".join([judgement.word, "; ".join(judgement.price.sentences)]).strip()
            assert f"{cell}\n      <td>{escape(said)}</td>" in html


def test_card_says_what_the_repair_cost_once(html, entangled_study):
    cards = html[html.index('<div class="cards">') : html.index("<h2>")]
    for finding in entangled_study.findings.pairs.values():
        assert finding.repaired.price.sentences
        for sentence in finding.repaired.price.sentences:
            said = str(escape(sentence[:1].upper() + sentence[1:]))
            assert cards.count(f"{said}.") == 1
            assert cards.lower().count(said.lower()) == 1
        assert "ratings intact" in cards


@pytest.mark.parametrize("name", ["layers", "layer_sweep"])
def test_marks_where_a_direction_does_not_read_its_value_are_hollow_and_say_so(
    entangled_study, name
):
    figure = entangled_study.figures()[name]
    colours = [trace.marker.color for trace in figure.data if isinstance(trace.marker.color, tuple)]
    hollow = [[colour == "white" for colour in each] for each in colours]
    assert any(map(any, hollow))
    assert not all(map(all, hollow))
    shown = [trace for trace in figure.data if trace.showlegend is not False]
    assert any(trace.name.startswith("hollow and pale") for trace in shown)
    assert all(tuple(trace.x) == (None,) for trace in shown)
    if name == "layers":
        reads = [each.residual.reads for each in entangled_study.findings.pairs.values()]
        expected = [(~each).tolist() for each in reads]
        assert all(each in expected for each in hollow)


def test_marks_keep_their_shape_and_are_filled_where_a_direction_reads_its_value():
    found = marks("#123456", [True, False], ["circle", "square"], size=9)
    assert found["symbol"] == ["circle", "square"]
    assert found["color"] == ["#123456", "white"]
    assert found["line"]["color"][0] == "#123456" != found["line"]["color"][1]


def test_report_escapes_what_users_name(entangled_study, monkeypatch):
    from dataclasses import replace

    from entangle_lens.models import info
    from entangle_lens.results.report import render_report
    from entangle_lens.results.run_folder import make_manifest

    about = replace(info(entangled_study.model), name="<script>alert(1)</script>")
    manifest = make_manifest(about, entangled_study.stimuli, entangled_study.design)
    html = render_report(entangled_study.findings, about, manifest)
    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)" in html


@pytest.mark.parametrize("study", ["entangled_study", "disentangled_study"])
def test_figures_draw_the_numbers_of_the_study(study, request):
    study = request.getfixturevalue(study)
    figures = study.figures()
    finding = study.findings.pairs["moral_grammar"]
    drawn = [tuple(trace.y) for trace in figures["layers"].data]
    assert tuple(finding.residual.correlation) in drawn
    drawn = [x for trace in figures["forest"].data for x in trace.x]
    assert finding.behaviour.entanglement.value in drawn
    drawn = [x for trace in figures["repair"].data for x in trace.x]
    assert finding.repair.before.leak.value in drawn


def test_layer_figure_shows_the_permutation_band(entangled_study):
    bands = {(shape.y0, shape.y1) for shape in entangled_study.figures()["layers"].layout.shapes}
    for finding in entangled_study.findings.pairs.values():
        assert (-finding.residual.band, finding.residual.band) in bands


def test_repair_figure_shows_the_null(entangled_study):
    bands = {(shape.x0, shape.x1) for shape in entangled_study.figures()["repair"].layout.shapes}
    for finding in entangled_study.findings.pairs.values():
        assert (finding.repair.null.low, finding.repair.null.high) in bands
