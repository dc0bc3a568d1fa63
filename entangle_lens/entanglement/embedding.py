"""The measure in embeddings: axes from phrases, projections of items, their correlations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from entangle_lens.entanglement.design import MORAL
from entangle_lens.errors import EntangleError
from entangle_lens.statistics import Clusters, Estimate, correlation_estimate
from entangle_lens.stimuli import ItemSet, Stimuli

Embed = Callable[[Sequence[str]], Float[np.ndarray, "text d_embedding"]]


@dataclass(frozen=True, eq=False)
class EmbeddingMeasure:
    """Entanglement in an embedding space, for one item set.

    ``moral`` and ``secondary`` are the items' positions on the two axes; ``cosine`` is that
    between the axes.
    """

    item_set: ItemSet
    moral: Float[np.ndarray, " item"]
    secondary: Float[np.ndarray, " item"]
    cosine: float
    entanglement: Estimate


def measure_embedding(
    item_set: ItemSet,
    stimuli: Stimuli,
    embed: Embed,
    rng: np.random.Generator,
    n_resamples: int,
) -> EmbeddingMeasure:
    """Project items on phrase axes: score = <e - mu, v> / |v|, v = mean(high) - mean(low).

    Grand et al. 2022 (semantic projection); mu is the mean over the items. ``embed`` maps texts
    to vectors: the model's own token embeddings or any sentence encoder.
    """
    axes = {value: phrase_axis(stimuli, value, embed) for value in (MORAL, item_set.secondary)}
    items = _embedded(embed, item_set.texts)
    centred = items - items.mean(0)
    units = {value: axis / np.linalg.norm(axis) for value, axis in axes.items()}
    moral, secondary = centred @ units[MORAL], centred @ units[item_set.secondary]
    clusters = Clusters.of(item_set.scenario_ids)
    return EmbeddingMeasure(
        item_set,
        moral,
        secondary,
        cosine=float(units[MORAL] @ units[item_set.secondary]),
        entanglement=correlation_estimate(moral, secondary, clusters, rng, n_resamples),
    )


def phrase_axis(stimuli: Stimuli, value: str, embed: Embed) -> Float[np.ndarray, " d_embedding"]:
    """Return mean(high phrases) - mean(low phrases) of ``value``.

    Raises:
        EntangleError: no phrases for ``value``.
    """
    poles = [stimuli.phrases.get((value, pole), ()) for pole in ("high", "low")]
    if not all(poles):
        raise EntangleError(f"phrases.csv has no high and low phrases for {value!r}")
    high, low = (_embedded(embed, phrases).mean(0) for phrases in poles)
    return np.asarray(high - low)


def _embedded(embed: Embed, texts: Sequence[str]) -> Float[np.ndarray, "text d_embedding"]:
    vectors = np.asarray(embed(texts), dtype=float)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise EntangleError(
            f"the embedding function returned shape {vectors.shape} for {len(texts)} texts; one "
            "finite vector a text was expected"
        )
    return vectors
