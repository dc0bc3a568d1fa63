"""A study that keeps to a budget: what is left out, in which order, and saying so.

Wordings, layers and random directions are given up first, since they make the estimates rougher and
leave the question the same; then ablations that are there for comparison; then scenarios and pairs,
which widen the intervals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from entangle_lens.entanglement.design import MORAL, Design
from entangle_lens.entanglement.plan import (
    Rendered,
    StudyPlan,
    clock,
    count_study,
    study_speed,
)
from entangle_lens.entanglement.selection import count_kept_layers
from entangle_lens.errors import EntangleError
from entangle_lens.models import Model
from entangle_lens.stimuli import Stimuli

QUICK_TOKENS = 150_000


@dataclass(frozen=True)
class _Rung:
    """How much of everything a study does; None is all there is."""

    n_paraphrases: int | None = None
    n_repair_paraphrases: int = 2
    n_layers: int | None = None
    n_random: int = 100
    few_arms: bool = False
    n_scenarios: int | None = None
    n_pairs: int | None = None
    n_texts: int | None = None
    one_repair_polarity: bool = False


_RUNGS = (
    _Rung(),
    _Rung(n_random=50),
    _Rung(n_random=50, n_layers=16),
    _Rung(3, 1, 12, 50),
    _Rung(2, 1, 8, 20),
    _Rung(2, 1, 6, 20, few_arms=True),
    _Rung(1, 1, 6, 20, True, n_scenarios=24, n_pairs=24),
    _Rung(1, 1, 5, 20, True, n_scenarios=18, n_pairs=20, n_texts=24),
    _Rung(1, 1, 5, 20, True, 18, 20, 24, one_repair_polarity=True),
    _Rung(1, 1, 4, 20, True, 12, 16, 16, one_repair_polarity=True),
    _Rung(1, 1, 3, 20, True, 12, 12, 12, one_repair_polarity=True),
    _Rung(1, 1, 3, 10, True, 12, 12, 8, one_repair_polarity=True),
    _Rung(1, 1, 2, 10, True, 9, 8, 4, one_repair_polarity=True),
)
_FIRST_QUICK = 5


@dataclass(frozen=True)
class FittedStudy:
    """A design within its budget, and what it will run."""

    design: Design
    plan: StudyPlan


def fit_study(
    model: Model, stimuli: Stimuli, design: Design, minutes: float | None = None
) -> FittedStudy:
    """Return the richest study within a budget, in a fixed order of what is given up.

    Args:
        model: the model to be studied.
        stimuli: all stimuli, before the design has chosen among them.
        design: what is wanted; a quick one runs at most 150,000 tokens.
        minutes: how long the study may take, by the speed of a short calibration.

    Raises:
        EntangleError: minutes that are not a positive number, or a budget below that of the
            smallest study.
    """
    if minutes is not None and not 0 < minutes < float("inf"):
        raise EntangleError(f"budget {minutes!r} is not a number of minutes above 0")
    speed = study_speed(model, design.asked(stimuli), design)
    limits = [QUICK_TOKENS] if design.quick else []
    if minutes is not None:
        limits.append(round(60 * minutes * speed))
    plan, rendered = None, Rendered()
    for fitted in _designs(model, stimuli, design):
        plan = count_study(model, fitted.asked(stimuli), fitted, rendered)
        if plan.total.tokens_run <= min(limits, default=float("inf")):
            left_out = describe_given_up(fitted, stimuli, int(model.cfg.n_layers))
            seconds = plan.total.tokens_run / speed
            return FittedStudy(fitted, replace(plan, seconds=seconds, given_up=left_out))
    assert plan is not None
    least = plan.total.tokens_run
    raise EntangleError(
        f"the budget allows {min(limits):,} tokens and the smallest study of these stimuli needs "
        f"{least:,.0f}, about {clock(least / speed)} on this machine; give a budget of more minutes"
        + (", without quick" if design.quick else "")
    )


def _designs(model: Model, stimuli: Stimuli, design: Design) -> Iterator[Design]:
    """Yield ever smaller designs; what was asked for is never made larger."""
    n_layers = int(model.cfg.n_layers)
    wanted = tuple(range(n_layers)) if design.layers is None else design.layers
    for rung in _RUNGS[_FIRST_QUICK if design.quick else 0 :]:
        layers = _spread(wanted, rung.n_layers, n_layers)
        yield replace(
            design,
            n_paraphrases=_fewer(design.n_paraphrases, rung.n_paraphrases),
            n_repair_paraphrases=min(design.n_repair_paraphrases, rung.n_repair_paraphrases),
            n_random=min(design.n_random, rung.n_random),
            layers=None if layers == tuple(range(n_layers)) else layers,
            few_arms=design.few_arms or rung.few_arms,
            n_scenarios=_fewer(design.n_scenarios, rung.n_scenarios),
            n_pairs=_fewer(design.n_pairs, rung.n_pairs),
            n_texts=_fewer(design.n_texts, rung.n_texts),
            one_repair_polarity=design.one_repair_polarity or rung.one_repair_polarity,
        )


def _fewer(one: int | None, other: int | None) -> int | None:
    given = [number for number in (one, other) if number is not None]
    return min(given, default=None)


def _spread(layers: tuple[int, ...], n_kept: int | None, n_layers: int) -> tuple[int, ...]:
    """Return some of the layers, spread evenly over those that an ablation may choose."""
    eligible = [layer for layer in layers if layer < count_kept_layers(n_layers)] or list(layers)
    if n_kept is None or len(layers) <= n_kept:
        return layers
    if len(eligible) <= n_kept:
        return tuple(eligible)
    rows = np.linspace(0, len(eligible) - 1, n_kept + 2)[1:-1].round()
    return tuple(sorted({eligible[int(row)] for row in rows}))


def describe_given_up(design: Design, stimuli: Stimuli, n_layers: int) -> tuple[str, ...]:
    """Say what a design leaves out of a whole study, in words."""
    whole, asked = Design(), design.asked(stimuli)
    counts = {
        "wordings": (
            len({each.paraphrase for each in asked.questions_for(MORAL, design.n_paraphrases)}),
            len({each.paraphrase for each in stimuli.questions_for(MORAL)}),
        ),
        "polarities": tuple(
            len({each.polarity for each in each_of.questions}) for each_of in (asked, stimuli)
        ),
        "layers": (n_layers if design.layers is None else len(design.layers), n_layers),
        "random directions": (design.n_random, whole.n_random),
        "scenarios per item set": tuple(
            min(len(set(items.scenario_ids)) for items in each_of.items.values())
            for each_of in (asked, stimuli)
        ),
        "contrast pairs per value": tuple(
            sum(len(pairs) for (value, _), pairs in each_of.contrasts.items() if value == MORAL)
            for each_of in (asked, stimuli)
        ),
        "neutral prompts": (len(asked.neutral), len(stimuli.neutral)),
    }
    left_out = [f"{some} of {all_} {what}" for what, (some, all_) in counts.items() if some < all_]
    if design.few_arms:
        left_out.append("the ablations of other values' directions")
    if design.one_repair_polarity:
        left_out.append("the second polarity under ablations")
    return tuple(left_out)
