"""The specification curve: every universe's estimate, and below it the choices that made it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from entangle_lens.entanglement.multiverse import LEVEL, Curve, MultiverseFindings
from entangle_lens.entanglement.universes import CHOICES
from entangle_lens.results.figures.style import BLUE, GREY, INK, ORANGE, PALE, RED, TITLES, styled
from entangle_lens.text import figure_text

_KINDS = (
    ("p < .05", BLUE, "rgba(47,111,222,0.25)"),
    ("p >= .05", GREY, "rgba(123,135,148,0.25)"),
    ("layer picked by |r|: circular, not counted", ORANGE, "rgba(217,115,13,0.25)"),
)
_CURVE_HEIGHT, _ROW_HEIGHT = 330, 19
_MOST_DRAWN = 1_500  # more than a screen has columns, and a page that still opens at once
_GREYS = [[0, "#ffffff"], [0.5, INK], [1, GREY]]


def multiverse_figures(findings: MultiverseFindings) -> dict[str, go.Figure]:
    """Return one specification curve a pair and measure, by name."""
    universes = findings.universes
    return {
        f"multiverse-{curve.pair}-{curve.measure}": specification_curve(
            curve,
            universes[(universes["pair"] == curve.pair) & (universes["measure"] == curve.measure)],
        )
        for curve in findings.curves
    }


def specification_curve(curve: Curve, universes: pd.DataFrame) -> go.Figure:
    """Universes sorted by r with their intervals, the default marked; below, their choices.

    Of very many, some are drawn, evenly spaced in this order, the default among them.
    """
    rows = choice_rows(universes)
    universes = universes[universes["r"].notna()].sort_values("r", kind="stable")
    drawn = thinned(universes.assign(place=np.arange(1, len(universes) + 1)))
    lower = _ROW_HEIGHT * len(rows)
    figure = make_subplots(
        rows=2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.02,
        row_heights=[_CURVE_HEIGHT, lower],
    )
    _estimates(figure, drawn)
    _default(figure, curve, drawn)
    _choices(figure, drawn, rows)
    styled(figure, height=_CURVE_HEIGHT + lower + 150)
    title = TITLES.get(curve.pair, figure_text(curve.pair.replace("_", " and ")))
    shown = f", {len(drawn):,} of them drawn" if len(drawn) < len(universes) else ""
    figure.update_layout(
        title=f"{title}, {curve.measure}: {curve.n_universes:,} universes{shown}",
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        plot_bgcolor="white",
    )
    return figure


def thinned(universes: pd.DataFrame) -> pd.DataFrame:
    """Return at most ``_MOST_DRAWN`` rows, evenly spaced: first, last and default among them."""
    if len(universes) <= _MOST_DRAWN:
        return universes
    default = universes["default"].to_numpy()
    kept = default.copy()
    kept[np.linspace(0, len(kept) - 1, _MOST_DRAWN - int(default.sum())).round().astype(int)] = True
    return universes[kept]


def choice_rows(universes: pd.DataFrame) -> list[tuple[str, str]]:
    """Return every (choice, option) that differs between universes, in order of appearance."""
    return [
        (choice, str(option))
        for choice in CHOICES
        if universes[choice].nunique() > 1
        for option in universes[choice].unique()
    ]


def _estimates(figure: go.Figure, universes: pd.DataFrame) -> None:
    place = universes["place"].to_numpy()
    circular = universes["circular"].to_numpy()
    significant = (universes["p"] < LEVEL).to_numpy()
    chosen = (significant & ~circular, ~significant & ~circular, circular)
    r, low, high = (universes[name].to_numpy() for name in ("r", "low", "high"))
    for (name, colour, faint), rows in zip(_KINDS, chosen, strict=True):
        if not rows.any():
            continue
        gap = np.full(int(rows.sum()), np.nan)
        figure.add_trace(
            go.Scatter(
                x=np.repeat(place[rows], 3),
                y=np.stack([low[rows], high[rows], gap], axis=1).ravel(),
                mode="lines",
                line={"color": faint, "width": 1},
                hoverinfo="skip",
                showlegend=False,
            ),
            row=1,
            col=1,
        )
        figure.add_trace(
            go.Scatter(
                x=place[rows],
                y=r[rows],
                mode="markers",
                name=name,
                marker={"size": 4, "color": colour},
                text=_said(universes[rows]),
                hovertemplate="r = %{y:.2f}<br>%{text}<extra></extra>",
            ),
            row=1,
            col=1,
        )
    figure.add_hline(y=0, line={"color": INK, "width": 1}, row=1, col=1)
    figure.update_yaxes(title="r [95 % interval]", range=[-1.03, 1.03], row=1, col=1)


def _default(figure: go.Figure, curve: Curve, universes: pd.DataFrame) -> None:
    """Mark the default by a disc on the curve and a line through its choices."""
    defaults = universes[universes["default"]]
    if curve.default_r is None or defaults.empty:
        return
    row = defaults.iloc[0]
    figure.add_vline(x=row["place"], line={"color": RED, "width": 1.2, "dash": "dot"})
    figure.add_trace(
        go.Scatter(
            x=[row["place"]],
            y=[row["r"]],
            error_y={
                "symmetric": False,
                "array": [row["high"] - row["r"]],
                "arrayminus": [row["r"] - row["low"]],
                "thickness": 2,
                "color": RED,
            },
            mode="markers",
            name=f"the default: r = {row['r']:.2f}, {curve.default_rank} of {curve.n_universes:,}",
            marker={"size": 11, "color": RED, "line": {"color": "white", "width": 1.5}},
            hovertemplate="the default: r = %{y:.2f}<extra></extra>",
        ),
        row=1,
        col=1,
    )


def _choices(figure: go.Figure, universes: pd.DataFrame, rows: list[tuple[str, str]]) -> None:
    """Draw one row an option, dark where a universe takes it; two shades tell choices apart."""
    names = list(dict.fromkeys(choice for choice, _ in rows))
    shades = np.array([1 + names.index(choice) % 2 for choice, _ in rows], dtype=np.int8)
    taken = np.stack([(universes[choice] == option).to_numpy() for choice, option in rows])
    default = universes[universes["default"]]
    figure.add_trace(
        go.Heatmap(
            z=taken * shades[:, None],
            x=universes["place"],
            y=[_label(choice, option, default) for choice, option in rows],
            zmin=0,
            zmax=2,
            colorscale=_GREYS,
            showscale=False,
            ygap=2,
            hovertemplate="%{y}<extra></extra>",
        ),
        row=2,
        col=1,
    )
    figure.update_yaxes(autorange="reversed", tickfont={"size": 11}, dtick=1, row=2, col=1)
    figure.update_xaxes(title="universes, sorted by r", row=2, col=1)
    figure.update_xaxes(showgrid=False, linecolor=PALE)


def _label(choice: str, option: str, default: pd.DataFrame) -> str:
    text = figure_text(f"{choice.replace('_', ' ')}: {option}")
    is_default = len(default) > 0 and str(default.iloc[0][choice]) == option
    return f"<b>{text}</b>" if is_default else text


def _said(universes: pd.DataFrame) -> list[str]:
    return [
        "<br>".join(
            figure_text(f"{choice.replace('_', ' ')}: {option}")
            for choice, option in zip(CHOICES, options, strict=True)
            if option
        )
        for options in universes[list(CHOICES)].itertuples(index=False)
    ]
