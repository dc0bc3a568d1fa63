"""Interventions: what removes or moves a value, as pure edits, and how they are put on a model."""

from entangle_lens.interventions.arguments import Layers
from entangle_lens.interventions.build import (
    ablation,
    affine_ablation,
    clamp,
    erasure,
    full_ablation,
    least_shift,
    steering,
    subspace_ablation,
)
from entangle_lens.interventions.context import ablate, applied
from entangle_lens.interventions.gates import At, CosineGate, Gate, Gated, ProbeGate
from entangle_lens.interventions.removals import Removal, name_strength
from entangle_lens.interventions.shifts import LeastShift, PromptLeastShift, Steering

__all__ = [
    "At",
    "CosineGate",
    "Gate",
    "Gated",
    "Layers",
    "LeastShift",
    "ProbeGate",
    "PromptLeastShift",
    "Removal",
    "Steering",
    "ablate",
    "ablation",
    "affine_ablation",
    "applied",
    "clamp",
    "erasure",
    "full_ablation",
    "least_shift",
    "name_strength",
    "steering",
    "subspace_ablation",
]
