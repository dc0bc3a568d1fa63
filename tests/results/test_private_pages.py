"""No page offers to upload its figures, and text from files is shown as it is on every page."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import entangle_lens as el
from entangle_lens.cli.app import say
from entangle_lens.entanglement.comparison import Comparison
from entangle_lens.models import info
from entangle_lens.results.comparison import InterventionComparison
from entangle_lens.results.figures.multiverse import specification_curve
from entangle_lens.results.figures.style import hover_text, styled
from entangle_lens.results.html import table_html
from entangle_lens.results.multiverse_folder import render_multiverse
from entangle_lens.results.report import render_report
from entangle_lens.results.run_folder import make_manifest

HOSTILE = "<script>pwn()</script><img src=x onerror=pwn()><b>bold</b>\x1b[2J\x1b]0;pwn\x07"
RAW = ("<script", "<img", "<b>bold", "\x1b")
ESCAPED = "&lt;script&gt;pwn()&lt;/script&gt;"


def with_hostile_texts(findings):
    """Give every item a hostile text and id, in a hostile scenario."""

    def spoilt(finding):
        items = finding.behaviour.item_set
        names = ("item_id", "scenario_id", "text")
        table = items.table.assign(**{name: HOSTILE + items.table[name] for name in names})
        behaviour = replace(finding.behaviour, item_set=replace(items, table=table))
        effects = tuple(
            replace(each, controls={HOSTILE + name: r for name, r in each.controls.items()})
            for each in finding.side_effects
        )
        return replace(finding, behaviour=behaviour, side_effects=effects)

    return replace(findings, pairs={name: spoilt(each) for name, each in findings.pairs.items()})


@pytest.fixture(scope="module")
def study(mini_study):
    return mini_study(layers=(2,)).run(progress=False)


@pytest.fixture(scope="module")
def manifest(study):
    about = replace(info(study.model), name=HOSTILE)
    stimuli = replace(study.stimuli, name=HOSTILE)
    return make_manifest(about, stimuli, study.design)


@pytest.fixture(scope="module")
def report(study, manifest):
    about = replace(info(study.model), name=HOSTILE, revision=HOSTILE)
    return render_report(with_hostile_texts(study.findings), about, manifest)


@pytest.fixture(scope="module")
def multiverse(study, manifest):
    return render_multiverse(study.multiverse().findings, {"of": manifest})


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": [f"{HOSTILE}{k}" for k in range(40)],
            "kind": np.repeat([f"{HOSTILE}{k}" for k in range(10)], 4),
            "words": [f"{HOSTILE} {k}" for k in range(40)],
            HOSTILE: rng.normal(5, 1, 40),
            "grammar": rng.normal(5, 1, 40),
        }
    )
    found = el.analyse_ratings(
        {HOSTILE: frame},
        item="id",
        scenario="kind",
        text="words",
        moral=HOSTILE,
        secondary="grammar",
    )
    return found.save(tmp_path_factory.mktemp("panel") / "out").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def comparison(study):
    measures = dict.fromkeys(("leak", "leak_low", "leak_high", "accuracy", "moral_accuracy"), 0.5)
    row = {"pair": HOSTILE, "setting": HOSTILE, "layer": 1.0, "kl": 0.1, **measures}
    row |= {"verdict": "repaired", "chosen": False}
    table = pd.DataFrame([{**row, "method": each} for each in ("clean", "LEACE")])
    leakage = pd.DataFrame(
        [{"pair": HOSTILE, "method": "LEACE", "level": "moral", "question": HOSTILE, "r": 0.1}]
    )

    class Compared(InterventionComparison):
        def table(self):
            return table

        def leakage(self):
            return leakage

        def recommendation(self, pair):
            return f"of {pair}"

    about = replace(info(study.model), name=HOSTILE, revision=HOSTILE)
    return Compared(Comparison((), {}, {}), about, study.design, "sha")._report()


@pytest.fixture(params=["report", "multiverse", "panel", "comparison"])
def page(request):
    return request.getfixturevalue(request.param)


def drawn(page):
    """Return the data, layout and configuration of every figure of a page."""
    decoder, found = json.JSONDecoder(), []
    for call in re.finditer(r'Plotly\.newPlot\(\s*"[^"]*",\s*', page):
        parts, place = [], call.end()
        for _ in range(3):
            part, place = decoder.raw_decode(page, place)
            parts.append(part)
            place = re.compile(r"[\s,]*").match(page, place).end()
        found.append(parts)
    return found


def test_no_figure_of_any_page_has_a_button_that_uploads_it(page):
    figures = drawn(page)
    assert figures
    for _, layout, config in figures:
        assert config["showSendToCloud"] is False
        assert "plotlyServerURL" not in config
        for removed in (config["modeBarButtonsToRemove"], layout["modebar"]["remove"]):
            assert "sendChartToCloud" in removed
            assert not {"toImage", "zoom2d", "pan2d", "resetScale2d"} & set(removed)


def test_figure_shown_by_itself_brings_no_such_button_along(study):
    """In a notebook and in a file that a user writes, plotly's own settings hold."""
    for figure in study.figures().values():
        assert "sendChartToCloud" in figure.layout.modebar.remove
        bundle = figure._repr_mimebundle_()
        assert "sendChartToCloud" in str(bundle or figure.to_html())


