"""Figures of rating tables: all raters beside people, and one rater item by item."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from entangle_lens.panel.analysis import pair
from entangle_lens.panel.findings import PanelFindings, RaterFinding
from entangle_lens.results.figures.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PALE,
    error_bars,
    hover_text,
    styled,
)
from entangle_lens.results.panel_tables import estimate_text
from entangle_lens.statistics import Estimate
from entangle_lens.text import figure_text, p_equation

_LEVEL = 0.05
_SHOWN_LETTERS = 36
_TALL = 26


def panel_figures(findings: PanelFindings) -> dict[str, go.Figure]:
    """Return the forest plot, and for a single rater the items too, by name."""
    figures = {"forest": panel_forest(findings)}
    if len(findings.raters) == 1:
        figures["items"] = rated_items(findings)
    return figures


def panel_forest(findings: PanelFindings) -> go.Figure:
    """Every rater's r with its interval, people's as reference; beside it the difference."""
    raters = sorted(
        findings.raters, key=lambda each: each.entanglement.value if each.entanglement else -2.0
    )
    titles = [figure_text(f"r({findings.moral}, {findings.secondary})")]
    if findings.people is not None:
        titles.append("difference from people")
    figure = make_subplots(cols=len(titles), subplot_titles=titles, shared_yaxes=True)
    own = [(each.entanglement, each.p_corrected) for each in raters]
    names = [each.name for each in raters]
    _mark(figure, names, own, BLUE, 1, n_permutations=findings.n_resamples)
    _reference(figure, findings.people)
    for name, each in zip(names, raters, strict=True):
        if each.entanglement is None:
            _say_why(figure, name, each.reason, column=1)
    if findings.people is not None:
        against = [each.against_people for each in raters]
        tests = [(each.difference, each.p_corrected) if each else (None, 1.0) for each in against]
        _mark(figure, names, tests, ORANGE, 2)
        figure.add_vline(x=0, line={"color": PALE, "width": 1}, row=1, col=2)
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=names)
    figure.update_yaxes(tickvals=names, ticktext=[figure_text(_short(name)) for name in names])
    figure.update_yaxes(range=[-0.7, len(names) + (0.2 if findings.people else -0.3)])
    return styled(figure, height=170 + _TALL * max(len(names), 3), legend=False)


def _mark(
    figure: go.Figure,
    names: list[str],
    tests: Sequence[tuple[Estimate | None, float]],
    colour: str,
    column: int,
    n_permutations: int | None = None,
) -> None:
    """Draw estimates with their intervals; filled where those exclude 0 and corrected p < .05."""

    def text(name: str, each: Estimate, p: float) -> str:
        corrected = p_equation(p, n_permutations, uncorrected=each.p)
        return figure_text(f"{name}: {estimate_text(each)}, corrected {corrected}")

    rows = [
        (name, each, p)
        for name, (each, p) in zip(names, tests, strict=True)
        if each is not None and each.value == each.value
    ]
    figure.add_trace(
        go.Scatter(
            x=[each.value for _, each, _ in rows],
            y=[name for name, _, _ in rows],
            error_x=error_bars([(each.value, each.low, each.high) for _, each, _ in rows]),
            mode="markers",
            marker={
                "size": 10,
                "color": [colour if _clear(each, p) else "white" for _, each, p in rows],
                "line": {"color": colour, "width": 2},
            },
            marker_line_color=colour,
            text=[text(*row) for row in rows],
            hovertemplate="%{text}<extra></extra>",
        ),
        row=1,
        col=column,
    )
    figure.data[-1].error_x.color = colour


def _clear(estimate: Estimate, p: float) -> bool:
    return p < _LEVEL and (estimate.low > 0 or estimate.high < 0)


def _reference(figure: go.Figure, people: RaterFinding | None) -> None:
    """Draw people's r and its interval behind the raters, or a line at zero without people."""
    figure.add_vline(x=0, line={"color": PALE, "width": 1}, row=1, col=1)
    if people is None or people.entanglement is None:
        return
    estimate = people.entanglement
    figure.add_vrect(
        x0=estimate.low,
        x1=estimate.high,
        fillcolor=PALE,
        opacity=0.35,
        line_width=0,
        layer="below",
        row=1,
        col=1,
    )
    figure.add_vline(
        x=estimate.value,
        line={"color": INK, "width": 1.5, "dash": "dash"},
        annotation={"text": f"people {estimate.value:z.2f}", "font": {"size": 12}},
        annotation_position="top right",
        row=1,
        col=1,
    )


def _say_why(figure: go.Figure, name: str, reason: str, column: int) -> None:
    figure.add_annotation(
        x=0,
        y=name,
        text=figure_text(reason),
        showarrow=False,
        font={"size": 12, "color": GREY},
        bgcolor="white",
        row=1,
        col=column,
    )


def rated_items(findings: PanelFindings) -> go.Figure:
    """Each item's secondary rating of the first rater against its moral rating."""
    table = findings.tables[0]
    moral, secondary = pair(table)
    known = table.table.loc[table.complete, "item_id"].tolist()
    texts = [findings.scenarios.texts[item] for item in known]
    figure = go.Figure(
        go.Scatter(
            x=moral,
            y=secondary,
            mode="markers",
            marker={"size": 8, "color": BLUE, "opacity": 0.6},
            text=[
                hover_text(f"{text} (scenario {findings.scenarios.of_item[item]})")
                for text, item in zip(texts, known, strict=True)
            ],
            hovertemplate="%{text}<br>%{x:.2f}, %{y:.2f}<extra></extra>",
        )
    )
    figure.update_xaxes(title=figure_text(f"{findings.moral} rating"))
    figure.update_yaxes(title=figure_text(f"{findings.secondary} rating"))
    return styled(figure, height=440, legend=False)


def _short(name: str) -> str:
    """Cut a long name in the middle: models of a family differ at the end."""
    if len(name) <= _SHOWN_LETTERS:
        return name
    half = (_SHOWN_LETTERS - 3) // 2
    return f"{name[:half]}...{name[-half:]}"
