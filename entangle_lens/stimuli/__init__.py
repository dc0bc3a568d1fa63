"""What a model is asked: items, contrast pairs, questions, controls, as checked tables."""

from entangle_lens.stimuli.design import CONFOUNDED, describe_design, design_warnings
from entangle_lens.stimuli.folder import (
    BUNDLED_STIMULI,
    MIN_PAIRS,
    check_stimuli,
    load_stimuli,
)
from entangle_lens.stimuli.people import PEOPLE, people_problems
from entangle_lens.stimuli.questions import POLARITIES, Question, Scale
from entangle_lens.stimuli.sets import COVARIATE, ContrastSet, ControlSet, ItemSet, Stimuli
from entangle_lens.stimuli.tables import Problem

__all__ = [
    "BUNDLED_STIMULI",
    "CONFOUNDED",
    "COVARIATE",
    "MIN_PAIRS",
    "PEOPLE",
    "POLARITIES",
    "ContrastSet",
    "ControlSet",
    "ItemSet",
    "Problem",
    "Question",
    "Scale",
    "Stimuli",
    "check_stimuli",
    "describe_design",
    "design_warnings",
    "load_stimuli",
    "people_problems",
]