def test_text_from_files_is_never_markup(page):
    own = re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)
    assert not any(tag in own for tag in ("<script>pwn", "<img src", "<b>bold"))
    assert ESCAPED in own


def strings(value, skipped):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            if key not in skipped:
                yield from strings(each, skipped)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each, skipped)


@pytest.mark.parametrize(
    ("name", "compared"),
    [
        ("report", ()),
        ("comparison", ()),
        ("panel", ("y", "categoryarray", "tickvals")),  # shown as ``ticktext`` says
    ],
)
def test_figures_show_text_from_files_as_it_is(request, name, compared):
    """Plotly reads some tags itself."""
    figures = drawn(request.getfixturevalue(name))
    skipped = {"template", *compared}
    held = [each for figure in figures for each in strings(figure, skipped) if "pwn" in each]
    assert any(ESCAPED in each.replace("<br>", "") for each in held)
    assert not any(tag in each for each in held for tag in RAW)


def test_options_of_a_multiverse_are_shown_as_they_are(study):
    findings = study.multiverse().findings
    curve = replace(findings.curves[0], pair=HOSTILE)
    universes = findings.universes[findings.universes["measure"] == curve.measure]
    universes = universes.assign(covariate=[HOSTILE, *["none"] * (len(universes) - 1)])
    shown = json.loads(specification_curve(curve, universes).to_json())
    held = list(strings(shown, {"template"}))
    assert any(ESCAPED in each for each in held)
    assert not any(tag in each for each in held for tag in RAW)


def test_cell_of_a_table_keeps_its_line_breaks_and_its_backslashes():
    table = pd.DataFrame({"text": ["C:\\new\nline", None, "<b>"], "r": [0.5, float("nan"), 1.0]})
    html = table_html(table)
    for cell in ("<td>C:\\new\nline</td>", "<td>&lt;b&gt;</td>", "<td>0.5</td>", "<td></td>"):
        assert cell in html


def test_long_text_is_shown_at_the_pointer_in_short_lines_and_cut():
    lines = hover_text("word " * 1_000).split("<br>")
    assert len(lines) == 8
    assert max(map(len, lines)) <= 80
    assert lines[-1].endswith(" ...")
    assert hover_text("<b>a</b> & b") == "&lt;b&gt;a&lt;/b&gt; &amp; b"


def test_styled_figure_keeps_the_wanted_buttons():
    """The control: download, zoom, pan and reset stay."""
    removed = styled(go.Figure(), height=100).layout.modebar.remove
    assert set(removed) == {"sendChartToCloud", "select2d", "lasso2d", "autoScale2d"}


def test_terminal_shows_text_from_files_as_escapes(capsys):
    say(f"{HOSTILE}\n\tplain")
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert out.endswith("\n\tplain\n")
