"""Ties and missing correlations in the universes, on evidence made by hand."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from entangle_lens.entanglement.evidence import Evidence, PromptRecords
from entangle_lens.entanglement.multiverse import explore
from entangle_lens.entanglement.universes import BEHAVIOUR, RANKS, SCENARIOS, SPEARMAN
from entangle_lens.results.multiverse_tables import as_text, headline, summarise_multiverse

N_SCENARIOS, N_ITEMS, N_PROMPTS = 24, 96, 10


def records(value, ratings):
    wordings = tuple(str(number) for number in range(N_PROMPTS // 2))
    return PromptRecords(
        value,
        np.repeat(np.arange(N_PROMPTS // 2), 2),
        wordings,
        ("ascending", "descending") * (N_PROMPTS // 2),
        np.asarray(ratings, dtype=float),
        {},
    )


def evidence(moral, secondary):
    return Evidence(
        pair="moral_grammar",
        scenario_ids=tuple(f"s{number // 4}" for number in range(N_ITEMS)),
        covariates={},
        moral=records("moral", moral),
        secondary=records("grammar", secondary),
        layers=(0,),
        chosen={"last": None},
        auc={},
    )


def exact_scenario_ranks(ratings):
    """Ranks within each prompt, their scenario means as fractions, and the ranks of those."""
    doubled = (2 * stats.rankdata(ratings, axis=-1)).astype(int)
    means = [Fraction(int(each), 8 * N_PROMPTS) for each in doubled.sum(0).reshape(-1, 4).sum(1)]
    return [sum(other < mean for other in means) + (means.count(mean) + 1) / 2 for mean in means]


@pytest.mark.parametrize("seed", range(6))
def test_ties_of_mean_ranks_are_ties(seed):
    rng = np.random.default_rng(seed)
    moral, secondary = 1 + (rng.random((2, N_PROMPTS, N_ITEMS)) < 0.08)
    found = explore([evidence(moral, secondary)], n_resamples=0, n_permutations=20).universes
    one = found[
        (found["measure"] == BEHAVIOUR)
        & (found["prompts"] == "all prompts")
        & (found["scaling"] == RANKS)
        & (found["unit"] == SCENARIOS)
        & (found["method"] == SPEARMAN)
    ]
    ranks = [exact_scenario_ranks(each) for each in (moral, secondary)]
    assert len(one) == 1
    assert len(set(ranks[0])) < N_SCENARIOS - 3
    assert one["r"].item() == pytest.approx(np.corrcoef(ranks)[0, 1], abs=1e-12)


def test_constant_ratings_leave_no_universe_and_no_error():
    moral = np.random.default_rng(0).integers(1, 9, size=(N_PROMPTS, N_ITEMS))
    found = explore([evidence(moral, np.full_like(moral, 5))], n_resamples=0, n_permutations=20)
    (curve,) = found.curves
    assert (curve.n_universes, curve.n_circular) == (0, 0)
    assert curve.n_undefined == found.n_undefined == len(found.universes) > 0
    assert "nan" not in as_text(found)
    assert summarise_multiverse(found)["pairs"]["moral_grammar"][BEHAVIOUR]["median"] is None


def test_headline_counts_what_the_table_counts():
    rng = np.random.default_rng(0)
    moral, secondary = rng.integers(1, 9, size=(2, N_PROMPTS, N_ITEMS))
    found = explore([evidence(moral, secondary)], n_resamples=0, n_permutations=20)
    counted = sum(curve.n_universes for curve in found.curves)
    assert headline(found).startswith(f"{counted:,} universes (besides")
    assert f"{counted:,}" in as_text(found)
    assert summarise_multiverse(found)["n_universes"] == counted
