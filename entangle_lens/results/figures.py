"""The figures of a study, as plotly objects."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from entangle_lens.entanglement.repair import Repair
from entangle_lens.entanglement.residual import cosines
from entangle_lens.entanglement.study import Finding, Findings
from entangle_lens.published import PUBLISHED, Published

INK, GREY, PALE = "#1f2933", "#7b8794", "#cbd2d9"
BLUE, ORANGE, GREEN, RED = "#2f6fde", "#d9730d", "#2f855a", "#c53030"
COLOURS = {"moral_grammar": BLUE, "moral_economic": ORANGE}
TITLES = {"moral_grammar": "moral and grammatical", "moral_economic": "moral and economic"}
_FONT = {"family": "Inter, Helvetica, Arial, sans-serif", "size": 14, "color": INK}


def all_figures(findings: Findings) -> dict[str, go.Figure]:
    """Return every figure of a study by name."""
    return {
        "forest": forest(findings),
        "items": items(findings),
        "layers": layers(findings),
        "cosines": cosine_heatmap(findings),
        "repair": repair(findings),
        "layer_sweep": layer_sweep(findings),
        "side_effects": side_effects(findings),
    }


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
                error_x=_bars([(row[1], *row[2]) for row in own if row[2] is not None]),
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
    return _styled(figure, height=420, legend=False)


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
    published: tuple[Published, ...] = PUBLISHED
    rows += [(each.label, each.correlation(finding.pair), None) for each in published]
    return rows


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
                    text=table["text"][chosen],
                    hovertemplate="%{text}<br>moral %{x:.2f}, secondary %{y:.2f}<extra></extra>",
                ),
                row=1,
                col=column,
            )
        figure.update_xaxes(title="moral rating", row=1, col=column)
        secondary = behaviour.item_set.secondary
        figure.update_yaxes(title=f"{secondary} rating", row=1, col=column)
    return _styled(figure, height=440)


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
                    name=label if label == "clean" else f"ablated: {label}",
                    legendgroup=label,
                    showlegend=column == 1,
                    line={"color": colour, "dash": dash},
                ),
                row=1,
                col=column,
            )
        if residual.layer is not None:
            figure.add_vline(
                x=residual.layer, line={"color": INK, "dash": "dot", "width": 1}, row=1, col=column
            )
        figure.update_xaxes(title="layer", row=1, col=column)
    figure.update_yaxes(range=[-1, 1])
    figure.update_yaxes(title="r of the two projections", col=1)
    return _styled(figure, height=420)


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
    return _styled(figure, height=620, legend=False)


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
                error_x=_bars([(e.leak.value, e.leak.low, e.leak.high) for e in rows]),
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
    return _styled(figure, height=460)


def _mark_null(figure: go.Figure, result: Repair, column: int) -> None:
    figure.add_vline(
        x=result.reference, line={"color": INK, "width": 1, "dash": "dot"}, row=1, col=column
    )
    if result.null is not None:
        figure.add_vrect(
            x0=result.null.low,
            x1=result.null.high,
            fillcolor=PALE,
            opacity=0.5,
            line_width=0,
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
    for column, finding in enumerate(findings.pairs.values(), start=1):
        for row, sweep in enumerate(finding.repair.sweeps, start=1):
            for name, label, colour, dash in curves:
                figure.add_trace(
                    go.Scatter(
                        x=sweep.layers,
                        y=getattr(sweep, name),
                        mode="lines+markers",
                        name=label,
                        legendgroup=name,
                        showlegend=row == column == 1,
                        line={"color": colour, "dash": dash},
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
    figure.update_yaxes(range=[-1.05, 1.05])
    return _styled(figure, height=640)


def side_effects(findings: Findings) -> go.Figure:
    """KL on neutral prompts, and accuracies that the ablation should leave alone."""
    figure = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=["KL on neutral prompts (nats)", "accuracy on what has no value in it"],
    )
    for name, finding in findings.pairs.items():
        effects = finding.side_effects
        labels = [each.arm for each in effects]
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
                    name=f"{TITLES[name]}: {kind}",
                    marker={"size": 11, "color": COLOURS[name], "symbol": symbol},
                ),
                row=1,
                col=2,
            )
    figure.update_yaxes(rangemode="tozero", col=1)
    figure.update_yaxes(range=[-0.05, 1.05], col=2)
    return _styled(figure, height=460)


def _bars(rows: list[tuple[float, float, float]]) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, _, high in rows],
        "arrayminus": [value - low for value, low, _ in rows],
        "thickness": 1.6,
        "width": 5,
    }


def _styled(figure: go.Figure, *, height: int, legend: bool = True) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        font=_FONT,
        height=height,
        showlegend=legend,
        legend={"orientation": "h", "yanchor": "top", "y": -0.18},
        margin={"l": 60, "r": 30, "t": 60, "b": 60},
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return figure
