"""The universes of a multiverse: every reasonable choice, and the two scores that each makes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from entangle_lens.directions import CENTRED, READOUTS
from entangle_lens.entanglement.evidence import Evidence
from entangle_lens.entanglement.selection import MIN_AUC
from entangle_lens.statistics import Clusters, pearson
from entangle_lens.statistics.correlation import centred

BEHAVIOUR, RESIDUAL = "behaviour", "residual"
MOST_VALID, LAST_LAYER, MIDDLE_LAYER, MEAN, LARGEST = (
    "most valid layer",
    "last layer",
    "middle layer",
    "mean over valid layers",
    "largest |r|",
)
ALL_PROMPTS = "all prompts"
RAW, Z, RANKS = "raw", "z within prompt", "ranks within prompt"
ITEMS, SCENARIOS = "items", "scenario means"
PEARSON, SPEARMAN = "Pearson", "Spearman"
NO_COVARIATE = "none"
_THE_SAME = 1 - 1e-9
POSITIONS = {
    "last": "last prompt token",
    "item_last": "last token of the item",
    "item_mean": "mean over the item",
}
ONLY_RESIDUAL = {
    "layer_rule": MOST_VALID,
    "position": POSITIONS["last"],
    "centring": READOUTS[CENTRED],
}
CHOICES = (*ONLY_RESIDUAL, "prompts", "scaling", "unit", "method", "covariate")
DEFAULT = ONLY_RESIDUAL | {
    "prompts": ALL_PROMPTS,
    "scaling": RAW,
    "unit": ITEMS,
    "method": PEARSON,
    "covariate": NO_COVARIATE,
}


@dataclass(frozen=True, eq=False)
class Scores:
    """Two scores of every item under each choice that comes before items are correlated.

    ``choices`` has one row per pair of scores, with columns measure, layer (NaN where no single
    one), layer_rule, position, centring (all three empty for ratings), prompts and scaling.
    """

    choices: pd.DataFrame
    x: Float[np.ndarray, "row item"]
    y: Float[np.ndarray, "row item"]


def score_items(evidence: Evidence) -> Scores:
    """Average ratings, and projections by every layer rule that does not look at r.

    Projections at each single layer are there too, as layer rule ``largest |r|``: of those the
    one with the largest |r| is kept later, in each universe anew.
    """
    rows: list[dict[str, object]] = []
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for (name, chosen), scaling in product(prompt_subsets(evidence).items(), (RAW, Z, RANKS)):
        asked = list(zip((evidence.moral, evidence.secondary), chosen, strict=True))
        how = {"prompts": name, "scaling": scaling}
        for side, (records, kept) in zip(sides, asked, strict=True):
            side.append(_mean(records.ratings[kept], scaling))
        rows.append(
            {"measure": BEHAVIOUR, "layer": np.nan, **dict.fromkeys(ONLY_RESIDUAL, "")} | how
        )
        for read in evidence.moral.projections:
            rules = layer_rules(evidence, *read)
            if not rules:
                continue
            for side, (records, kept) in zip(sides, asked, strict=True):
                cube = _mean(records.projections[read][kept], scaling)
                side += [_at(cube, evidence, read, layer) for _, layer in rules]
            where = {"position": POSITIONS[read[0]], "centring": READOUTS[read[1]]} | how
            rows += [
                {"measure": RESIDUAL, "layer": layer, "layer_rule": rule} | where
                for rule, layer in rules
            ]
    return Scores(pd.DataFrame(rows), *map(np.stack, sides))


def layer_rules(evidence: Evidence, position: str, readout: str) -> list[tuple[str, float]]:
    """Return (rule, layer) for every rule; NaN stands for the mean over the valid layers.

    No rule takes a layer where the directions, read out so, do not read their values in held-out
    scenarios (AUC under .8), but for ``largest |r|``, which does not ask and stands beside others
    only. A rule that names the layer of an earlier one is left out: it would be counted twice.
    """
    layers, valid = evidence.layers, valid_layers(evidence, (position, readout))
    rules: list[tuple[str, float]] = []
    for rule, layer in (
        (MOST_VALID, evidence.chosen[position]),
        (LAST_LAYER, layers[-1]),
        (MIDDLE_LAYER, layers[len(layers) // 2]),
    ):
        if layer in valid and layer not in [taken for _, taken in rules]:
            rules.append((rule, float(layer)))
    if len(valid) > 1:
        rules.append((MEAN, float("nan")))
    if rules and len(layers) > 1:
        rules += [(LARGEST, float(layer)) for layer in layers]
    return rules


def valid_layers(evidence: Evidence, read: tuple[str, str]) -> list[int]:
    """Return where both directions read their values in held-out scenarios."""
    return [
        layer
        for layer, auc in zip(evidence.layers, evidence.auc[read], strict=True)
        if auc >= MIN_AUC
    ]


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
    """Yield every choice of covariate over the rows of ``unit``.

    Those that vary there, and those that say no more than an earlier one once.
    """
    yield NO_COVARIATE, by_unit(np.empty((0, clusters.n_items)), unit, clusters)
    taken: list[Float[np.ndarray, "1 row"]] = []
    for name, values in evidence.covariates.items():
        rows = by_unit(values[None], unit, clusters)
        same = any(abs(float(pearson(rows, each)[0])) > _THE_SAME for each in taken)
        if centred(rows).any() and not same:
            taken.append(rows)
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
    if len(evidence.chosen) < len(POSITIONS):
        said.append("the run could not tell the item's tokens and read the last prompt token only")
    if evidence.chosen["last"] is None:
        said.append("no layer is valid, so the residual stream has no default")
    said += [
        f"at the {POSITIONS[position]}, no layer of these rules reads both values in held-out "
        f"scenarios (AUC of {MIN_AUC} or more) by {unread}: left out"
        for position in evidence.chosen
        if (unread := _unread(evidence, position))
    ]
    if len(evidence.layers) == 1:
        said.append("one layer was measured")
    for unit in (ITEMS, SCENARIOS):
        kept = [name for name, _ in covariate_sets(evidence, unit, clusters)]
        same = {covariate_name(name, evidence) for name in evidence.covariates} - set(kept)
        if same:
            said.append(
                f"among {unit}, {' and '.join(sorted(same))} does not vary, or says no more than "
                "another covariate"
            )
    return [f"{evidence.pair}: {sentence}." for sentence in said]


def _unread(evidence: Evidence, position: str) -> str:
    """Name the ways to centre that have no rule at ``position``, or say that none has."""
    here = [readout for place, readout in evidence.auc if place == position]
    lost = [each for each in here if not layer_rules(evidence, position, each)]
    return "any centring" if lost == here else "; ".join(READOUTS[each] for each in lost)


def _mean(
    values: Float[np.ndarray, "prompt ... item"], scaling: str
) -> Float[np.ndarray, "... item"]:
    """Return the mean over prompts, or, of ranks, a multiple of it in whole numbers.

    Items whose ranks add up to the same are tied, and rounding a mean would part them: a rank of
    the means would then be decided by the last bit.
    """
    if scaling == RANKS:
        return np.asarray((2 * rankdata(values, axis=-1)).sum(0))
    return np.asarray(_scaled(values, scaling).mean(0))


def _scaled(x: Float[np.ndarray, "... item"], scaling: str) -> Float[np.ndarray, "... item"]:
    if scaling == RANKS:
        return np.asarray(rankdata(x, axis=-1))
    if scaling == RAW:
        return x
    x = centred(x)
    size = x.std(-1, keepdims=True)
    return np.asarray(x / np.where(size > 0, size, 1.0))


def _at(
    cube: Float[np.ndarray, "layer item"], evidence: Evidence, read: tuple[str, str], layer: float
) -> Float[np.ndarray, " item"]:
    if np.isnan(layer):
        rows = [evidence.layers.index(each) for each in valid_layers(evidence, read)]
        return np.asarray(_scaled(cube[rows], Z).mean(0))
    return cube[evidence.layers.index(int(layer))]
