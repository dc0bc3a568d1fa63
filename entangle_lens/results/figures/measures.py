"""Figures of what was measured: forest, items, layers, cosines."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from entangle_lens.entanglement.residual import cosines
from entangle_lens.entanglement.study import Finding, Findings
from entangle_lens.published import PUBLISHED, Published
from entangle_lens.results.figures.style import (
    COLOURS,
    GREEN,
    GREY,
    INK,
    PALE,
    RED,
    TITLES,
    curve_legend,
    error_bars,
    hover_text,
    marks,
    styled,
    unread_legend,
)


def forest(findings: Findings) -> go.Figure:
    """Entanglement in ratings, embeddings and residual stream, beside published values."""
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=[TITLES[name] for name in findings.pairs], shared_yaxes=True
    )
    for column, (name, finding) in enumerate(findings.pairs.items(), start=1):
        rows = _forest_rows(finding)
        own = [row for row in rows if row[2] is not None]
        points = [row for row in rows if row[2] is None]
        figure.add_trace(
            go.Scatter(
                x=[row[1] for row in own],
                y=[row[0] for row in own],
                error_x=error_bars([(row[1], *row[2]) for row in own if row[2] is not None]),
                mode="markers",
                marker={"size": 11, "color": COLOURS[name]},
                hovertemplate="%{y}: r = %{x:.2f}<extra></extra>",
                showlegend=False,
            ),
            row=1,
            col=column,
        )
        figure.add_trace(
            go.Scatter(
                x=[row[1] for row in points],
                y=[row[0] for row in points],
                mode="markers",
                marker={"size": 9, "color": GREY, "symbol": "diamond-open"},
                hovertemplate="%{y}: r = %{x:.3f}<extra></extra>",
                showlegend=False,
            ),
            row=1,
            col=column,
        )
        figure.add_vline(x=0, line={"color": PALE, "width": 1}, row=1, col=column)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title="r", range=[-1, 1])
    return styled(figure, height=420, legend=False)


def _forest_rows(finding: Finding) -> list[tuple[str, float, tuple[float, float] | None]]:
    rows: list[tuple[str, float, tuple[float, float] | None]] = []
    measured = {
        "this model: ratings": finding.behaviour.entanglement,
        "this model: embeddings": finding.embedding.entanglement if finding.embedding else None,
        "this model: residual stream": finding.residual.entanglement,
    }
    for label, estimate in measured.items():
        if estimate is not None:
            rows.append((label, estimate.value, (estimate.low, estimate.high)))
    rows += [
        (_published_label(each, finding.pair), each.correlation(finding.pair), None)
        for each in PUBLISHED
    ]
    return rows


def _published_label(published: Published, pair: str) -> str:
    """Return the row of a published value: one of its own where it is no r of two ratings."""
    note = published.note(pair)
    return f"{published.label}: {note}" if note else published.label


def items(findings: Findings) -> go.Figure:
    """Each item's secondary rating against its moral rating, coloured by the moral level."""
    figure = make_subplots(rows=1, cols=2, subplot_titles=[TITLES[name] for name in findings.pairs])
    for column, finding in enumerate(findings.pairs.values(), start=1):
        behaviour = finding.behaviour
        table = behaviour.item_set.table
        for level, label, colour in ((-1, "bad", RED), (0, "neutral", GREY), (1, "good", GREEN)):
            chosen = (table["moral"] == level).to_numpy()
            figure.add_trace(
                go.Scatter(
                    x=behaviour.moral.mean[chosen],
                    y=behaviour.secondary.mean[chosen],
                    mode="markers",
                    name=label,
                    legendgroup=label,
                    showlegend=column == 1,
                    marker={"size": 8, "color": colour, "opacity": 0.75},
                    text=[hover_text(text) for text in table["text"][chosen]],
                    hovertemplate="%{text}<br>moral %{x:.2f}, secondary %{y:.2f}<extra></extra>",
                ),
                row=1,
                col=column,
            )
        figure.update_xaxes(title="moral rating", row=1, col=column)
        secondary = behaviour.item_set.secondary
        figure.update_yaxes(title=f"{secondary} rating", row=1, col=column)
    return styled(figure, height=440)


def layers(findings: Findings) -> go.Figure:
    """Correlation of projections at every layer, with the max-over-layers permutation band."""
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=[TITLES[name] for name in findings.pairs], shared_yaxes=True
    )
    for column, (name, finding) in enumerate(findings.pairs.items(), start=1):
        residual = finding.residual
        figure.add_hrect(
            y0=-residual.band,
            y1=residual.band,
            fillcolor=PALE,
            opacity=0.35,
            line_width=0,
            layer="below",
            exclude_empty_subplots=False,
            row=1,
            col=column,
        )
        curves = [("clean", residual.correlation, COLOURS[name], "solid")]
        curves += [
            (each.name, each.correlation, GREEN if each.name == "moral" else GREY, "dash")
            for each in finding.repair.outcomes
            if each.correlation is not None
        ]
        for label, values, colour, dash in curves:
            figure.add_trace(
                go.Scatter(
                    x=residual.layers,
                    y=values,
                    mode="lines+markers",
                    name=_ablated(label),
                    legendgroup=label,
                    showlegend=False,
                    line={"color": colour, "dash": dash},
                    marker=marks(colour, residual.reads.tolist()),
                ),
                row=1,
                col=column,
            )
            if column == 1:
                entry = curve_legend(_ablated(label), label, colour, dash)
                figure.add_trace(entry, row=1, col=1)
        if residual.layer is not None:
            figure.add_vline(
                x=residual.layer, line={"color": INK, "dash": "dot", "width": 1}, row=1, col=column
            )
        figure.update_xaxes(title="layer", row=1, col=column)
    if not all(each.residual.reads.all() for each in findings.pairs.values()):
        figure.add_trace(unread_legend(), row=1, col=1)
    figure.update_yaxes(range=[-1, 1])
    figure.update_yaxes(title="r of the two projections", col=1)
    return styled(figure, height=420)


def _ablated(label: str) -> str:
    return label if label == "clean" else f"ablated: {label}"


def cosine_heatmap(findings: Findings) -> go.Figure:
    """Cosines between all directions (value | question), at the layer where moral is ablated."""
    fitted = findings.directions.fitted
    chosen = [each.repair.choice.layer for each in findings.pairs.values()]
    known = [layer for layer in chosen if layer is not None]
    measured = next(iter(fitted.values())).layers
    layer = known[0] if known else measured[len(measured) // 2]
    names, values = cosines(fitted, layer)
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=names,
            y=names,
            zmin=-1,
            zmax=1,
            colorscale="RdBu",
            text=np.round(values, 2),
            texttemplate="%{text}",
            colorbar={"title": "cosine"},
        )
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(title=f"value | question, layer {layer}")
    return styled(figure, height=620, legend=False)
