"""How much a study may cost: a quick one 150,000 tokens, any other what its minutes allow."""

import pytest

import entangle_lens as el
from entangle_lens.entanglement import budget
from entangle_lens.entanglement.budget import QUICK_TOKENS

SPEED = 1000.0  # tokens per second


@pytest.fixture(scope="module")
def organism():
    return el.load()


@pytest.fixture(autouse=True)
def quickly(without_type_checks):
    """Whole studies are planned and run here."""


@pytest.fixture
def speed(monkeypatch):
    """Let the model run as fast on every machine."""
    monkeypatch.setattr(budget, "study_speed", lambda *_: SPEED)


def test_quick_study_runs_at_most_150_000_tokens_and_says_what_it_left_out(organism, speed):
    whole, quick = el.study(organism).plan(), el.study(organism, quick=True).plan()
    assert quick.total.tokens_run <= QUICK_TOKENS == 150_000 < whole.total.tokens_run
    assert whole.given_up == ()
    left_out = "; ".join(quick.given_up)
    for what in ("wordings", "random directions", "layers"):
        assert what in left_out
    assert all(each in str(quick) for each in quick.given_up)


def test_quick_study_costs_what_was_planned(organism, speed):
    study = el.study(organism, quick=True)
    study.run(progress=False)
    assert study.findings.cost.tokens_run <= study.plan().total.tokens_run <= QUICK_TOKENS


@pytest.mark.parametrize("minutes", [1.0, 2.5, 10.0])
def test_budget_is_kept(organism, speed, minutes):
    plan = el.study(organism, budget=minutes).plan()
    assert plan.total.tokens_run <= 60 * minutes * SPEED
    assert plan.given_up


def test_more_minutes_never_ask_less_and_enough_of_them_ask_all(organism, speed):
    minutes = (1.0, 10.0, 1000.0)
    plans = [el.study(organism, budget=each).plan() for each in minutes]
    tokens = [plan.total.tokens_run for plan in plans]
    assert tokens == sorted(tokens)
    assert tokens[0] < tokens[-1] == el.study(organism).plan().total.tokens_run
    assert plans[-1].given_up == ()


def test_budget_below_the_smallest_study_is_refused_with_what_it_takes(organism, speed):
    with pytest.raises(el.EntangleError, match=r"allows 600 tokens and the smallest .* needs"):
        el.study(organism, budget=0.01)


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_budget_that_is_not_a_time_is_refused(organism, minutes):
    with pytest.raises(el.EntangleError, match="is not a number of minutes above 0"):
        el.study(organism, budget=minutes)
