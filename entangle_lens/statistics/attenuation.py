"""How reliable ratings are, and what a correlation would be without their noise."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from entangle_lens.errors import EntangleError
from entangle_lens.statistics.correlation import pearson

N_SPLITS = 200


def disattenuated_correlation(
    r: float, reliability_x: float = 1.0, reliability_y: float = 1.0
) -> float:
    """Return r / sqrt(reliability_x reliability_y), the correlation of noiseless ratings.

    Spearman (1904, p. 90). The result is returned as it is, also beyond
    1, which says that the reliabilities are too low or that the ratings share their noise. A
    reliability outside (0, 1] is an error.
    """
    for name, reliability in (("x", reliability_x), ("y", reliability_y)):
        if not 0 < reliability <= 1:
            raise EntangleError(
                f"the reliability of {name} is {reliability:.3g}, and a correction needs one "
                "above 0 and at most 1"
            )
    return float(r / np.sqrt(reliability_x * reliability_y))


def mean_rating_reliability(
    means: Float[np.ndarray, " items"], standard_errors: Float[np.ndarray, " items"]
) -> float:
    """Return the reliability of mean ratings: 1 - mean(se^2) / var(means).

    The share of the variance over items (n - 1 in the denominator) that is not sampling noise of
    the raters (Lord & Novick 1968). At or below 0, the items differ by no more than
    their noise. Missing or negative standard errors, fewer than two items and means that are all
    the same are errors.
    """
    if means.shape != standard_errors.shape or len(means) < 2:
        raise EntangleError(
            f"{len(means)} means and {len(standard_errors)} standard errors were given; "
            "give one of each for at least two items"
        )
    wrong = np.flatnonzero(~(np.isfinite(means) & np.isfinite(standard_errors)))
    if len(wrong) or (standard_errors < 0).any():
        item = int(wrong[0]) if len(wrong) else int(np.argmax(standard_errors < 0))
        raise EntangleError(
            f"item {item + 1} has mean {means[item]:g} and standard error "
            f"{standard_errors[item]:g}; give numbers, and no standard error below 0"
        )
    if np.ptp(means) == 0:
        raise EntangleError("the mean ratings are all the same: they have no reliability")
    return float(1 - np.mean(standard_errors**2) / means.var(ddof=1))


def split_half_reliability(
    ratings: Float[np.ndarray, "prompts items"],
    rng: np.random.Generator,
    n_splits: int = N_SPLITS,
) -> float:
    """Return the reliability of the mean over prompts, from random halves of the prompts.

    r is the mean over splits of the correlation of the two halves' item means; stepped up to all
    prompts it is f r / (1 + (f - 1) r), f = prompts / prompts in a half (Spearman 1910, Brown
    1910). With an odd number of prompts, each split leaves one out. At or below 0, the prompts do
    not agree at all. NaN where a half rates all items the same. Missing ratings and fewer than
    two prompts are errors.
    """
    n_prompts = len(ratings)
    if n_prompts < 2:
        raise EntangleError(f"{n_prompts} prompt was given, and split halves need at least 2")
    if not np.isfinite(ratings).all():
        prompt, item = np.argwhere(~np.isfinite(ratings))[0] + 1
        raise EntangleError(f"the rating of item {item} under prompt {prompt} is missing")
    half = n_prompts // 2
    order = rng.permuted(np.tile(np.arange(n_prompts), (n_splits, 1)), axis=1)
    first, second = (
        ratings[chosen].mean(1) for chosen in (order[:, :half], order[:, half:][:, :half])
    )
    r = float(pearson(first, second).mean())
    factor = n_prompts / half
    return factor * r / (1 + (factor - 1) * r)
