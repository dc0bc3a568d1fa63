"""What the engine plans to run is what it then runs."""

import pytest

from entangle_lens.running import (
    Ablation,
    counted,
    plan_reading,
    plan_sweep,
    prefix,
    read_ablated,
    read_prompts,
    tokens_per_second,
)


def cost(account):
    return account.prompts, account.prompt_tokens, pytest.approx(account.tokens_run)


def planned(plan):
    return plan.prompts, plan.prompt_tokens, plan.tokens_run


@pytest.mark.parametrize("scale", ["1:9", "1:10"])
@pytest.mark.parametrize("pass_cost", [1, 10_000])
def test_reading_costs_what_was_planned(tiny, ask, monkeypatch, scale, pass_cost):
    monkeypatch.setattr(prefix, "PASS_COST", pass_cost)
    group = ask(tiny, scale)
    with counted() as account:
        read_prompts(tiny, group)
    assert planned(plan_reading(group)) == cost(account)


def test_sharing_beginnings_is_planned_to_save_tokens(tiny, ask):
    group = ask(tiny)
    shared, alone = plan_reading(group), plan_reading(group, share_beginnings=False)
    assert shared.prompt_tokens == alone.prompt_tokens == alone.tokens_run
    assert shared.share_run < 0.8


def test_sweep_costs_what_was_planned_where_no_batch_is_padded(tiny, ask, random_vector):
    unit = random_vector(tiny)
    group = ask(tiny, texts=["i swept the yard .", "you swept a lamp ."])
    layers = [0, 0, 2, 3]
    with counted() as account:
        read_ablated(tiny, group, [Ablation(unit / unit.norm(), (layer,)) for layer in layers])
    once = plan_reading(group)
    assert planned(plan_sweep(once, layers, 4)) == cost(account)
    assert planned(plan_sweep(once, [0, 0, 1, 3], 4)) != cost(account)


def test_speed_is_measured_on_a_few_prompts_only(tiny, ask, monkeypatch):
    from entangle_lens.running import plan

    group = ask(tiny, texts=[f"{'i ' * n}swept the yard ." for n in range(1, 33)])
    with counted() as short:
        assert tokens_per_second(tiny, group) > 0
    monkeypatch.setattr(plan, "_ENOUGH_SECONDS", 0.0)
    with counted() as shortest:
        tokens_per_second(tiny, group)
    assert shortest.prompts == 8
    assert shortest.prompts <= short.prompts <= 2 * (4 + 8 + 16 + 32)
