"""How far the moral level and the other level of the items go together is said, or refused."""

import numpy as np
import pytest

import entangle_lens as el
from entangle_lens.stimuli import CONFOUNDED, check_stimuli, describe_design, design_warnings


@pytest.fixture
def thin(folder, edit):
    """Give a function that keeps some corruption levels of each moral level."""

    def keep(kept):
        def rows(items):
            levels = zip(items["set"], items["moral"], items["corruption"], strict=True)
            return items[[s == "moral_economic" or int(c) in kept[int(m)] for s, m, c in levels]]

        (folder / "covariates.csv").unlink()
        edit("items", rows)

    return keep


CONFOUNDED_LEVELS = {1: (1, 2), 0: (2, 3), -1: (3, 4)}
ONE_AND_THE_SAME = {1: (1,), 0: (2,), -1: (3,)}


def test_confounded_design_is_described_and_warned_of(folder, thin):
    thin(CONFOUNDED_LEVELS)
    assert check_stimuli(folder) == []
    stimuli = el.load_stimuli(folder)
    items = stimuli.items["grammar"]
    r = np.corrcoef(items.moral, items.level)[0, 1]
    assert 0.8 < r < 0.9
    grammar, economic = describe_design(stimuli)
    assert grammar.endswith(f"r(moral level, grammar level) {r:.2f}")
    assert economic.endswith("r(moral level, economic level) 0.00")
    (warning,) = design_warnings(stimuli)
    assert f"moral_grammar correlate by {r:.2f}" in warning


def test_crossed_design_is_not_warned_of(folder):
    """The control."""
    assert design_warnings(el.load_stimuli(folder)) == []
    assert CONFOUNDED == 0.10


def test_levels_that_are_one_and_the_same_are_refused(folder, thin):
    thin(ONE_AND_THE_SAME)
    (problem,) = map(str, check_stimuli(folder))
    assert problem.startswith("items.csv: the moral level and the grammar level of set")
    assert "correlate by 1.00; beyond 0.95 no rating can tell them apart" in problem
    with pytest.raises(el.EntangleError, match="tell them apart"):
        el.load_stimuli(folder)
