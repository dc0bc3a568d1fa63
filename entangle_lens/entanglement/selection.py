"""Where a direction is valid: the layers at which it reads its value in held-out scenarios."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from entangle_lens.directions import LayerDirections

MIN_AUC = 0.8
MIN_SPLIT_HALF_COSINE = 0.5
SAME_AUC = 0.02
LAST_SHARE_DISCARDED = 0.2


def count_kept_layers(n_layers: int) -> int:
    """Return the number of layers without the last fifth, at least one.

    Arditi et al. (arXiv 2406.11717) leave the last fifth out.
    """
    return max(1, int(n_layers * (1 - LAST_SHARE_DISCARDED)))


def valid_layers(direction: LayerDirections, n_model_layers: int) -> Bool[np.ndarray, " layer"]:
    """Say at which layers a direction is valid on held-out scenarios.

    Valid is a held-out AUC of at least .8 and a split-half cosine of at least .5, below the last
    fifth of the model's layers.
    """
    kept = np.asarray(direction.layers) < count_kept_layers(n_model_layers)
    return np.asarray(
        kept & (direction.auc >= MIN_AUC) & (direction.split_half_cosine >= MIN_SPLIT_HALF_COSINE)
    )


def most_valid_layer(directions: Sequence[LayerDirections], n_model_layers: int) -> int | None:
    """Return the layer where all ``directions`` read their values best; None if nowhere valid.

    The lowest of the AUCs decides, and among equal AUCs (within .02) the lowest of the d'.
    """
    valid = np.logical_and.reduce([valid_layers(each, n_model_layers) for each in directions])
    if not valid.any():
        return None
    tied = _tied(valid, np.min([each.auc for each in directions], axis=0))
    separation = np.min([each.d_prime for each in directions], axis=0)
    row = int(np.argmax(np.where(tied, separation, -np.inf)))
    return directions[0].layers[row]


def _tied(
    valid: Bool[np.ndarray, " layer"], auc: Float[np.ndarray, " layer"]
) -> Bool[np.ndarray, " layer"]:
    return np.asarray(valid & (auc >= auc[valid].max() - SAME_AUC))
