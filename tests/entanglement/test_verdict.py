"""The rule in words, on numbers made for each of its branches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from entangle_lens.entanglement.price import RatingState, moral_state, price_of
from entangle_lens.entanglement.reference import Reference
from entangle_lens.entanglement.verdict import (
    RULE,
    EntanglementFacts,
    RatingFacts,
    RepairFacts,
    judge_entanglement,
    judge_repair,
)
from entangle_lens.statistics import Estimate


def estimate(value: float, half: float = 0.05, p: float = 0.001) -> Estimate:
    return Estimate(value, value - half, value + half, p, 96, 24, "made up")


def against(value: float, leak: float | None = None, design: float = 0.0) -> Reference:
    return Reference(value, value if leak is None else leak, "made up", None, design)


def rated(accuracy: Estimate, mass=0.98, spread=0.2, by_polarity=None) -> RatingFacts:
    return RatingFacts(accuracy, mass, spread, by_polarity or {})


def facts(r, reference=0.0, **ratings) -> EntanglementFacts:
    both = {"moral": rated(estimate(0.9)), "grammar": rated(estimate(0.8))} | ratings
    held = reference if isinstance(reference, Reference) else against(reference)
    return EntanglementFacts(r, r, held, both)


CLEAN = RatingState(0.5, 0.5, 0.85, 1.0, spread=1.0, mass=1.0)
ABLATED = RatingState(0.03, 0.03, 0.95, 0.99, spread=0.9, mass=1.0)
REPAIRED = RepairFacts(against(0.0), CLEAN, ABLATED, estimate(-0.47), 0.4, "grammar")


def repair(**after) -> RepairFacts:
    return replace(REPAIRED, after=replace(ABLATED, **after))


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
    assert judge_entanglement(facts(r, reference)).word == word


@pytest.mark.parametrize(
    ("r", "leak", "word"),
    [
        (estimate(0.853), estimate(0.0), "not entangled"),
        (estimate(0.89), estimate(0.18), "entangled"),
        (estimate(0.99, 0.01), estimate(0.02), "entangled"),
        (estimate(0.853), estimate(0.1, 0.2, p=0.3), "inconclusive"),
    ],
)
def test_leak_counts_beside_r_where_the_design_goes_together(r, leak, word):
    """A model that rates by the levels alone has the design's own correlation, .853 here."""
    confounded = replace(facts(r, against(0.853, 0.0, design=0.853)), leak=leak)
    judged = judge_entanglement(confounded)
    assert judged.word == word
    assert "correlate 0.85" in judged.reason
    crossed = replace(confounded, reference=against(0.0))
    assert judge_entanglement(crossed).word == "entangled"
    assert "correlate" not in judge_entanglement(crossed).reason


@pytest.mark.parametrize("value", ["moral", "grammar"])
@pytest.mark.parametrize("accuracy", [estimate(0.02), estimate(-0.6), estimate(np.nan)])
def test_entanglement_of_ratings_that_follow_nothing_is_inconclusive(value, accuracy):
    judged = judge_entanglement(facts(estimate(0.8), **{value: rated(accuracy)}))
    assert judged.word == "inconclusive"
    assert f"the {value} ratings" in judged.reason
    assert judge_entanglement(facts(estimate(0.8))).word == "entangled"


@pytest.mark.parametrize("value", ["moral", "grammar"])
@pytest.mark.parametrize("mass", [7e-8, 0.3, np.nan])
def test_no_verdict_without_answers_on_the_scale(value, mass):
    judged = judge_entanglement(facts(estimate(0.8), **{value: rated(estimate(0.9), mass=mass)}))
    assert judged.word == "inconclusive"
    assert f"does not answer the {value} question" in judged.reason


@pytest.mark.parametrize("value", ["moral", "grammar"])
@pytest.mark.parametrize("spread", [1e-7, 0.009, np.nan])
def test_no_verdict_on_ratings_that_hardly_vary(value, spread):
    rating = rated(estimate(0.9), spread=spread)
    judged = judge_entanglement(facts(estimate(0.8), **{value: rating}))
    assert judged.word == "inconclusive"
    assert f"the {value} ratings hardly vary" in judged.reason


def test_reason_names_a_model_that_ignores_the_polarity_of_the_scale():
    by_polarity = {"ascending": 0.29, "descending": -0.26}
    moral = rated(estimate(0.01), by_polarity=by_polarity)
    judged = judge_entanglement(facts(estimate(0.8), moral=moral))
    assert judged.word == "inconclusive"
    assert "0.29 ascending, -0.26 descending" in judged.reason
    assert "polarity='ascending'" in judged.reason
    agreeing = rated(estimate(0.01), by_polarity={"ascending": 0.03, "descending": -0.02})
    assert "polarit" not in judge_entanglement(facts(estimate(0.8), moral=agreeing)).reason


