"""Ratings of items by a model: expected rating, spread and option mass, prompt by prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from entangle_lens.directions import LayerDirections, read_out
from entangle_lens.models import Model
from entangle_lens.running import LAST, Edit, Reading, rating_prompts, read_prompts
from entangle_lens.stimuli import Question, Scale

Readouts = Mapping[str, Float[np.ndarray, "prompt layer item"]]


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings of one value, one row per prompt wording and one column per item.

    ``expected`` is E[k] = sum_k k p(k), p renormalised over the scale's options, turned so that a
    higher number always means more of the value. ``spread`` is the standard deviation of that
    distribution, ``mass`` the probability of all options together.
    """

    value: str
    questions: tuple[Question, ...]
    expected: Float[np.ndarray, "prompt item"]
    spread: Float[np.ndarray, "prompt item"]
    mass: Float[np.ndarray, "prompt item"]
    scale: Scale = field(default_factory=Scale)

    @property
    def mean(self) -> Float[np.ndarray, " item"]:
        """Each item's rating: the mean over wordings and polarities."""
        return np.asarray(self.expected.mean(0))

    @property
    def relative_spread(self) -> float:
        """The standard deviation of the mean ratings over items, per unit of the scale's range."""
        return float(self.mean.std()) / (self.scale.high - self.scale.low)

    @property
    def by_polarity(self) -> dict[str, Float[np.ndarray, " item"]]:
        """Each item's mean rating under each polarity, turned so that more means more."""
        polarities = [question.polarity for question in self.questions]
        return {
            name: np.asarray(self.expected[[each == name for each in polarities]].mean(0))
            for name in dict.fromkeys(polarities)
        }


def rate(
    model: Model,
    texts: Sequence[str],
    questions: Sequence[Question],
    scale: Scale,
    *,
    layers: Sequence[int] = (),
    edits: Sequence[Edit] = (),
    desc: str | None = None,
) -> tuple[Ratings, Float[Tensor, "item layer d_model"]]:
    """Ask every question of every text; return ratings and mean residuals.

    The residuals are those after ``layers`` at the last prompt token, averaged over the
    questions in float64.
    """
    resid = torch.zeros(len(texts), len(layers), int(model.cfg.d_model), dtype=torch.float64)
    log_probs = []
    wordings = read_wordings(model, texts, questions, scale, layers=layers, edits=edits, desc=desc)
    for reading in wordings:
        log_probs.append(reading.log_probs)
        resid += reading.resid.double() / len(questions)
    return _ratings(log_probs, questions, scale), resid


def rate_and_project(
    model: Model,
    texts: Sequence[str],
    questions: Sequence[Question],
    scale: Scale,
    directions: Mapping[str, LayerDirections],
    *,
    desc: str | None = None,
) -> tuple[Ratings, dict[str, Readouts]]:
    """Ask every question of every text; return ratings and projections, one row a wording.

    ``directions`` holds a direction for each position that is read; the projections are keyed
    alike, and there by every name in ``READOUTS``. They are taken as the residuals are read, so
    that no more than one wording's are held.
    """
    log_probs = []
    found: dict[str, list[dict[str, np.ndarray]]] = {position: [] for position in directions}
    layers = next(iter(directions.values())).layers
    wordings = read_wordings(
        model, texts, questions, scale, layers=layers, positions=tuple(directions), desc=desc
    )
    for reading in wordings:
        log_probs.append(reading.log_probs)
        for position, direction in directions.items():
            values = read_out(direction, reading.at(position))
            found[position].append({name: each.numpy() for name, each in values.items()})
    projections: dict[str, Readouts] = {
        position: {name: np.stack([each[name] for each in rows]) for name in rows[0]}
        for position, rows in found.items()
    }
    return _ratings(log_probs, questions, scale), projections


def read_wordings(
    model: Model,
    texts: Sequence[str],
    questions: Sequence[Question],
    scale: Scale,
    *,
    layers: Sequence[int] = (),
    positions: Sequence[str] = (LAST,),
    edits: Sequence[Edit] = (),
    desc: str | None = None,
) -> Iterator[Reading]:
    """Ask one question after the other of every text."""
    for question in questions:
        group = rating_prompts(model, texts, question, scale)
        yield read_prompts(model, group, layers=layers, positions=positions, edits=edits, desc=desc)


def _ratings(
    log_probs: Sequence[Float[Tensor, "item option"]], questions: Sequence[Question], scale: Scale
) -> Ratings:
    asked = zip(log_probs, questions, strict=True)
    expected, spread, mass = zip(*(summarise(each, q, scale) for each, q in asked), strict=True)
    return Ratings(
        questions[0].value,
        tuple(questions),
        np.stack(expected),
        np.stack(spread),
        np.stack(mass),
        scale,
    )


def summarise(
    log_probs: Float[Tensor, "... option"], question: Question, scale: Scale
) -> tuple[
    Float[np.ndarray, "..."],
    Float[np.ndarray, "..."],
    Float[np.ndarray, "..."],
]:
    """Return expected rating (turned to ascending), its spread, and the option mass."""
    probs = log_probs.double().softmax(-1).numpy()
    numbers = np.asarray(scale.ratings, dtype=float)
    mean = probs @ numbers
    variance = probs @ numbers**2 - mean**2
    mass = log_probs.double().exp().sum(-1).numpy()
    if question.descending:
        mean = scale.low + scale.high - mean
    return mean, np.sqrt(np.clip(variance, 0, None)), mass
