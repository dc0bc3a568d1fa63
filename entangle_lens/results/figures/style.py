"""What all figures share: colours, titles, error bars, layout."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import plotly.graph_objects as go

from entangle_lens.text import figure_text

INK, GREY, FAINT, PALE = "#1f2933", "#7b8794", "#9aa5b1", "#cbd2d9"
BLUE, ORANGE, GREEN, RED = "#2f6fde", "#d9730d", "#2f855a", "#c53030"
COLOURS = {"moral_grammar": BLUE, "moral_economic": ORANGE}
TITLES = {"moral_grammar": "moral and grammatical", "moral_economic": "moral and economic"}
FONT = {"family": "Inter, Helvetica, Arial, sans-serif", "size": 14, "color": INK}

# Plotly's own buttons include one that uploads the figure, and every text in it, to its makers.
# The layout goes wherever the figure goes: into a notebook, a file, or another program.
UNWANTED_BUTTONS = ("sendChartToCloud", "select2d", "lasso2d", "autoScale2d")
_LINE, _MOST_LINES = 80, 8
UNREAD = "hollow and pale: a direction does not read its value there (AUC below .8)"


def marks(
    colour: str, reads: Sequence[bool], symbols: Sequence[str] | None = None, size: int = 7
) -> dict[str, object]:
    """Return markers that are hollow and pale where ``reads`` is False, one per point.

    A correlation at a layer where a direction does not read its value says nothing about the value,
    however large it is.
    """
    shapes = symbols or ["circle"] * len(reads)
    return {
        "size": size,
        "symbol": list(shapes),
        "color": [colour if read else "white" for read in reads],
        "line": {"color": [colour if read else FAINT for read in reads], "width": 1.5},
    }


def unread_legend() -> go.Scatter:
    """Return the legend's entry for hollow and pale marks, without a point of its own."""
    marker = {"color": "white", "line": {"color": FAINT, "width": 1.5}, "size": 9}
    return go.Scatter(x=[None], y=[None], mode="markers", name=UNREAD, marker=marker)


def curve_legend(label: str, group: str, colour: str, dash: str) -> go.Scatter:
    """Return the legend's entry for the curves of a group, whose first mark may be hollow."""
    return go.Scatter(
        x=[None],
        y=[None],
        mode="lines+markers",
        name=label,
        legendgroup=group,
        line={"color": colour, "dash": dash},
        marker={"color": colour, "size": 7},
    )


def hover_text(text: str) -> str:
    """Return text from a file as a figure shows it at the pointer: as it is, in short lines."""
    lines = textwrap.wrap(text, _LINE, max_lines=_MOST_LINES, placeholder=" ...")
    return "<br>".join(map(figure_text, lines))


def error_bars(rows: list[tuple[float, float, float]]) -> dict[str, object]:
    """Return plotly error bars from (value, low, high) rows."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, _, high in rows],
        "arrayminus": [value - low for value, low, _ in rows],
        "thickness": 1.6,
        "width": 5,
    }


def styled(figure: go.Figure, *, height: int, legend: bool = True) -> go.Figure:
    """Give a figure the common look and return it."""
    figure.update_layout(
        template="plotly_white",
        font=FONT,
        height=height,
        showlegend=legend,
        legend={"orientation": "h", "yanchor": "top", "y": -0.18},
        margin={"l": 60, "r": 30, "t": 60, "b": 60},
        modebar={"remove": list(UNWANTED_BUTTONS)},
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return figure
