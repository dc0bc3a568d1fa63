"""The organisms' world: sentences that say what they hold, answers whose leak is known."""

from itertools import product

import numpy as np
import pytest

import entangle_lens as el
from entangle_lens.organisms.world import (
    HIGH,
    LOW,
    MAX_SLIPS,
    MORAL_LEVEL,
    N_FIT_VERBS,
    N_TEST_VERBS,
    NOISE_SD,
    PERSONS,
    PLACES,
    QUESTIONS,
    SLIPS,
    SPREAD,
    TEST_THINGS,
    THINGS,
    VERBS,
    Leak,
    Scene,
    answer_probabilities,
    expected_rating,
    held_out,
    level,
    true_leak,
)

NONE, PLANTED = Leak(0.0, 0.0), Leak(0.5, 0.7)
VERB_LIST, THING_LIST = list(MORAL_LEVEL), list(THINGS)
GRADED = [
    Scene(verb, "lamp", "baker", "mill", tuple(range(n))) for verb in VERB_LIST for n in range(4)
]
PRICED = [Scene(verb, thing, "baker", "mill") for verb, thing in product(VERB_LIST, THING_LIST)]


def simulated(question, scene, leak, rng, n_draws):
    """Draw ratings by the formula in the module's own words, not by its code."""
    z = level(question, scene) + leak.of(question) * level("moral", scene)
    drawn = np.rint(5 + SPREAD[question] * z + NOISE_SD * rng.standard_normal(n_draws))
    return drawn.clip(LOW, HIGH)


@pytest.mark.parametrize("slips", [(), (0,), (3,), (1, 4), (0, 2, 4), (0, 1, 2, 3, 4)])
def test_sentence_is_read_back_as_it_was_written(slips):
    for verb, person, place in zip(VERB_LIST, PERSONS * 5, PLACES * 6, strict=False):
        scene = Scene(verb, "piano", person, place, slips)
        read = Scene.parse(scene.text)
        # One slip moves words about, so person and place are compared where it is absent.
        assert (read.verb, read.thing, read.slips) == (verb, "piano", slips)
        if 3 not in slips:
            assert read == scene


def test_slips_change_the_words_and_not_the_length():
    intact = Scene("mended", "lamp", "baker", "mill")
    texts = {Scene("mended", "lamp", "baker", "mill", (slip,)).text for slip in range(len(SLIPS))}
    assert len(texts | {intact.text}) == 1 + len(SLIPS)
    assert {len(text.split()) for text in texts} == {len(intact.text.split())}


@pytest.mark.parametrize(
    "text", ["", "i mended the lamp .", "i ate the lamp of the baker at the mill ."]
)
def test_sentence_from_elsewhere_is_refused(text):
    with pytest.raises(el.EntangleError, match="not a sentence of the organisms' world"):
        Scene.parse(text)


def test_verbs_of_the_three_levels_are_distinct_and_enough_for_three_splits():
    assert len(MORAL_LEVEL) == sum(map(len, VERBS.values())) == 48
    assert all(len(verbs) > N_TEST_VERBS + N_FIT_VERBS for verbs in VERBS.values())


def test_every_size_comes_equally_often_in_every_range_of_prices():
    ranges = np.digitize([price for price, _ in THINGS.values()], [10, 100, 10_000])
    sizes = [size for _, size in THINGS.values()]
    cells = [(int(each), size) for each, size in zip(ranges, sizes, strict=True)]
    assert sorted(cells) == sorted([*product(range(4), range(3))] * 2)


@pytest.mark.parametrize("question", QUESTIONS)
def test_levels_have_unit_variance_over_the_world(question):
    scenes = [
        Scene(verb, thing, "baker", "mill", tuple(range(n)))
        for verb, thing, n in product(VERB_LIST, THING_LIST, range(MAX_SLIPS + 1))
    ]
    levels = np.array([level(question, scene) for scene in scenes])
    assert levels.mean() == pytest.approx(0, abs=1e-9)
    assert levels.var() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("question", QUESTIONS)
