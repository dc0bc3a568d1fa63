"""Published values are those of the paper's tables, with their source."""

import dataclasses
from unittest.mock import Mock

import pytest

from entangle_lens.entanglement.study import Finding, Findings
from entangle_lens.published import HUMANS, PUBLISHED, SOURCE
from entangle_lens.results.figures import measures

# respondent: r grammar, items, r economic, items (arXiv 2602.19101)
PAIRS = ("moral_grammar", "moral_economic")
TABLE = {
    "people": (0.052, 68, 0.050, 28),
    "Qwen2.5-7B": (0.479, 68, 0.728, 68),
    "Gemma-2-9B": (0.330, 68, 0.425, 55),
    "Gemma-3-27B": (0.399, 68, 0.143, 68),
    "Mistral-Small-2501": (0.156, 68, 0.242, 68),
    "Qwen3-32B": (0.057, 68, 0.344, 68),
}


def test_published_values_are_those_of_the_paper():
    found = {
        each.label.removesuffix(" (published)"): (
            each.correlation("moral_grammar"),
            each.n_grammar,
            each.correlation("moral_economic"),
            each.n_economic,
        )
        for each in PUBLISHED
    }
    assert found == TABLE
    assert SOURCE == "arXiv 2602.19101"


def test_every_published_value_says_that_it_is_published():
    assert all(each.label.endswith("(published)") for each in PUBLISHED)
    assert len({each.label for each in PUBLISHED}) == len(PUBLISHED)
    assert PUBLISHED[0] is HUMANS


def test_only_peoples_economic_value_is_no_correlation_of_two_ratings():
    notes = {(each.label, pair): each.note(pair) for each in PUBLISHED for pair in PAIRS}
    assert {key: note for key, note in notes.items() if note} == {
        ("people (published)", "moral_economic"): "r(moral rating, log10 price)"
    }


@pytest.mark.parametrize("pair", PAIRS)
def test_forest_draws_every_published_value_under_what_it_is(pair):
    unmeasured = Mock(entanglement=None)
    finding = Mock(
        spec=Finding, pair=pair, behaviour=unmeasured, embedding=None, residual=unmeasured
    )
    figure = measures.forest(Mock(spec=Findings, pairs={pair: finding}))
    drawn = dict(zip(figure.data[1].y, figure.data[1].x, strict=True))
    people = "people (published)"
    noted = f"{people}: r(moral rating, log10 price)"
    assert (people in drawn) == (pair == "moral_grammar")
    assert (noted in drawn) == (pair == "moral_economic")
    assert len(drawn) == len(PUBLISHED)
    assert drawn["Qwen2.5-7B (published)"] == TABLE["Qwen2.5-7B"][0 if pair == PAIRS[0] else 2]


def test_published_values_cannot_be_changed_or_asked_for_another_pair():
    with pytest.raises(dataclasses.FrozenInstanceError):
        HUMANS.moral_grammar = 0.5
    with pytest.raises(KeyError, match="moral_joy"):
        HUMANS.correlation("moral_joy")
