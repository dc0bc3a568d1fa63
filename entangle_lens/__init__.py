"""Measure value entanglement in language models, find where it lives, and repair it.

The names below are the public ones. They are loaded when first used, so that importing the
package, and the command line's help, cost no torch import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from entangle_lens.directions import Direction, fit_difference_of_means
    from entangle_lens.errors import EntangleError
    from entangle_lens.interventions import ablate
    from entangle_lens.models import load
    from entangle_lens.results.panel import RatingAnalysis, analyse_ratings
    from entangle_lens.results.run_folder import load_direction
    from entangle_lens.results.study import Study, study
    from entangle_lens.statistics import Estimate
    from entangle_lens.stimuli import Scale, Stimuli, check_stimuli, load_stimuli

_HOMES = {
    "Direction": "directions",
    "EntangleError": "errors",
    "Estimate": "statistics",
    "RatingAnalysis": "results.panel",
    "Scale": "stimuli",
    "Stimuli": "stimuli",
    "Study": "results.study",
    "ablate": "interventions",
    "analyse_ratings": "results.panel",
    "check_stimuli": "stimuli",
    "fit_difference_of_means": "directions",
    "load": "models",
    "load_direction": "results.run_folder",
    "load_stimuli": "stimuli",
    "study": "results.study",
}

__all__ = [
    "Direction",
    "EntangleError",
    "Estimate",
    "RatingAnalysis",
    "Scale",
    "Stimuli",
    "Study",
    "ablate",
    "analyse_ratings",
    "check_stimuli",
    "fit_difference_of_means",
    "load",
    "load_direction",
    "load_stimuli",
    "study",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
