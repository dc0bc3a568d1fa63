"""What all reports are made of: a template, figures and tables as HTML without network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from entangle_lens.results.figures.style import UNWANTED_BUTTONS

_HERE = Path(__file__).parent
CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "modeBarButtonsToRemove": list(UNWANTED_BUTTONS),
}


def template(name: str) -> Template:
    """Return a template of this folder; a name that it uses and is not given is an error."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template(name)


def figures_html(figures: Mapping[str, go.Figure]) -> dict[str, Markup]:
    """Render every figure; the first brings the plotly library along."""
    rendered = {}
    for number, (name, figure) in enumerate(figures.items()):
        html = figure.to_html(
            full_html=False,
            include_plotlyjs=number == 0,
            div_id=f"figure-{name}",
            config=CONFIG,
        )
        rendered[name] = Markup(f'<div class="scroll">{html}</div>')
    return rendered


def table_html(table: pd.DataFrame, kind: str = "") -> Markup:
    """Render a table whose cells are text or numbers; ``kind`` is its class."""
    texts = table.select_dtypes(exclude="number").columns
    as_they_are = dict.fromkeys(texts, str)  # else pandas writes a line break as backslash and n
    html = table.to_html(
        index=False, border=0, na_rep="", classes=kind or None, formatters=as_they_are
    )
    return Markup(f'<div class="scroll">{html}</div>')
