"""How reliable ratings are: what their variance comes from, and whether wordings agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from entangle_lens.entanglement.behaviour import Behaviour
from entangle_lens.entanglement.ratings import Ratings
from entangle_lens.errors import EntangleError
from entangle_lens.statistics import (
    Clusters,
    Estimate,
    VarianceComponents,
    pearson,
    resampled_correlations,
    sign_depends_on,
    split_half_reliability,
    variance_components,
)
from entangle_lens.statistics.bootstrap import INTERVALS, fisher_interval

KINDS = ("paraphrase", "polarity")
_SHARES = ("scenario", "item", "paraphrase", "polarity", "item_x_paraphrase")
_FEW_PARAPHRASES = 5


@dataclass(frozen=True)
class ValueReliability:
    """How reliable the ratings of one value are.

    ``components`` are the shares of the variance of a single rating, ``split_half`` the
    reliability of the mean over prompts; None where they cannot be told, and ``not_known`` says
    why. ``n_paraphrases`` and ``n_polarities`` count the ways of asking.
    """

    value: str
    n_paraphrases: int
    n_polarities: int
    components: VarianceComponents | None
    split_half: float | None
    not_known: tuple[str, ...]


@dataclass(frozen=True)
class WordingEffect:
    """What one way of asking for one value finds, with its sign.

    ``kind`` is paraphrase or polarity and ``name`` which one. ``entanglement`` is r of these
    ratings of ``value`` with the mean rating of the other value, ``design`` r with the design's
    moral level: the leak of a secondary value, the accuracy of the moral one.
    """

    value: str
    kind: str
    name: str
    entanglement: Estimate
    design: Estimate


@dataclass(frozen=True)
class Reliability:
    """Reliability of both ratings of one pair; ``warnings`` are sentences, none if all is well."""

    moral: ValueReliability
    secondary: ValueReliability
    wordings: tuple[WordingEffect, ...]
    warnings: tuple[str, ...]

    @property
    def not_known(self) -> tuple[str, ...]:
        """What the design of the prompts cannot tell, in sentences."""
        return (*self.moral.not_known, *self.secondary.not_known)


def measure_reliability(
    behaviour: Behaviour, rng: np.random.Generator, n_resamples: int
) -> Reliability:
    """Take the ratings of one item set apart: by scenario, item, paraphrase and polarity.

    Variance components as in :func:`variance_components`, split halves over prompts as in
    :func:`split_half_reliability`, and the two correlations under each paraphrase and each
    polarity, with intervals that resample whole scenarios. A warning is given where a way of
    asking turns the sign, unless neither it nor the whole can be told from 0.
    """
    clusters = Clusters.of(behaviour.item_set.scenario_ids)
    effects: list[WordingEffect] = []
    warnings: list[str] = []
    both = (behaviour.moral, behaviour.secondary)
    for ratings, other in zip(both, both[::-1], strict=True):
        for kind in KINDS:
            names, means = _by(ratings, kind)
            if len(names) < 2:
                continue
            own = _effects(behaviour, ratings, other, kind, clusters, rng, n_resamples)
            effects += own
            warnings += _warnings(behaviour, own, means, other)
    moral, secondary = (_of_value(ratings, clusters, rng) for ratings in both)
    return Reliability(moral, secondary, tuple(effects), tuple(warnings))


def _of_value(ratings: Ratings, clusters: Clusters, rng: np.random.Generator) -> ValueReliability:
    n_paraphrases, n_polarities = (len(_by(ratings, kind)[0]) for kind in KINDS)
    components, split_half, not_known = None, None, []
    try:
        components = variance_components(_crossed(ratings), clusters)
    except EntangleError as error:
        not_known.append(f"{ratings.value} ratings have no variance components: {error}")
    else:
        not_known += _shares_not_known(ratings.value, components, n_paraphrases, n_polarities)
    try:
        found = split_half_reliability(ratings.expected, rng)
        if not np.isfinite(found):
            raise EntangleError("some prompts rate all items the same")
        split_half = found
    except EntangleError as error:
        not_known.append(f"{ratings.value} ratings have no split-half reliability: {error}")
    return ValueReliability(
        ratings.value, n_paraphrases, n_polarities, components, split_half, tuple(not_known)
    )


def _shares_not_known(
    value: str, components: VarianceComponents, n_paraphrases: int, n_polarities: int
) -> list[str]:
    asked = f"{_count(n_paraphrases, 'paraphrase', 's')} and " + (
        f"{n_polarities} polarities" if n_polarities > 1 else "1 polarity"
    )
    shares = components.as_dict()
    lost = [name.replace("_x_", " x ") for name in _SHARES if not np.isfinite(shares[name])]
    said = []
    if lost:
        said.append(
            f"{value} ratings were asked for in {asked}: the share of {' and of '.join(lost)} "
            "cannot be told"
        )
    if 1 < n_paraphrases < _FEW_PARAPHRASES:
        said.append(
            f"{value} ratings were asked for in {asked}: the shares of paraphrase and polarity are "
            "rough, since few levels say little about their variance"
        )
    return said


def _count(number: int, noun: str, ending: str) -> str:
    return f"{number} {noun}{ending if number != 1 else ''}"


def _by(ratings: Ratings, kind: str) -> tuple[list[str], Float[np.ndarray, "level item"]]:
    """Return the levels of ``kind`` and the mean ratings under each."""
    levels = [getattr(question, kind) for question in ratings.questions]
    names = list(dict.fromkeys(levels))
    rows = [[level == name for level in levels] for name in names]
    return names, np.stack([ratings.expected[row].mean(0) for row in rows])


def _crossed(ratings: Ratings) -> Float[np.ndarray, "paraphrase polarity item"]:
    """Return the ratings by paraphrase and polarity, each pair asked once."""
    (paraphrases, _), (polarities, _) = (_by(ratings, kind) for kind in KINDS)
    rows = {(q.paraphrase, q.polarity): row for row, q in enumerate(ratings.questions)}
    if len(rows) < len(paraphrases) * len(polarities):
        raise EntangleError("not every paraphrase was asked in every polarity")
    order = [[rows[paraphrase, polarity] for polarity in polarities] for paraphrase in paraphrases]
    return np.asarray(ratings.expected[np.asarray(order)])


def _effects(
    behaviour: Behaviour,
    ratings: Ratings,
    other: Ratings,
    kind: str,
    clusters: Clusters,
    rng: np.random.Generator,
    n_resamples: int,
) -> list[WordingEffect]:
    names, means = _by(ratings, kind)
    references = (other.mean, behaviour.item_set.moral)
    y = np.concatenate([np.tile(each, (len(names), 1)) for each in references])
    x = np.concatenate([means, means])
    found = _estimates(x, y, clusters, rng, n_resamples)
    paired = zip(names, found[: len(names)], found[len(names) :], strict=True)
    return [WordingEffect(ratings.value, kind, *each) for each in paired]


def _estimates(
    x: Float[np.ndarray, "pairs items"],
    y: Float[np.ndarray, "pairs items"],
    clusters: Clusters,
    rng: np.random.Generator,
    n_resamples: int,
) -> list[Estimate]:
    """Estimate r of each pair in the same resamples; no p, the interval is the test."""
    r = pearson(x, y)
    resampled = resampled_correlations(x, y, clusters, rng, n_resamples)
    nothing, df = float("nan"), clusters.n_clusters - 2
    return [
        Estimate(
            float(each),
            *(fisher_interval(each, column, df) if np.isfinite(each) else (nothing, nothing)),
            nothing,
            clusters.n_items,
            clusters.n_clusters,
            INTERVALS["fisher"],
        )
        for each, column in zip(r, resampled.T, strict=True)
    ]


def _warnings(
    behaviour: Behaviour,
    effects: Sequence[WordingEffect],
    means: Float[np.ndarray, "level item"],
    other: Ratings,
) -> list[str]:
    """Say which ways of asking turn the sign of the entanglement, and of the leak."""
    value, secondary = effects[0].value, behaviour.item_set.secondary
    checks = [("entanglement", f"r(moral, {secondary})", other.mean, behaviour.entanglement)]
    if value == secondary:
        moral = behaviour.item_set.moral
        checks.append(("design", "the leak", moral, behaviour.leak))
    said = []
    for field, name, reference, whole in checks:
        flipped = [effects[row] for row in sign_depends_on(reference, means[:, None])]
        told = [
            f"{value} {each.kind} {each.name}: {getattr(each, field)}"
            for each in flipped
            if _differs_from_zero(whole) or _differs_from_zero(getattr(each, field))
        ]
        if told:
            said.append(
                f"The sign of {name} depends on the {effects[0].kind}: it is {whole} over all "
                f"ways of asking, but {'; '.join(told)}"
            )
    return said


def _differs_from_zero(estimate: Estimate) -> bool:
    return estimate.low > 0 or estimate.high < 0
