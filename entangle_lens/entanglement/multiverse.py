"""The multiverse: the headline under every reasonable choice, with its interval and its test.

After Steegen, Tuerlinckx, Gelman & Vanpaemel (2016), "Increasing transparency through a
multiverse analysis", and Simonsohn, Simmons & Nelson (2020), "Specification curve analysis",
whose joint test of the median is made here by permuting whole scenarios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float32
from scipy.stats import rankdata

from entangle_lens.entanglement.evidence import Evidence
from entangle_lens.entanglement.universes import (
    BEHAVIOUR,
    CHOICES,
    DEFAULT,
    ITEMS,
    LARGEST,
    PEARSON,
    RESIDUAL,
    SCENARIOS,
    SPEARMAN,
    Scores,
    by_unit,
    covariate_sets,
    left_out,
    score_items,
)
from entangle_lens.statistics import Clusters, pearson
from entangle_lens.statistics.many import Draws, correlate_many
from entangle_lens.statistics.partial import covariate_basis, residuals

N_RESAMPLES = 300  # of the intervals: their standard errors are then within about 4 %
N_PERMUTATIONS = 1_000
LEVEL = 0.05
_SAME_MEDIAN = 1e-6  # the null is kept in single precision
NEVER = (
    "Centring the ratings of a prompt is no choice: it shifts all items alike and moves no r.",
    "The layer with the largest |r| is shown and not counted: picking it by r is circular.",
)


@dataclass(frozen=True)
class Curve:
    """All universes of one pair and one measure, in numbers.

    ``median``, ``low`` and ``high`` (the range) are over the ``n_universes`` that have a
    correlation and whose layer was not picked by its size; ``n_circular`` were,
    ``n_undefined`` have none. ``same_sign`` is the share with the sign of the default (of the
    median where there is no default), ``significant`` the share that besides has p < .05.
    ``default_r`` stands at place ``default_rank`` from the lowest. ``p_median`` tests all
    universes at once: the share of permutations whose median |r| is as large. ``moves`` is the
    share of the variance over universes that each choice makes, largest first.
    """

    pair: str
    measure: str
    n_universes: int
    n_circular: int
    n_undefined: int
    median: float
    low: float
    high: float
    same_sign: float
    significant: float
    p_median: float
    default_r: float | None
    default_rank: int | None
    moves: dict[str, float]


@dataclass(frozen=True, eq=False)
class MultiverseFindings:
    """Every universe, one row each, and what they say together.

    ``universes`` has columns pair, measure, the eight choices, ``layer``, ``n`` (rows correlated),
    ``n_scenarios``, r, low, high, p, ``default`` and ``circular``. ``notes`` say what is no choice.
    """

    universes: pd.DataFrame
    curves: tuple[Curve, ...]
    notes: tuple[str, ...]
    n_resamples: int
    n_permutations: int
    seed: int

    @property
    def n_universes(self) -> int:
        """How many universes count: those that have a correlation, circular ones left out."""
        return sum(curve.n_universes for curve in self.curves)

    @property
    def n_circular(self) -> int:
        """How many universes are circular: their layer was picked by the size of its r."""
        return sum(curve.n_circular for curve in self.curves)

    @property
    def n_undefined(self) -> int:
        """How many universes have no correlation, since a score is constant in them."""
        return sum(curve.n_undefined for curve in self.curves)


def explore(
    evidence: Sequence[Evidence],
    seed: int = 0,
    *,
    n_resamples: int = N_RESAMPLES,
    n_permutations: int = N_PERMUTATIONS,
) -> MultiverseFindings:
    """Compute r(moral, secondary) in every universe of every pair.

    All universes of a pair share their resamples and permutations of scenarios; without resamples
    there are no intervals. The estimates do not depend on the seed.
    """
    frames, curves, notes = [], [], list(NEVER)
    for each in evidence:
        frame, null = _of_pair(each, np.random.default_rng(seed), n_resamples, n_permutations)
        frames.append(frame)
        notes += left_out(each, Clusters.of(each.scenario_ids))
        for measure in (BEHAVIOUR, RESIDUAL):
            rows = (frame["measure"] == measure).to_numpy()
            if rows.any():
                curves.append(_curve(frame[rows], null[:, rows]))
    universes = pd.concat(frames, ignore_index=True)
    return MultiverseFindings(
        universes, tuple(curves), tuple(notes), n_resamples, n_permutations, seed
    )


def _of_pair(
    evidence: Evidence, rng: np.random.Generator, n_resamples: int, n_permutations: int
) -> tuple[pd.DataFrame, Float32[np.ndarray, "permutation universe"]]:
    clusters = Clusters.of(evidence.scenario_ids)
    drawn = Draws.make(clusters, rng, n_resamples, n_permutations)
    scores = score_items(evidence)
    frames, nulls = [], []
    for unit, draws in ((ITEMS, drawn), (SCENARIOS, drawn.of_scenarios())):
        x, y = (by_unit(each, unit, clusters) for each in (scores.x, scores.y))
        covariates = dict(covariate_sets(evidence, unit, clusters))
        for method in (PEARSON, SPEARMAN):
            ranks = method == SPEARMAN
            kept = [_one_layer_each(scores, x, y, z, ranks=ranks) for z in covariates.values()]
            rows = np.flatnonzero(np.any(kept, axis=0))
            each_set = correlate_many(x[rows], y[rows], [*covariates.values()], draws, ranks=ranks)
            for covariate, own, found in zip(covariates, kept, each_set, strict=True):
                here = own[rows]
                frames.append(
                    scores.choices[own].assign(
                        unit=unit, method=method, covariate=covariate, n=x.shape[1],
                        r=found.r[here], low=found.low[here], high=found.high[here],
                        p=found.p[here],
                    )
                )  # fmt: skip
                nulls.append(found.null[:, here])
    frame = _marked(pd.concat(frames, ignore_index=True))
    frame.insert(0, "pair", evidence.pair)
    return frame.assign(n_scenarios=clusters.n_clusters), np.concatenate(nulls, axis=1)


def _one_layer_each(
    scores: Scores,
    x: Float[np.ndarray, "row unit"],
    y: Float[np.ndarray, "row unit"],
    z: Float[np.ndarray, "covariate unit"],
    *,
    ranks: bool,
) -> Bool[np.ndarray, " row"]:
    """Keep, of the rows at every layer, the one with the largest |r|; all other rows stay."""
    table = scores.choices
    waiting = (table["layer_rule"] == LARGEST).to_numpy()
    kept = ~waiting
    if waiting.any():
        candidates = x[waiting], y[waiting], z
        one, other, taken = (rankdata(each, axis=-1) if ranks else each for each in candidates)
        basis = covariate_basis(taken)
        size = np.abs(pearson(residuals(one, basis), residuals(other, basis)))
        keys = ["position", "centring", "prompts", "scaling"]
        sizes = table.loc[waiting, keys].assign(size=np.nan_to_num(size, nan=-1))
        kept[sizes.groupby(keys)["size"].idxmax()] = True
    return kept


def _marked(frame: pd.DataFrame) -> pd.DataFrame:
    """Mark the default universes, and those whose layer was picked by the size of r."""
    default = np.logical_and.reduce(
        [frame[name].isin([value, ""]).to_numpy() for name, value in DEFAULT.items()]
    )
    return frame.assign(default=default, circular=frame["layer_rule"] == LARGEST)


def _curve(frame: pd.DataFrame, null: Float32[np.ndarray, "permutation universe"]) -> Curve:
    r = frame["r"].to_numpy()
    defined, circular = np.isfinite(r), frame["circular"].to_numpy()
    counted = defined & ~circular
    kept, values = frame[counted], r[counted]
    default = kept.loc[kept["default"], "r"]
    default_r = float(default.iloc[0]) if len(default) else None
    if not len(values):
        return _empty_curve(frame, n_circular=int((defined & circular).sum()))
    median = float(np.median(values))
    agrees = np.sign(values) == np.sign(median if default_r is None else default_r)
    medians = np.abs(np.median(null[:, counted], axis=1))
    return Curve(
        pair=str(frame["pair"].iloc[0]),
        measure=str(frame["measure"].iloc[0]),
        n_universes=int(counted.sum()),
        n_circular=int((defined & circular).sum()),
        n_undefined=int((~defined).sum()),
        median=median,
        low=float(values.min()),
        high=float(values.max()),
        same_sign=float(agrees.mean()),
        significant=float((agrees & (kept["p"] < LEVEL)).mean()),
        p_median=float((np.sum(medians >= abs(median) - _SAME_MEDIAN) + 1) / (len(medians) + 1)),
        default_r=default_r,
        default_rank=None if default_r is None else int((values < default_r).sum()) + 1,
        moves=_moves(kept),
    )


def _empty_curve(frame: pd.DataFrame, n_circular: int) -> Curve:
    """Return the curve of a pair without a single correlation, as where a rating is constant."""
    nothing = float("nan")
    return Curve(
        pair=str(frame["pair"].iloc[0]),
        measure=str(frame["measure"].iloc[0]),
        n_universes=0,
        n_circular=n_circular,
        n_undefined=len(frame) - n_circular,
        median=nothing,
        low=nothing,
        high=nothing,
        same_sign=nothing,
        significant=nothing,
        p_median=nothing,
        default_r=None,
        default_rank=None,
        moves={},
    )


def _moves(kept: pd.DataFrame) -> dict[str, float]:
    """Return each choice's share of the variance of r over universes, largest first.

    The sum of squares between the means of a choice's options over the total (eta squared): main
    effects alone, so the shares need not add up to 1.
    """
    r = kept["r"]
    total = float(((r - r.mean()) ** 2).sum())
    shares = {}
    for choice in CHOICES:
        means = r.groupby(kept[choice]).transform("mean")
        if kept[choice].nunique() > 1:
            shares[choice] = float(((means - r.mean()) ** 2).sum()) / total if total else 0.0
    return dict(sorted(shares.items(), key=lambda each: -each[1]))
