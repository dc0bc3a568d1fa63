"""The universes of a multiverse: every reasonable choice, and the two scores that each makes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from entangle_lens.entanglement.evidence import Evidence, PromptRecords
from entangle_lens.statistics import Clusters
from entangle_lens.statistics.correlation import centred

BEHAVIOUR, RESIDUAL = "behaviour", "residual"
MOST_VALID, LAST, MIDDLE, MEAN, LARGEST = (
    "most valid layer",
    "last layer",
    "middle layer",
    "mean over layers",
    "largest |r|",
)
ALL_PROMPTS = "all prompts"
RAW, Z, RANKS = "raw", "z within prompt", "ranks within prompt"
ITEMS, SCENARIOS = "items", "scenario means"
PEARSON, SPEARMAN = "Pearson", "Spearman"
NO_COVARIATE = "none"
CHOICES = ("layer_rule", "prompts", "scaling", "unit", "method", "covariate")
DEFAULT = {
    "prompts": ALL_PROMPTS,
    "scaling": RAW,
    "unit": ITEMS,
    "method": PEARSON,
    "covariate": NO_COVARIATE,
}


@dataclass(frozen=True)
class Scores:
    """Two scores of every item under each choice of layer, prompts and scaling.

    ``choices`` has one row a pair of scores, with columns measure, layer_rule, layer (NaN where
    no single one), prompts and scaling.
    """

    choices: pd.DataFrame
    x: Float[np.ndarray, "row item"]
    y: Float[np.ndarray, "row item"]


def score_items(evidence: Evidence) -> Scores:
    """Average ratings, and projections by every layer rule that does not look at r.

    Projections at each single layer are there too, as layer rule ``largest |r|``: of those the
    one with the largest |r| is kept later, in each universe anew.
    """
    rules = layer_rules(evidence)
    rows, x, y = [], [], []
    for prompts, (moral, secondary) in prompt_subsets(evidence).items():
        for scaling in (RAW, Z, RANKS):
            named = {"prompts": prompts, "scaling": scaling}
            ratings, layers = (
                [_mean(each, which, chosen, scaling) for which, chosen in zip(
                    (evidence.moral, evidence.secondary), (moral, secondary), strict=True
                )]
                for each in ("ratings", "projections")
            )  # fmt: skip
            rows.append({"measure": BEHAVIOUR, "layer_rule": "", "layer": np.nan, **named})
            x.append(ratings[0])
            y.append(ratings[1])
            for rule, layer in rules:
                rows.append({"measure": RESIDUAL, "layer_rule": rule, "layer": layer, **named})
                for side, cube in zip((x, y), layers, strict=True):
                    side.append(_at(cube, evidence, layer))
    return Scores(pd.DataFrame(rows), np.stack(x), np.stack(y))


def layer_rules(evidence: Evidence) -> list[tuple[str, float]]:
    """Return (rule, layer) for every rule; NaN stands for the mean over layers.

    A rule that names the layer of an earlier one is left out: it would be counted twice.
    """
    layers = evidence.layers
    rules: list[tuple[str, float]] = []
    for rule, layer in (
        (MOST_VALID, evidence.layer),
        (LAST, layers[-1]),
        (MIDDLE, layers[len(layers) // 2]),
    ):
        if layer is not None and layer not in [taken for _, taken in rules]:
            rules.append((rule, float(layer)))
    if len(layers) > 1:
        rules.append((MEAN, float("nan")))
        rules += [(LARGEST, float(layer)) for layer in layers]
    return rules


def prompt_subsets(
    evidence: Evidence,
) -> dict[str, tuple[Bool[np.ndarray, " prompt"], Bool[np.ndarray, " prompt"]]]:
    """Return which prompts of each value every choice keeps: all, one wording, one polarity.

    The k-th moral wording goes with the k-th secondary one. A choice that keeps all, or none of
    a value, is no choice.
    """
    both = (evidence.moral, evidence.secondary)
    kept = {ALL_PROMPTS: tuple(np.ones(len(each.wording), dtype=bool) for each in both)}
    for number, (one, other) in enumerate(zip(both[0].names, both[1].names, strict=False)):
        name = f"paraphrase {one}" if one == other else f"paraphrases {one}, {other}"
        kept[name] = tuple(each.wording == number for each in both)
    for polarity in dict.fromkeys(both[0].polarity):
        kept[f"{polarity} only"] = tuple(np.asarray(each.polarity) == polarity for each in both)
    return {
        name: (moral, secondary)
        for name, (moral, secondary) in kept.items()
        if name == ALL_PROMPTS
        or (moral.any() and secondary.any() and not (moral.all() and secondary.all()))
    }


def covariate_sets(
    evidence: Evidence, unit: str, clusters: Clusters
) -> Iterator[tuple[str, Float[np.ndarray, "covariate row"]]]:
    """Yield every choice of covariate over the rows of ``unit``, those that vary there."""
    yield NO_COVARIATE, by_unit(np.empty((0, clusters.n_items)), unit, clusters)
    for name, values in evidence.covariates.items():
        rows = by_unit(values[None], unit, clusters)
        if centred(rows).any():
            yield covariate_name(name, evidence), rows


def covariate_name(name: str, evidence: Evidence) -> str:
    """Say what the design's level is: a log price, or what is asked for."""
    if name != "level":
        return name
    secondary = evidence.secondary.value
    return "log price" if secondary == "economic" else f"{secondary} level"


def by_unit(
    values: Float[np.ndarray, "row item"], unit: str, clusters: Clusters
) -> Float[np.ndarray, "row unit"]:
    """Return the values of items as they are, or their means over each scenario."""
    if unit == ITEMS:
        return values
    return clusters.sums(values) / np.bincount(clusters.codes)


def left_out(evidence: Evidence, clusters: Clusters) -> list[str]:
    """Say which choices a run of these prompts and layers does not leave open."""
    said = []
    if evidence.layer is None:
        said.append("no layer is valid, so the residual stream has no default")
    rules = [rule for rule, _ in layer_rules(evidence)]
    absent = [rule for rule in (LAST, MIDDLE) if rule not in rules]
    if absent:
        said.append(f"the {' and the '.join(absent)} is named by an earlier rule: counted once")
    if len(evidence.layers) == 1:
        said.append("one layer was measured")
    for unit in (ITEMS, SCENARIOS):
        kept = [name for name, _ in covariate_sets(evidence, unit, clusters)]
        same = {covariate_name(name, evidence) for name in evidence.covariates} - set(kept)
        if same:
            said.append(
                f"all {unit} have the same {' and '.join(sorted(same))}: no covariate there"
            )
    return [f"{evidence.pair}: {sentence}." for sentence in said]


def _mean(
    of: str, records: PromptRecords, chosen: Bool[np.ndarray, " prompt"], scaling: str
) -> Float[np.ndarray, "... item"]:
    return np.asarray(_scaled(getattr(records, of)[chosen], scaling).mean(0))


def _scaled(x: Float[np.ndarray, "... item"], scaling: str) -> Float[np.ndarray, "... item"]:
    if scaling == RANKS:
        return np.asarray(rankdata(x, axis=-1))
    if scaling == RAW:
        return x
    x = centred(x)
    size = x.std(-1, keepdims=True)
    return np.asarray(x / np.where(size > 0, size, 1.0))


def _at(
    cube: Float[np.ndarray, "layer item"], evidence: Evidence, layer: float
) -> Float[np.ndarray, " item"]:
    if np.isnan(layer):
        return np.asarray(_scaled(cube, Z).mean(0))
    return cube[evidence.layers.index(int(layer))]
