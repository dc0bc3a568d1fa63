"""Reliability of ratings whose reliability is known, and the warning about turned signs."""

import numpy as np
import pandas as pd
import pytest

from entangle_lens.entanglement.behaviour import measure_behaviour
from entangle_lens.entanglement.ratings import Ratings
from entangle_lens.entanglement.reliability import measure_reliability
from entangle_lens.stimuli import ItemSet, Question

N_SCENARIOS, N_LEVELS = 24, 4


@pytest.fixture
def item_set():
    moral = np.repeat(np.resize([-1.0, 0.0, 1.0], N_SCENARIOS), N_LEVELS)
    rows = {
        "item_id": [f"i{n}" for n in range(len(moral))],
        "scenario_id": np.repeat([f"s{n}" for n in range(N_SCENARIOS)], N_LEVELS),
        "text": "text",
        "moral": moral,
        "level": np.tile(np.arange(N_LEVELS, dtype=float), N_SCENARIOS),
    }
    return ItemSet("grammar", pd.DataFrame(rows))


def rated(value, signal, leaks, noise, rng, polarities=("ascending", "descending")):
    """Ratings of every paraphrase: ``signal``, its own leak added, and noise."""
    questions = tuple(
        Question(value, str(number), polarity, "", "")
        for number in range(len(leaks))
        for polarity in polarities
    )
    expected = np.stack(
        [signal + np.repeat(leaks, len(polarities), 0)[row] for row in range(len(questions))]
    )
    expected = expected + noise * rng.standard_normal(expected.shape)
    flat = np.ones_like(expected)
    return Ratings(value, questions, expected, flat, flat)


def found(item_set, leaks, rng, noise=0.3, **options):
    moral = rated("moral", item_set.moral, np.zeros((5, 1)), 0.1, rng)
    leak = np.asarray(leaks)[:, None] * item_set.moral
    secondary = rated("grammar", item_set.level, leak, noise, rng, **options)
    behaviour = measure_behaviour(item_set, moral, secondary, None, rng, 400)
    return measure_reliability(behaviour, rng, 400)


def test_warning_where_a_paraphrase_turns_the_sign_and_none_where_all_agree(item_set, rng):
    stable = found(item_set, [0.8] * 5, rng)
    assert stable.warnings == ()
    turned = found(item_set, [0.8, 0.8, 0.8, 0.8, -0.8], rng)
    assert len(turned.warnings) >= 1
    assert any("paraphrase" in each and "4" in each for each in turned.warnings)
    signs = [
        np.sign(each.design.value)
        for each in turned.wordings
        if (each.value, each.kind) == ("grammar", "paraphrase")
    ]
    assert signs == [1, 1, 1, 1, -1]


def test_split_half_follows_the_noise(item_set, rng):
    quiet, loud = (found(item_set, [0.0] * 5, rng, noise).secondary for noise in (0.1, 4.0))
    assert quiet.split_half > 0.99
    # Spearman-Brown: ten prompts, signal variance 1.25 + noise variance 16 each.
    expected = 1.25 / (1.25 + 16 / 10)
    assert loud.split_half == pytest.approx(expected, abs=0.12)


def test_variance_goes_to_what_made_it(item_set, rng):
    shares = found(item_set, [0.0] * 5, rng, 0.5).secondary.components.as_dict()
    assert shares["item"] == pytest.approx(1.25 / (1.25 + 0.25), abs=0.1)
    assert shares["residual"] == pytest.approx(0.25 / (1.25 + 0.25), abs=0.1)
    moral = found(item_set, [0.0] * 5, rng).moral.components.as_dict()
    assert moral["scenario"] > 0.9


def test_what_one_way_of_asking_cannot_tell_is_said(item_set, rng):
    one = found(item_set, [0.0], rng, polarities=("ascending",)).secondary
    assert one.split_half is None
    assert any("split-half" in each for each in one.not_known)
    many = found(item_set, [0.0] * 5, rng).secondary
    assert many.split_half is not None
    assert many.not_known == ()


def test_study_carries_its_reliability(entangled_study):
    table = entangled_study.reliability()
    assert set(table["value"]) == {"moral", "grammar", "economic"}
    assert (table["split_half"] > 0.95).all()
    assert (table["item"] + table["scenario"] > 0.9).all()
