"""What a checkpoint is freed of: chosen under all questions, on held-out pairs."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import entangle_lens as el
from entangle_lens.directions import Direction, Quality
from entangle_lens.entanglement.behaviour import Behaviour, Reference
from entangle_lens.entanglement.checkpoint_basis import (
    Removable,
    RepairChoice,
    check_method,
    choose_repair,
    removable_of,
    repair_methods,
)
from entangle_lens.entanglement.checkpoint_costs import Costs, warnings_of
from entangle_lens.entanglement.design import Design
from entangle_lens.entanglement.ratings import Ratings
from entangle_lens.entanglement.validation import Candidate, Validation
from entangle_lens.errors import EntangleError
from entangle_lens.models import info
from entangle_lens.statistics import Estimate
from entangle_lens.stimuli import ItemSet, load_stimuli

REMOVABLE = Removable("moral", ("grammar",), 2, "difference of means", 1.0, True, torch.eye(8)[:1])
GOOD = Quality(0.95, 3.0, 0.9)


def choice(*left, valid=True, **spoilt):
    """A choice with what is left under each question."""
    nothing = Candidate("a test", "full mode", 2, ())
    found = {"kept": 1.0, "spread": 1.0, "kl": 0.0, **spoilt}
    by_question = {
        f"q{number}": Validation(nothing, each, **found, secondary=f"q{number}")
        for number, each in enumerate(left)
    }
    return RepairChoice(replace(REMOVABLE, valid=valid), by_question)


def direction(layer=2, question="grammar", quality=GOOD, axis=0):
    vector = 3 * torch.eye(8)[axis]
    return Direction("moral", question, layer, vector, torch.zeros(8), quality)


def costs(leak, accuracy, moral_accuracy, reference=0.0, spread=1.0):
    """What one pair measures like, in the places where it is looked for."""
    items = np.resize([-spread, spread], 20)
    ratings = Ratings("grammar", (), items[None], items[None], items[None])
    numbers = {"leak": leak, "accuracy": accuracy, "moral_accuracy": moral_accuracy}
    estimates = {
        name: Estimate(value, value, value, 0.01, 20, 20, "a test")
        for name, value in numbers.items()
    }
    table = pd.DataFrame({"item_id": [], "scenario_id": [], "text": [], "moral": [], "level": []})
    found = Behaviour(
        ItemSet("grammar", table),
        ratings,
        ratings,
        entanglement=estimates["leak"],
        reference=Reference(reference, reference, "a test", None, 0.0),
        **estimates,
    )
    return Costs({"moral_grammar": found}, 0.0, 1.0)


@pytest.fixture(autouse=True)
def quickly(without_type_checks):
    """Whole choices are made here; types are checked by the tests of what they are made of."""


@pytest.fixture(scope="module")
def asked():
    model = el.load()
    return model, load_stimuli(info(model).stimuli), Design.make(quick=True)


def test_sum_over_questions_decides_and_not_the_best_of_one():
    balanced, lopsided = choice(0.2, 0.2), choice(0.0, 0.5)
    assert balanced.rank < lopsided.rank
    assert choice(-0.3, 0.3).rank > balanced.rank


def test_what_counts_as_nothing_left_is_chosen_by_what_is_kept():
    """Below .05 the remainder is noise of the held-out pairs."""
    assert choice(0.01, 0.04, kept=1.1).rank < choice(0.0, 0.0).rank
    assert choice(0.01, 0.08, kept=1.1).rank > choice(0.0, 0.0).rank


def test_what_passes_comes_before_what_leaves_less():
    failing = choice(0.0, 0.0, kl=0.2)
    assert choice(0.4, 0.4).rank < failing.rank
    assert choice(0.4, 0.4).passes
    assert choice(0.4, 0.4).failures == ()


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ({"kl": 0.2}, ["KL on neutral prompts is 0.20 (at most 0.1)"]),
        ({"valid": False}, ["the direction is not valid at layer 2 (held-out AUC 1.00)"]),
        (
            {"kept": 0.5},
            [
                "q0 ratings keep 50% of their d' on held-out pairs",
                "q1 ratings keep 50% of their d' on held-out pairs",
            ],
        ),
    ],
)
def test_failures_are_named_once_each(spoilt, said):
    failed = choice(0.1, 0.1, **spoilt)
    assert not failed.passes
    assert list(failed.failures) == said


def test_one_failing_question_fails_the_choice():
    passing = choice(0.1, 0.1)
    spoilt = replace(passing.validations["q1"], kept=0.5)
    one = RepairChoice(passing.removable, {**passing.validations, "q1": spoilt})
    assert not one.passes


def test_directions_of_a_layer_become_one_orthonormal_basis():
    both = removable_of([direction(), direction(question="economic", axis=3)], 6)
    assert torch.allclose(both.basis @ both.basis.T, torch.eye(2).double())
    assert both.questions == ("grammar", "economic")
    assert both.valid
    alone = removable_of([direction(), direction(question="economic")], 6)
    assert alone.basis.shape == (1, 8)


def test_direction_is_valid_below_the_last_fifth_where_it_reads_its_value():
    assert removable_of([direction(layer=3)], 6).valid
    assert not removable_of([direction(layer=5)], 6).valid
    assert not removable_of([direction(quality=Quality(0.6, 3.0, 0.9))], 6).valid
    assert not removable_of([direction(quality=Quality(0.95, 3.0, 0.2))], 6).valid
    unknown = Quality(float("nan"), float("nan"), float("nan"))
    assert not removable_of([direction(quality=unknown)], 6).valid


def test_directions_of_several_layers_are_refused():
    with pytest.raises(EntangleError, match="layers 1, 2 were given; one layer was expected"):
        removable_of([direction(1), direction(2)], 6)
    with pytest.raises(EntangleError, match="layers none"):
        removable_of([], 6)


def test_warnings_name_what_a_reader_must_not_miss():
    before = costs(0.5, 0.9, 1.0)
    assert warnings_of(before, costs(0.05, 0.92, 0.97)) == []
    assert "More than half of the leak" in warnings_of(before, costs(0.3, 0.9, 1.0))[0]
    assert "the grammar ratings are damaged" in warnings_of(before, costs(0.0, 0.6, 1.0))[0]
    flat = warnings_of(before, costs(0.0, 0.9, 1.0, spread=0.4))
    assert flat == [
        "moral_grammar: the grammar ratings are flattened (they keep 40% of their spread)."
    ]
    assert "the moral ratings are damaged" in warnings_of(before, costs(0.0, 0.9, 0.7))[0]
    lost, judged = warnings_of(before, costs(0.0, 0.9, -0.1))
    assert "the moral ratings are lost (accuracy 1.00 to -0.10" in lost
    assert "judged anew, the repaired model is inconclusive" in judged


def test_ratings_that_no_longer_vary_are_warned_of():
    nan = float("nan")
    said = warnings_of(costs(0.5, 0.9, 1.0), costs(nan, nan, nan))
    assert len(said) == 4
    assert "lost" in said[2]
    assert "inconclusive" in said[3]


def test_leak_is_measured_from_peoples():
    before = costs(0.5, 0.9, 1.0, reference=0.45)
    assert "More than half" in warnings_of(before, costs(0.3, 0.9, 1.0))[0]
    assert warnings_of(before, costs(0.46, 0.9, 1.0)) == []


def test_methods_are_the_questions_and_their_unions(asked):
    _, stimuli, _ = asked
    known = repair_methods(stimuli)
    assert known == ("pooled", "moral", "grammar", "economic", "subspace", "best")
    with pytest.raises(EntangleError, match="'magic' is unknown; choose one of: pooled, moral"):
        check_method("magic", stimuli)


def test_choice_on_an_entangled_organism_passes_where_the_direction_is_valid(asked):
    """At layers 0 and 1 nothing is read, and 4 and 5 are left out; at 2 the ratings go flat."""
    chosen = choose_repair(*asked, "grammar")
    assert chosen.passes
    assert chosen.removable.questions == ("grammar",)
    assert chosen.removable.layer == 3
    assert all(abs(each.left) < 0.4 for each in chosen.validations.values())
    flat = choose_repair(*asked, "economic", layer=2)
    assert not flat.passes
    assert any("of their spread" in each for each in flat.failures)
    assert all(abs(each.left) < 0.1 for each in flat.validations.values())
    at_zero = choose_repair(*asked, "economic", layer=0)
    assert not at_zero.passes
    assert "not valid at layer 0" in at_zero.failures[0]
    assert all(abs(each.left) > 0.5 for each in at_zero.validations.values())


def test_subspace_spans_what_single_contexts_remove(asked):
    chosen = choose_repair(*asked, "subspace", layer=2).removable
    assert chosen.method == "subspace, class means"
    assert len(chosen.basis) in (2, 3, 4)
    model, stimuli, design = asked
    pooled = choose_repair(model, stimuli, design, "pooled", layer=2).removable
    inside = (pooled.basis @ chosen.basis.T).norm()
    made = torch.Generator().manual_seed(0)
    drawn = torch.nn.functional.normalize(torch.randn(pooled.basis.shape, generator=made).double())
    assert inside > 0.99 > 0.6 > (drawn @ chosen.basis.T).norm()