def test_p_that_no_permutation_reached_is_a_bound():
    r = Estimate(0.45, 0.4, 0.5, 1 / 2_001, 96, 24, "made up", n_permutations=2_000)
    assert "p < 0.0005" in judge_entanglement(facts(r)).reason
    assert "p = 0.0100" in judge_entanglement(facts(replace(r, p=0.01))).reason


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        (REPAIRED, "repaired"),
        (repair(leak=0.2), "partly repaired"),
        (repair(leak=0.3, apparent=0.35), "not repaired"),
        (repair(leak=0.48, apparent=0.1), "seeming repair"),
        (repair(accuracy=0.7), "seeming repair"),
        (repair(spread=0.3), "seeming repair"),
        (repair(mass=0.8), "seeming repair"),
        (replace(REPAIRED, null_distance=0.0), "seeming repair"),
        (replace(REPAIRED, change=estimate(-0.47, 0.6)), "seeming repair"),
        (replace(REPAIRED, change=estimate(np.nan)), "seeming repair"),
        (repair(leak=0.7, apparent=0.7), "not repaired"),
        (
            replace(repair(leak=0.42), reference=against(0.4), null_distance=0.08),
            "repaired",
        ),
    ],
)
def test_repair_is_judged_by_the_fixed_moral_score(changed, word):
    assert judge_repair(changed, "entangled").word == word


def test_repair_that_only_broke_the_moral_rating_is_called_seeming():
    """r of the two ratings fell from .59 to .11, the leak against the design stayed at .40."""
    before = replace(CLEAN, leak=0.59, apparent=0.59)
    broken = replace(repair(leak=0.40, apparent=0.11), before=before)
    judged = judge_repair(broken, "entangled")
    assert judged.word == "seeming repair"
    assert "0.59 to 0.11" in judged.reason


@pytest.mark.parametrize(
    ("moral_accuracy", "headline"),
    [
        (0.99, "repaired"),
        (0.80, "repaired, at some cost to the moral ratings"),
        (0.16, "repaired, at the price of the moral ratings"),
        (-0.5, "repaired, at the price of the moral ratings"),
        (np.nan, "repaired, at the price of the moral ratings"),
    ],
)
def test_headline_of_a_repair_says_what_it_did_to_the_moral_ratings(moral_accuracy, headline):
    judged = judge_repair(repair(moral_accuracy=moral_accuracy, apparent=-0.6), "entangled")
    assert judged.word == "repaired"
    assert judged.headline == headline
    if headline == "repaired":
        assert judged.price.sentences == ()
    else:
        (sentence,) = judged.price.sentences
        assert f"accuracy 1.00 to {moral_accuracy:.2f}" in sentence
        assert "0.50 to -0.60" in sentence
        assert sentence in judged.reason


def test_price_names_every_loss():
    after = replace(ABLATED, accuracy=0.7, spread=0.3, mass=0.8, moral_accuracy=0.4)
    price = price_of(CLEAN, after, "grammar")
    assert len(price.secondary) == 3
    assert all("grammar" in sentence for sentence in price.secondary)
    assert "lost" in price.moral[0]
    assert price_of(CLEAN, CLEAN, "grammar").sentences == ()


def test_moral_ratings_are_lost_at_half_of_their_accuracy():
    assert [moral_state(1.0, after) for after in (0.96, 0.9, 0.51, 0.5)] == [
        "kept", "damaged", "damaged", "lost",
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["not entangled", "inconclusive"])
def test_repair_of_a_sound_model_is_nothing_to_repair(word):
    assert judge_repair(REPAIRED, word).word == "nothing to repair"


def test_rule_names_every_word():
    words = (
        "entangled", "not entangled", "inconclusive", "repaired", "partly repaired",
        "seeming repair", "not repaired", "nothing to repair",
        "at the price of the moral ratings", "at some cost to the moral ratings",
    )  # fmt: skip
    text = " ".join(RULE.lower().split())
    assert all(word in text for word in words)


def test_readme_states_the_rule_as_it_is():
    readme = Path(__file__).parents[2] / "README.md"
    stated = " ".join(
        readme.read_text(encoding="utf-8").replace("> ", " ").replace(">\n", " ").split()
    )
    assert " ".join(RULE.split()) in stated
