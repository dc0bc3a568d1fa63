"""The report of ``calibration.py``: every table that it has written, each with its figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import plotly.express as px
import plotly.graph_objects as go

from entangle_lens.results.html import CONFIG

REPORT = "report.html"
LEVEL, NOMINAL = 0.05, 0.95
STYLE = """<style>
body { font-family: sans-serif; max-width: 62em; margin: 2em auto; color: #1f2933 }
table { border-collapse: collapse } td, th { padding: .25em .8em; text-align: right }
th { border-bottom: 1px solid #9aa5b1 }</style>"""


@dataclass(frozen=True)
class Section:
    """One table of the report: its title, what to look for, and how it is drawn."""

    title: str
    note: str
    draw: Callable[[pd.DataFrame], go.Figure]


def write_table(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Keep a table and write the report anew, with all tables that the folder holds."""
    table.to_csv(folder / f"{name}.csv", index=False)
    parts = ["<!doctype html><meta charset='utf-8'><title>Calibration</title>", STYLE]
    parts.append("<h1>Does the instrument find what is there, and nothing else?</h1>")
    first = True
    for each, section in SECTIONS.items():
        path = folder / f"{each}.csv"
        if not path.exists():
            continue
        found = pd.read_csv(path)
        figure = section.draw(found).update_layout(template="plotly_white", height=380)
        parts += [f"<h2>{section.title}</h2><p>{section.note}</p>"]
        parts += [found.round(3).to_html(index=False, border=0, na_rep="")]
        parts += [figure.to_html(full_html=False, include_plotlyjs=first, config=CONFIG)]
        first = False
    (folder / REPORT).write_text("\n".join(parts), encoding="utf-8")


def _lines(table: pd.DataFrame, x: str, columns: list[str], line: float) -> go.Figure:
    shown = table.melt(x, columns, "way", "share of tables")
    figure = px.line(shown, x=x, y="share of tables", color="way", markers=True)
    return figure.add_hline(y=line, line={"dash": "dot", "color": "grey"})


def _alarms(table: pd.DataFrame) -> go.Figure:
    return _lines(table, "within", [name for name in table if name != "within"], LEVEL)


def _coverage(table: pd.DataFrame) -> go.Figure:
    kinds = ["coverage", "percentile", "BCa"]
    shown = table.melt(["r", "scenarios"], kinds, "interval", "share that holds r")
    figure = px.line(
        shown, x="scenarios", y="share that holds r", color="interval", facet_col="r", markers=True
    )
    return figure.add_hline(y=NOMINAL, line={"dash": "dot", "color": "grey"})


def _layers(table: pd.DataFrame) -> go.Figure:
    shown = table.astype({"layers": str}).melt("layers", var_name="way", value_name="false alarms")
    figure = px.bar(shown, x="layers", y="false alarms", color="way", barmode="group")
    return figure.add_hline(y=LEVEL, line={"dash": "dot", "color": "grey"})


def _planted(table: pd.DataFrame) -> go.Figure:
    """Leaks found, before the repair with intervals and after it, against the true ones."""
    figure = go.Figure()
    for pair, rows in table.groupby("pair"):
        error = {
            "symmetric": False,
            "array": rows["high"] - rows["leak"],
            "arrayminus": rows["leak"] - rows["low"],
        }
        figure.add_scatter(x=rows["true"], y=rows["leak"], error_y=error, name=f"{pair}, found",
                           mode="markers")  # fmt: skip
        figure.add_scatter(x=rows["true"], y=rows["leak after"], name=f"{pair}, after the repair",
                           mode="lines+markers", marker={"symbol": "circle-open"})  # fmt: skip
    figure.add_shape(type="line", x0=0, y0=0, x1=0.65, y1=0.65, line={"dash": "dot"})
    return figure.update_xaxes(title="the generator's leak").update_yaxes(title="leak")


def _organisms(table: pd.DataFrame) -> go.Figure:
    shown = table.melt(["organism", "seed", "pair"], ["true", "leak", "leak after"], "which", "r")
    return px.strip(shown, x="organism", y="r", color="which", facet_col="pair")


SECTIONS = {
    "false_positives": Section(
        "False alarms at .05 where nothing correlates, 17 scenarios",
        "Against the correlation within scenarios. The scenario test deals whole scenarios out "
        "anew; the dotted line is the level that was promised.",
        _alarms,
    ),
    "mixed_sizes": Section(
        "The same for 16 scenarios of 3 to 18 items",
        "No two scenarios are of one size, so that none could take another's place: the test turns "
        "the signs of their shares in r. The last column is how often it sees r = .5.",
        _alarms,
    ),
    "coverage": Section(
        "Coverage of 95 % intervals, and power",
        "Correlation within scenarios .3. <i>coverage</i> is the default interval (Fisher z, t); "
        "power is how often it excludes zero.",
        _coverage,
    ),
    "layer_choice": Section(
        "False alarms where no layer correlates, 17 scenarios",
        "Layers correlate by .97 from one to the next. The package picks by validity, or shows "
        "the band.",
        _layers,
    ),
    "planted": Section(
        "What was planted and what is found",
        "Organisms of every strength; lambda is the weight of the moral level in the generator's "
        "other answers. After the repair: the moral direction ablated at one layer.",
        _planted,
    ),
    "organisms": Section(
        "The bundled organisms",
        "With several seeds, which move intervals and random directions only.",
        _organisms,
    ),
}
