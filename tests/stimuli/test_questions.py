"""Questions, scales and the sets that are asked about."""

import dataclasses
import re
from collections import Counter

import pandas as pd
import pytest

import entangle_lens as el
from entangle_lens.stimuli import ContrastSet
from entangle_lens.stimuli.tables import VALUES

GOODS = el.load_stimuli("goods")
ASKED = (*VALUES, *(control.name for control in GOODS.controls))


def words(question):
    return Counter(re.findall(r"[\w{}'-]+", question.instruction.lower()))


@pytest.mark.parametrize("value", ASKED)
def test_every_value_and_control_has_five_wordings_in_both_polarities(value):
    wordings = Counter(question.paraphrase for question in GOODS.questions_for(value))
    assert len(wordings) >= 5
    assert set(wordings.values()) == {2}


@pytest.mark.parametrize("value", ASKED)
def test_polarities_of_a_wording_differ_only_in_which_end_is_which(value):
    questions = GOODS.questions_for(value)
    for ascending, descending in zip(questions[::2], questions[1::2], strict=True):
        assert (ascending.descending, descending.descending) == (False, True)
        assert ascending.paraphrase == descending.paraphrase
        assert ascending.instruction != descending.instruction
        assert words(ascending) == words(descending)
    first, _, second = questions[:3]
    assert words(first) != words(second)


def test_question_names_both_ends_of_the_scale_it_is_asked_on():
    for question in GOODS.questions:
        content = question.content("I fed {the} cat.", el.Scale(-7, 13))
        assert "-7" in content
        assert "13" in content
        assert "{low}" not in content
        assert content.endswith("\n\nI fed {the} cat.")


def test_first_paraphrases_are_taken_with_both_polarities():
    two = GOODS.questions_for("moral", 2)
    assert [(q.paraphrase, q.polarity) for q in two] == [
        ("1", "ascending"),
        ("1", "descending"),
        ("2", "ascending"),
        ("2", "descending"),
    ]
    assert GOODS.questions_for("moral", 99) == GOODS.questions_for("moral")


def test_value_that_nobody_asks_for_is_refused_with_those_asked_for():
    with pytest.raises(el.EntangleError, match=r"'joy'.*animal_size.*economic.*grammar.*moral"):
        GOODS.questions_for("joy")


def test_scale_has_at_most_201_options():
    assert len(el.Scale.parse("-100:100").options) == 201
    with pytest.raises(el.EntangleError, match="-100:101 has 202 options"):
        el.Scale.parse("-100:101")


@pytest.mark.parametrize(
    "text", ["1.5:3", "--1:3", "1:9:2", "1;9", "a:b", ":", "1e1:20", "+1:9x", "\u0661:9"]
)
def test_scale_that_is_no_pair_of_whole_numbers_is_refused_as_given(text):
    with pytest.raises(el.EntangleError) as caught:
        el.Scale.parse(text)
    assert repr(text) in str(caught.value)
    assert "-10:10" in str(caught.value)


def test_scale_is_read_back_from_what_it_prints():
    for scale in (el.Scale(), el.Scale(-10, 10), el.Scale(-9, -2)):
        assert el.Scale.parse(f" {scale} ") == scale
    assert el.Scale() == el.Scale(1, 9)


def test_stimuli_are_frozen():
    for value, name in ((el.Scale(), "low"), (GOODS.questions[0], "value"), (GOODS, "name")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, 0)


def test_thinned_keeps_pairs_spread_over_the_table_with_both_their_poles():
    pairs = ContrastSet("moral", "fit", ("a", "b", "c"), ("x", "y", "z"))
    assert pairs.thinned(2) == ContrastSet("moral", "fit", ("a", "c"), ("x", "z"))
    assert pairs.thinned(9) == pairs.thinned(None) == pairs


def test_pairs_differ_and_no_sentence_is_used_twice():
    texts = [text for pairs in GOODS.contrasts.values() for text in pairs.positive + pairs.negative]
    assert len(set(texts)) == len(texts) > 400


def test_levels_rise_with_the_secondary_good():
    """An intact item has the highest grammar level, the dearest thing the highest economic one."""
    grammar = GOODS.items["grammar"].table
    assert grammar.loc[grammar["level"].idxmax(), "item_id"].endswith("_1")
    assert set(grammar["level"]) == {-4.0, -3.0, -2.0, -1.0}
    economic = GOODS.items["economic"].table
    assert set(economic.groupby("level")["scenario_id"].count()) == {36}
    assert economic.loc[economic["level"].idxmin(), "text"].count("plastic") == 1
    assert set(GOODS.items["grammar"].moral) == {-1.0, 0.0, 1.0}


def test_intact_text_is_the_same_in_both_sets():
    """One scenario's intact item with the 50-dollar thing stands in both item sets."""
    grammar = GOODS.items["grammar"].table.query("level == -1").set_index("scenario_id")["text"]
    economic = GOODS.items["economic"].table
    cheap = sorted(set(economic["level"]))[1]
    same = economic[economic["level"] == cheap].set_index("scenario_id")["text"]
    pd.testing.assert_series_equal(grammar, same)


def test_minimal_pairs_differ_in_a_word_or_two():
    for good, bad in GOODS.minimal_pairs:
        assert abs(len(good.split()) - len(bad.split())) <= 1
        shared = Counter(good.split()) & Counter(bad.split())
        assert good != bad
        assert shared.total() >= len(good.split()) - 3


def test_phrases_of_the_two_poles_are_as_many_and_apart():
    for value in VALUES:
        high, low = GOODS.phrases[value, "high"], GOODS.phrases[value, "low"]
        assert len(high) == len(low) >= 10
        assert not set(high) & set(low)
