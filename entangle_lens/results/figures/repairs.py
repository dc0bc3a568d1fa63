"""Figures of the repair: before and after, layer by layer, and what else changed."""

from __future__ import annotations

import textwrap

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool
from plotly.subplots import make_subplots

from entangle_lens.entanglement.layer_sweep import LayerSweep
from entangle_lens.entanglement.repair import Repair
from entangle_lens.entanglement.selection import MIN_AUC
from entangle_lens.entanglement.study import Findings
from entangle_lens.results.figures.style import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    INK,
    PALE,
    RED,
    TITLES,
    curve_legend,
    error_bars,
    marks,
    styled,
    unread_legend,
)
from entangle_lens.text import figure_text

_LABEL = 14  # letters in a line below a bar
_SYMBOLS = {
    "repaired": "circle",
    "partly repaired": "diamond",
    "seeming repair": "x",
    "not repaired": "square",
}


def repair(findings: Findings) -> go.Figure:
    """The leak before and after each ablation, against random directions."""
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=[TITLES[name] for name in findings.pairs], shared_yaxes=True
    )
    for column, (name, finding) in enumerate(findings.pairs.items(), start=1):
        result = finding.repair
        rows = (result.before, *result.outcomes)
        figure.add_trace(
            go.Scatter(
                x=[each.leak.value for each in rows],
                y=[each.name for each in rows],
                error_x=error_bars([(e.leak.value, e.leak.low, e.leak.high) for e in rows]),
                mode="markers",
                name="leak: r(moral level, rating)",
                showlegend=column == 1,
                marker={"size": 11, "color": COLOURS[name]},
            ),
            row=1,
            col=column,
        )
        figure.add_trace(
            go.Scatter(
                x=[each.apparent.value for each in rows],
                y=[each.name for each in rows],
                mode="markers",
                name="apparent: r(ablated moral rating, rating)",
                showlegend=column == 1,
                marker={"size": 9, "color": GREY, "symbol": "diamond-open"},
            ),
            row=1,
            col=column,
        )
        _mark_null(figure, result, column)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title="correlation", range=[-1, 1])
    return styled(figure, height=460)


def _mark_null(figure: go.Figure, result: Repair, column: int) -> None:
    figure.add_vline(
        x=result.reference.leak, line={"color": INK, "width": 1, "dash": "dot"}, row=1, col=column
    )
    if result.null is not None:
        figure.add_vrect(
            x0=result.null.low,
            x1=result.null.high,
            fillcolor=PALE,
            opacity=0.5,
            line_width=0,
            layer="below",
            row=1,
            col=column,
        )


def layer_sweep(findings: Findings) -> go.Figure:
    """One-layer ablations at every layer: leak, apparent correlation and secondary accuracy."""
    figure = make_subplots(
        rows=2,
        cols=2,
        subplot_titles=[
            f"{TITLES[name]}: direction of the {question} question"
            for question in ("secondary", "moral")
            for name in findings.pairs
        ],
        shared_yaxes=True,
        vertical_spacing=0.16,
    )
    curves = (
        ("leak", "leak: r(moral level, rating)", RED, "solid"),
        ("apparent", "apparent: r(ablated moral rating, rating)", GREY, "dash"),
        ("accuracy", "secondary accuracy", BLUE, "solid"),
        ("moral_accuracy", "moral accuracy", GREEN, "dot"),
    )
    for name, label, colour, dash in curves:
        figure.add_trace(curve_legend(label, name, colour, dash), row=1, col=1)
    hollow = False
    for column, finding in enumerate(findings.pairs.values(), start=1):
        for row, sweep in enumerate(finding.repair.sweeps, start=1):
            reads = findings.directions.at_layers(("moral", sweep.question)).auc >= MIN_AUC
            hollow |= not reads.all()
            for name, label, colour, dash in curves:
                figure.add_trace(
                    go.Scatter(
                        x=sweep.layers,
                        y=getattr(sweep, name),
                        mode="lines+markers",
                        name=label,
                        legendgroup=name,
                        showlegend=False,
                        line={"color": colour, "dash": dash},
                        marker=_marks(sweep, reads, name, colour),
                        text=[each.word for each in sweep.judgements] or None,
                    ),
                    row=row,
                    col=column,
                )
            figure.update_xaxes(title="ablated layer", row=2, col=column)
        if finding.repair.choice.layer is not None:
            figure.add_vline(
                x=finding.repair.choice.layer,
                line={"color": INK, "dash": "dot", "width": 1},
                row=1,
                col=column,
            )
    if hollow:
        figure.add_trace(unread_legend(), row=1, col=1)
    figure.update_yaxes(range=[-1.05, 1.05])
    return styled(figure, height=640)


def _marks(
    sweep: LayerSweep, reads: Bool[np.ndarray, " layer"], name: str, colour: str
) -> dict[str, object]:
    """Return the markers of one curve; those of the leak are large and tell the verdicts apart."""
    if name != "leak" or not sweep.judgements:
        return marks(colour, reads.tolist())
    symbols = [_SYMBOLS.get(each.word, "circle") for each in sweep.judgements]
    return marks(colour, reads.tolist(), symbols, size=10)


def side_effects(findings: Findings) -> go.Figure:
    """KL on neutral prompts, and accuracies that the ablation should leave alone."""
    figure = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=["KL on neutral prompts (nats)", "accuracy on what has no value in it"],
    )
    for name, finding in findings.pairs.items():
        effects = finding.side_effects
        labels = ["<br>".join(textwrap.wrap(each.arm, _LABEL)) for each in effects]
        figure.add_trace(
            go.Bar(
                x=labels,
                y=[each.kl for each in effects],
                name=TITLES[name],
                marker_color=COLOURS[name],
            ),
            row=1,
            col=1,
        )
        kinds = {"minimal pairs": [each.minimal_pairs for each in effects]}
        for control in effects[0].controls if effects else ():
            kinds[control] = [each.controls[control] for each in effects]
        for symbol, (kind, values) in zip(
            ("circle", "square", "diamond", "cross", "x"), kinds.items(), strict=False
        ):
            figure.add_trace(
                go.Scatter(
                    x=labels,
                    y=values,
                    mode="markers",
                    name=figure_text(f"{TITLES[name]}: {kind}"),
                    marker={"size": 11, "color": COLOURS[name], "symbol": symbol},
                ),
                row=1,
                col=2,
            )
    figure.update_yaxes(rangemode="tozero", exponentformat="e", col=1)
    figure.update_xaxes(tickangle=0)
    figure.update_yaxes(range=[-0.05, 1.05], col=2)
    return styled(figure, height=500).update_layout(legend_y=-0.3)
