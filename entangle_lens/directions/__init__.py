"""Directions and subspaces in the residual stream: fits, their quality, and controls.

Mathematics on arrays alone: no model is run here.
"""

from entangle_lens.directions.contrast import ContrastResid, pooled
from entangle_lens.directions.controls import random_units, removed_variance
from entangle_lens.directions.direction import Direction, Quality, unit
from entangle_lens.directions.erasure import (
    Eraser,
    LabelledResid,
    fit_leace,
    fit_leace_to_labels,
    one_hot,
)
from entangle_lens.directions.fitting import Probe, fit_direction, fit_probe
from entangle_lens.directions.layer_directions import (
    Background,
    LayerDirections,
    fit_difference_of_means,
)
from entangle_lens.directions.methods import METHODS, disentangled
from entangle_lens.directions.readouts import CENTRED, READOUTS, read_out, validate
from entangle_lens.directions.subspace import SUBSPACE_METHODS, Subspace, fit_subspace

__all__ = [
    "CENTRED",
    "METHODS",
    "READOUTS",
    "SUBSPACE_METHODS",
    "Background",
    "ContrastResid",
    "Direction",
    "Eraser",
    "LabelledResid",
    "LayerDirections",
    "Probe",
    "Quality",
    "Subspace",
    "disentangled",
    "fit_difference_of_means",
    "fit_direction",
    "fit_leace",
    "fit_leace_to_labels",
    "fit_probe",
    "fit_subspace",
    "one_hot",
    "pooled",
    "random_units",
    "read_out",
    "removed_variance",
    "unit",
    "validate",
]
