"""What running cost is counted as it is run, token by token and block by block."""

import pytest

from entangle_lens.models import info
from entangle_lens.running import (
    Ablation,
    capture,
    counted,
    one_by_one,
    prefix,
    read_ablated,
    read_prompts,
)
from entangle_lens.running.prefix import distinct_tokens, prefix_tree


@pytest.fixture
def block_tokens(tiny):
    """Count the tokens that each block is really given."""
    seen = [0] * 4
    blocks = info(tiny).plain.get_decoder().layers

    def count(number):
        def hook(block, args, options):
            seen[number] += (args[0] if args else options["hidden_states"]).shape[:2].numel()

        return hook

    handles = [
        block.register_forward_pre_hook(count(number), with_kwargs=True)
        for number, block in enumerate(blocks)
    ]
    yield seen
    for handle in handles:
        handle.remove()


def test_one_prompt_at_a_time_costs_all_its_tokens(tiny, ask):
    group = ask(tiny)
    with counted() as account:
        for each in one_by_one(group):
            read_prompts(tiny, each)
    assert account.prompts == len(group.tokens)
    assert account.prompt_tokens == account.tokens_run == sum(map(len, group.tokens))
    assert account.share_run == 1
    assert account.seconds > 0


def test_shared_beginnings_are_counted_once(tiny, ask, monkeypatch):
    group = ask(tiny)
    with counted() as shared:
        read_prompts(tiny, group)
    assert shared.tokens_run == distinct_tokens(prefix_tree(group.tokens), group.tokens)
    monkeypatch.setattr(prefix, "PASS_COST", 10_000)
    with counted() as alone:
        read_prompts(tiny, group)
    assert alone.tokens_run == alone.prompt_tokens == shared.prompt_tokens > shared.tokens_run


def test_sweep_counts_what_its_blocks_are_given(tiny, ask, random_vector, block_tokens):
    group = ask(tiny, texts=["i swept the yard .", "you swept a lamp ."])  # no padding
    unit = random_vector(tiny) / random_vector(tiny).norm()
    read_prompts(tiny, group)
    block_tokens[:] = [0] * 4
    with counted() as account:
        read_ablated(tiny, group, [Ablation(unit, (layer,)) for layer in (0, 1, 1, 3)])
    assert account.tokens_run == pytest.approx(sum(block_tokens) / 4)
    assert account.prompts == 4 * 2
    assert block_tokens[0] < block_tokens[1] < block_tokens[2] == block_tokens[3]


def test_capture_stopped_early_costs_its_share_of_the_blocks(tiny, ask, block_tokens):
    group = ask(tiny, texts=["i swept the yard .", "you swept a lamp ."])
    capture(tiny, group)
    block_tokens[:] = [0] * 4
    with counted() as account:
        capture(tiny, group, layers=[1])
    assert account.tokens_run == pytest.approx(sum(block_tokens) / 4)
    assert block_tokens[2:] == [0, 0]


def test_open_accounts_all_count_and_closed_ones_no_more(tiny, ask):
    group = ask(tiny)
    with counted() as outer:
        read_prompts(tiny, group)
        with counted() as inner:
            read_prompts(tiny, group)
    read_prompts(tiny, group)
    assert outer.prompts == 2 * inner.prompts == 2 * len(group.tokens)
    assert outer.tokens_run == 2 * inner.tokens_run
    assert "ran 14 prompts" in str(outer)
