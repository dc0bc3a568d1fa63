"""Published values are those of the paper's tables, with their source."""

import dataclasses

import pytest

from entangle_lens.published import HUMANS, PUBLISHED, SOURCE

# respondent: r grammar, items, r economic, items (arXiv 2602.19101)
TABLE = {
    "people": (0.052, 68, 0.050, 28),
    "Qwen2.5-7B": (0.479, 68, 0.728, 68),
    "Gemma-2-9B": (0.330, 55, 0.425, 68),
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


def test_published_values_cannot_be_changed_or_asked_for_another_pair():
    with pytest.raises(dataclasses.FrozenInstanceError):
        HUMANS.moral_grammar = 0.5
    with pytest.raises(KeyError, match="moral_joy"):
        HUMANS.correlation("moral_joy")
