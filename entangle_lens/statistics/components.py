"""Where the variance of ratings comes from: scenarios, items, or the way of asking."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float

from entangle_lens.errors import EntangleError
from entangle_lens.statistics.correlation import Clusters, centred, pearson


@dataclass(frozen=True)
class VarianceComponents:
    """Shares of the variance of one rating; they add up to 1.

    ``item`` is between items of one scenario; ``item_x_paraphrase`` is how far paraphrases
    order the items differently; ``residual`` is everything else. NaN marks a share that the
    design cannot tell (one paraphrase, one polarity, one item per scenario). ``total`` is the
    variance that is shared out, in squared units of the rating.
    """

    scenario: float
    item: float
    paraphrase: float
    polarity: float
    item_x_paraphrase: float
    residual: float
    total: float

    def as_dict(self) -> dict[str, float]:
        """Return the fields as a plain dictionary, for tables and JSON."""
        return asdict(self)


def variance_components(
    ratings: Float[np.ndarray, "paraphrases polarities items"], clusters: Clusters
) -> VarianceComponents:
    """Share the variance of ratings out over scenario, item and the way of asking.

    rating = mean + scenario + item in scenario + paraphrase + polarity + item x paraphrase +
    residual, all effects random. Each component is the mean square of its effect less that of
    the effect below it, over the number of ratings that share one of its levels (method of
    moments; Searle, Casella & McCulloch 1992, ch. 4), at least zero, as a share of their sum.
    Missing ratings, scenarios of different sizes, and ratings that are all the same are errors.
    """
    clusters.check(ratings=ratings)
    _check_balance(ratings, clusters)
    squares = _mean_squares(ratings, clusters)
    n_paraphrases, n_polarities, n_items = ratings.shape
    above_residual = _first_known(squares, "item_x_paraphrase", "residual")
    above_item = _first_known(squares, "item", "item_x_paraphrase", "residual")
    asked = n_paraphrases * n_polarities
    components = {
        "scenario": (squares["scenario"] - above_item) / (asked * n_items / clusters.n_clusters),
        "item": (squares["item"] - above_residual) / asked,
        "paraphrase": (squares["paraphrase"] - above_residual) / (n_polarities * n_items),
        "polarity": (squares["polarity"] - squares["residual"]) / (n_paraphrases * n_items),
        "item_x_paraphrase": (squares["item_x_paraphrase"] - squares["residual"]) / n_polarities,
        "residual": squares["residual"],
    }
    kept = {name: max(value, 0.0) for name, value in components.items() if np.isfinite(value)}
    total = sum(kept.values())
    shares = {name: kept[name] / total if name in kept else np.nan for name in components}
    return VarianceComponents(**shares, total=total)


def sign_depends_on(
    moral: Float[np.ndarray, " items"],
    ratings: Float[np.ndarray, "paraphrases polarities items"],
) -> tuple[int, ...]:
    """Return the paraphrases under which r(moral, rating) has another sign than over all of them.

    The rating of a paraphrase is its mean over polarities, the whole the mean over both. A
    paraphrase without a correlation (constant ratings) is not among them; where the whole has
    none, there is no sign to depend on anything.
    """
    if moral.shape[-1] != ratings.shape[-1]:
        raise EntangleError(
            f"{moral.shape[-1]} moral values and ratings of {ratings.shape[-1]} items were given; "
            "give one value for each item"
        )
    whole = np.sign(pearson(moral, ratings.mean((0, 1))))
    each = np.sign(pearson(moral, ratings.mean(1)))
    return tuple(int(paraphrase) for paraphrase in np.flatnonzero(each * whole < 0))


def _mean_squares(
    ratings: Float[np.ndarray, "paraphrases polarities items"], clusters: Clusters
) -> dict[str, float]:
    """Return each effect's sum of squares over its degrees of freedom; NaN where it has none.

    What cannot be told from the residual is the residual: item x paraphrase with one polarity,
    items with one way of asking.
    """
    y = ratings - ratings.mean()
    n_paraphrases, n_polarities, n_items = y.shape
    n_scenarios = clusters.n_clusters
    item, paraphrase = y.mean((0, 1)), y.mean((1, 2))
    scenario = clusters.sums(item) / (n_items // n_scenarios)
    both = y.mean(1) - item - paraphrase[:, None]
    polarity = y.mean((0, 2))
    left = y - y.mean(1, keepdims=True) - polarity[:, None]
    asked = n_paraphrases * n_polarities
    sums = {
        "scenario": (asked * n_items / n_scenarios * _square(scenario), n_scenarios - 1),
        "item": (asked * _square(item - scenario[clusters.codes]), n_items - n_scenarios),
        "paraphrase": (n_polarities * n_items * _square(paraphrase), n_paraphrases - 1),
        "polarity": (n_paraphrases * n_items * _square(polarity), n_polarities - 1),
        "item_x_paraphrase": (n_polarities * _square(both), (n_items - 1) * (n_paraphrases - 1)),
        "residual": (_square(left), (n_items * n_paraphrases - 1) * (n_polarities - 1)),
    }
    squares = {name: total / df if df else np.nan for name, (total, df) in sums.items()}
    for name in ("item_x_paraphrase", "item"):
        if np.isnan(squares["residual"]):
            squares["residual"], squares[name] = squares[name], np.nan
    return squares


def _first_known(squares: dict[str, float], *names: str) -> float:
    return next(squares[name] for name in names if np.isfinite(squares[name]))


def _square(x: Float[np.ndarray, "..."]) -> float:
    return float(np.sum(x * x))


def _check_balance(
    ratings: Float[np.ndarray, "paraphrases polarities items"], clusters: Clusters
) -> None:
    sizes = np.unique(np.bincount(clusters.codes))
    if len(sizes) > 1:
        raise EntangleError(
            f"scenarios hold {sizes[0]} to {sizes[-1]} items, and variance components need as "
            "many items in each"
        )
    if ratings[..., 0].size * sizes[0] < 2:
        raise EntangleError("there is one rating per scenario: it has no components")
    missing = np.argwhere(~np.isfinite(ratings))
    if len(missing):
        paraphrase, polarity, item = missing[0] + 1
        raise EntangleError(
            f"{len(missing)} ratings are missing; the first is paraphrase {paraphrase}, polarity "
            f"{polarity}, item {item}"
        )
    if not centred(ratings.ravel()).any():
        raise EntangleError("the ratings are all the same: there is no variance to share out")
