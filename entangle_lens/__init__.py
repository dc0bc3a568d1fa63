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
    from entangle_lens.export import (
        export_gguf,
        hooked,
        import_gguf,
        import_repeng,
        import_steering_vectors,
        load_direction,
        load_directions,
        orthogonalise_checkpoint,
        orthogonalised,
        save_directions,
        verify_checkpoint,
    )
    from entangle_lens.interventions import ablate, applied
    from entangle_lens.models import load
    from entangle_lens.results.comparison import InterventionComparison, compare
    from entangle_lens.results.multiverse import Multiverse, multiverse
    from entangle_lens.results.panel import RatingAnalysis, analyse_ratings
    from entangle_lens.results.repair_checkpoint import repair
    from entangle_lens.results.repair_verify import verify_repair
    from entangle_lens.results.study import Study, study
    from entangle_lens.statistics import Estimate
    from entangle_lens.stimuli import Scale, Stimuli, check_stimuli, load_stimuli

_HOMES = {
    "Direction": "directions",
    "EntangleError": "errors",
    "Estimate": "statistics",
    "InterventionComparison": "results.comparison",
    "Multiverse": "results.multiverse",
    "RatingAnalysis": "results.panel",
    "Scale": "stimuli",
    "Stimuli": "stimuli",
    "Study": "results.study",
    "ablate": "interventions",
    "applied": "interventions",
    "analyse_ratings": "results.panel",
    "check_stimuli": "stimuli",
    "compare": "results.comparison",
    "export_gguf": "export",
    "fit_difference_of_means": "directions",
    "hooked": "export",
    "import_gguf": "export",
    "import_repeng": "export",
    "import_steering_vectors": "export",
    "load": "models",
    "load_direction": "export",
    "load_directions": "export",
    "load_stimuli": "stimuli",
    "multiverse": "results.multiverse",
    "orthogonalise_checkpoint": "export",
    "orthogonalised": "export",
    "repair": "results.repair_checkpoint",
    "save_directions": "export",
    "study": "results.study",
    "verify_checkpoint": "export",
    "verify_repair": "results.repair_verify",
}

__all__ = [
    "Direction",
    "EntangleError",
    "Estimate",
    "InterventionComparison",
    "Multiverse",
    "RatingAnalysis",
    "Scale",
    "Stimuli",
    "Study",
    "ablate",
    "applied",
    "analyse_ratings",
    "check_stimuli",
    "compare",
    "export_gguf",
    "fit_difference_of_means",
    "hooked",
    "import_gguf",
    "import_repeng",
    "import_steering_vectors",
    "load",
    "load_direction",
    "load_directions",
    "load_stimuli",
    "multiverse",
    "orthogonalise_checkpoint",
    "orthogonalised",
    "repair",
    "save_directions",
    "study",
    "verify_checkpoint",
    "verify_repair",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
