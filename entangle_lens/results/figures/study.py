"""The figures of a study, by name."""

from __future__ import annotations

import plotly.graph_objects as go

from entangle_lens.entanglement.study import Findings
from entangle_lens.results.figures.measures import cosine_heatmap, forest, items, layers
from entangle_lens.results.figures.repairs import layer_sweep, repair, side_effects


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
