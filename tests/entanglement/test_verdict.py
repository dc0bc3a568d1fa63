"""The rule in words, on numbers made for each of its branches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from entangle_lens.entanglement.verdict import RULE, RepairFacts, judge_entanglement, judge_repair
from entangle_lens.statistics import Estimate


def estimate(value: float, half: float = 0.05, p: float = 0.001) -> Estimate:
    return Estimate(value, value - half, value + half, p, 96, 24, "made up")


RATES_WELL = {"moral": estimate(0.9), "grammar": estimate(0.8)}
REPAIRED = RepairFacts(
    reference=0.0,
    leak_before=0.5,
    leak_after=0.03,
    change=estimate(-0.47),
    apparent_before=0.5,
    apparent_after=0.03,
    null_distance=0.4,
    accuracy_before=0.85,
    accuracy_after=0.95,
    spread_kept=0.9,
    mass_before=1.0,
    mass_after=1.0,
)


@pytest.mark.parametrize(
    ("r", "reference", "word"),
    [
        (estimate(0.45), 0.0, "entangled"),
        (estimate(-0.45), 0.0, "entangled"),
        (estimate(0.45), 0.45, "not entangled"),
        (estimate(0.02), 0.0, "not entangled"),
        (estimate(0.08, 0.01), 0.0, "not entangled"),
        (estimate(0.15, 0.3), 0.0, "inconclusive"),
        (estimate(0.45, p=0.2), 0.0, "inconclusive"),
        (Estimate(np.nan, np.nan, np.nan, np.nan, 96, 24, "constant"), 0.0, "inconclusive"),
    ],
)
def test_entanglement_is_judged_against_the_reference(r, reference, word):
    assert judge_entanglement(r, reference, RATES_WELL).word == word


@pytest.mark.parametrize("value", ["moral", "grammar"])
@pytest.mark.parametrize("accuracy", [estimate(0.02), estimate(-0.6), estimate(np.nan)])
def test_entanglement_of_ratings_that_follow_nothing_is_inconclusive(value, accuracy):
    strong = estimate(0.8)
    judged = judge_entanglement(strong, 0.0, {**RATES_WELL, value: accuracy})
    assert judged.word == "inconclusive"
    assert f"the {value} ratings" in judged.reason
    assert judge_entanglement(strong, 0.0, RATES_WELL).word == "entangled"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "repaired"),
        ({"leak_after": 0.2}, "partly repaired"),
        ({"leak_after": 0.3, "apparent_after": 0.35}, "not repaired"),
        ({"leak_after": 0.48, "apparent_after": 0.1}, "seeming repair"),
        ({"accuracy_after": 0.7}, "seeming repair"),
        ({"spread_kept": 0.3}, "seeming repair"),
        ({"mass_after": 0.8}, "seeming repair"),
        ({"null_distance": 0.0}, "seeming repair"),
        ({"change": estimate(-0.47, 0.6)}, "seeming repair"),
        ({"leak_after": 0.7, "apparent_after": 0.7}, "not repaired"),
        ({"reference": 0.4, "leak_after": 0.42, "null_distance": 0.08}, "repaired"),
    ],
)
def test_repair_is_judged_by_the_fixed_moral_score(changes, word):
    assert judge_repair(replace(REPAIRED, **changes), "entangled").word == word


def test_repair_that_only_broke_the_moral_rating_is_called_seeming():
    """methods.md 1.5: r of the two ratings .59 to .11, the leak against the design still .40."""
    broken = replace(REPAIRED, leak_before=0.59, leak_after=0.40, apparent_before=0.59)
    broken = replace(broken, apparent_after=0.11)
    judged = judge_repair(broken, "entangled")
    assert judged.word == "seeming repair"
    assert "0.59 to 0.11" in judged.reason


@pytest.mark.parametrize("word", ["not entangled", "inconclusive"])
def test_repair_of_a_sound_model_is_nothing_to_repair(word):
    assert judge_repair(REPAIRED, word).word == "nothing to repair"


def test_rule_names_every_word():
    words = (
        "entangled", "not entangled", "inconclusive", "repaired", "partly repaired",
        "seeming repair", "not repaired", "nothing to repair",
    )  # fmt: skip
    text = " ".join(RULE.lower().split())
    assert all(word in text for word in words)


def test_readme_states_the_rule_as_it_is():
    readme = Path(__file__).parents[2] / "README.md"
    stated = " ".join(
        readme.read_text(encoding="utf-8").replace("> ", " ").replace(">\n", " ").split()
    )
    assert " ".join(RULE.split()) in stated