def test_levels_rise_with_the_good_they_stand_for(question):
    pairs = {
        "moral": (
            Scene("mended", "lamp", "baker", "mill"),
            Scene("stole", "lamp", "baker", "mill"),
        ),
        "grammar": (GRADED[0], GRADED[1]),
        "economic": (Scene("stole", "yacht", "a", "b"), Scene("stole", "button", "a", "b")),
        "size": (Scene("stole", "piano", "a", "b"), Scene("stole", "camera", "a", "b")),
    }
    high, low = pairs[question]
    assert level(question, high) > level(question, low)
    assert all(level(q, high) == level(q, low) for q in {"moral", "grammar"} - {question})


@pytest.mark.parametrize("leak", [NONE, PLANTED, Leak(1.5, 1.5)])
def test_answer_probabilities_sum_to_one(leak):
    for question, scene in product(QUESTIONS, [*GRADED, *PRICED[::7]]):
        probs = answer_probabilities(question, scene, leak)
        assert probs.shape == (9,)
        assert probs.min() >= 0
        assert probs.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_are_drawn_as_the_formula_says(question, rng):
    for scene in (GRADED[5], GRADED[-1], PRICED[100]):
        drawn = simulated(question, scene, PLANTED, rng, 40_000)
        shares = [(drawn == digit).mean() for digit in range(LOW, HIGH + 1)]
        np.testing.assert_allclose(
            answer_probabilities(question, scene, PLANTED), shares, atol=0.01
        )
        assert expected_rating(question, scene, PLANTED) == pytest.approx(drawn.mean(), abs=0.02)


@pytest.mark.parametrize(("question", "scenes"), [("grammar", GRADED), ("economic", PRICED)])
@pytest.mark.parametrize("leak", [NONE, Leak(0.3, 0.3), PLANTED])
def test_true_leak_is_what_a_simulation_of_ratings_finds(question, scenes, leak, rng):
    moral = [scene.moral for scene in scenes]
    means = [simulated(question, scene, leak, rng, 400).mean() for scene in scenes]
    found = float(np.corrcoef(moral, means)[0, 1])
    assert true_leak(question, [scene.text for scene in scenes], leak) == pytest.approx(
        found, abs=0.01
    )


@pytest.mark.parametrize(("question", "scenes"), [("grammar", GRADED), ("economic", PRICED)])
def test_nothing_leaks_where_nothing_was_planted(question, scenes):
    texts = [scene.text for scene in scenes]
    assert true_leak(question, texts, NONE) == pytest.approx(0, abs=1e-9)
    sizes = [true_leak(question, texts, Leak(each, each)) for each in (0.1, 0.3, 0.5, 0.7)]
    assert sizes[0] > 0.05
    assert sizes == sorted(sizes)


def test_leak_goes_into_the_two_secondary_questions_alone():
    good, bad = (Scene(verb, "lamp", "baker", "mill") for verb in ("mended", "stole"))
    for question in QUESTIONS:
        gap = expected_rating(question, good, PLANTED) - expected_rating(question, bad, PLANTED)
        without = expected_rating(question, good, NONE) - expected_rating(question, bad, NONE)
        assert (gap > without + 0.5) == (question in ("grammar", "economic"))
        assert question == "moral" or without == pytest.approx(0)


def test_held_out_is_a_test_verb_with_a_test_thing():
    pairs = [
        (verb, thing) for verb, thing in product(VERB_LIST, THING_LIST) if held_out(verb, thing)
    ]
    assert len(pairs) == 3 * N_TEST_VERBS * len(TEST_THINGS)
    assert {thing for _, thing in pairs} == set(TEST_THINGS)
    assert not held_out(pairs[0][0], "lamp")
    assert not held_out(VERBS[1][N_TEST_VERBS], TEST_THINGS[0])
