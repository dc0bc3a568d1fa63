"""Figures of compared interventions: repair against damage, and what leaks into what."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from entangle_lens.entanglement.comparison import CLEAN, CONTROLS
from entangle_lens.entanglement.rule import SMALLEST
from entangle_lens.results.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    RED,
    TITLES,
    styled,
)
from entangle_lens.text import figure_text

_COLOURS = {
    "repaired": GREEN,
    "partly repaired": BLUE,
    "seeming repair": RED,
    "not repaired": ORANGE,
    "nothing to repair": GREY,
    CLEAN: INK,
}


def pareto(table: pd.DataFrame) -> go.Figure:
    """Draw the leak that is left against what it cost, one panel per pair.

    Damage is what the ratings lost of their accuracy on moral and on secondary levels, the larger
    of the two: the scale on which an intervention that empties the ratings is at 1.
    """
    pairs = list(dict.fromkeys(table["pair"]))
    titles = [TITLES.get(pair, figure_text(pair)) for pair in pairs]
    figure = make_subplots(cols=len(pairs), subplot_titles=titles, horizontal_spacing=0.1)
    named: set[str] = set()
    for column, pair in enumerate(pairs, start=1):
        rows = table[table["pair"] == pair].reset_index(drop=True)
        damage, left = _damage(rows), rows["leak"].abs()
        front = _front(damage.to_numpy(), left.to_numpy())
        figure.add_scatter(
            x=damage[front], y=left[front], mode="lines", line={"color": PALE, "width": 6},
            name="Pareto front", showlegend=column == 1, hoverinfo="skip", row=1, col=column,
        )  # fmt: skip
        for word, some in rows.groupby("verdict", sort=False):
            controls = some["method"].isin(CONTROLS)
            figure.add_scatter(
                x=damage[some.index], y=left[some.index], mode="markers", name=str(word),
                text=(some["method"] + ", " + some["setting"]).map(figure_text),
                hovertemplate="%{text}<br>damage %{x:.2f}, leak left %{y:.2f}<extra></extra>",
                marker={
                    "color": _COLOURS.get(str(word), GREY), "size": 11,
                    "symbol": ["x" if each else "circle" for each in controls],
                    "line": {"width": [3 if each else 0 for each in some["chosen"]], "color": INK},
                },
                showlegend=str(word) not in named, legendgroup=str(word), row=1, col=column,
            )  # fmt: skip
            named.add(str(word))
        figure.add_hline(y=SMALLEST, line={"color": GREY, "dash": "dot"}, row=1, col=column)
    figure.update_xaxes(title="accuracy lost, moral or secondary, the larger", rangemode="tozero")
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title="leak left, |r(moral level, rating)|", col=1)
    return styled(figure, height=480)


def leakage_figure(leakage: pd.DataFrame) -> go.Figure:
    """Draw r(design level, rating) under every intervention: rows methods, columns questions."""
    pairs = list(dict.fromkeys(leakage["pair"]))
    figure = make_subplots(
        cols=len(pairs), subplot_titles=[TITLES.get(pair, figure_text(pair)) for pair in pairs],
        shared_yaxes=True, horizontal_spacing=0.04,
    )  # fmt: skip
    for column, pair in enumerate(pairs, start=1):
        rows = leakage[leakage["pair"] == pair]
        level, question = (rows[name].map(figure_text) for name in ("level", "question"))
        across = level + " level,<br>" + question + " rating"
        grid = rows.assign(across=across).pivot(index="method", columns="across", values="r")
        grid = grid.loc[list(dict.fromkeys(rows["method"]))[::-1], list(dict.fromkeys(across))]
        figure.add_heatmap(
            z=grid.to_numpy(), x=list(grid.columns), y=list(grid.index), zmin=-1, zmax=1,
            colorscale="RdBu", texttemplate="%{z:.2f}", showscale=False, row=1, col=column,
        )  # fmt: skip
    return styled(figure, height=120 + 30 * leakage["method"].nunique(), legend=False)


def _damage(rows: pd.DataFrame) -> pd.Series:
    clean = rows[rows["method"] == CLEAN].iloc[0]
    lost = [clean[name] - rows[name] for name in ("accuracy", "moral_accuracy")]
    return pd.Series(np.maximum(np.maximum(*lost), 0.0), index=rows.index)


def _front(damage: np.ndarray, left: np.ndarray) -> list[int]:
    """Return the rows that no other beats in both, least damage first."""
    order = np.lexsort((left, damage))
    front: list[int] = []
    for row in order.tolist():
        if not front or left[row] < left[front[-1]]:
            front.append(row)
    return front
