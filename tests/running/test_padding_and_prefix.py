"""Padding on either side, a shared beginning run once, short windows: all the plain numbers."""

from dataclasses import replace

import pytest
import torch

import entangle_lens as el
from entangle_lens.interventions import ablation
from entangle_lens.running import (
    bridge,
    forward,
    one_by_one,
    prefix,
    read_ablated,
    read_plainly,
    read_prompts,
)
from entangle_lens.running.batches import padded
from entangle_lens.running.plain import read_right_padded
from entangle_lens.running.prefix import Branch, distinct_tokens, prefix_tree

LAYERS = range(4)


def close(one, other):
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def same(one, other):
    close(one.resid, other.resid)
    close(one.log_probs, other.log_probs)


def joined(readings):
    return torch.cat([each.resid for each in readings])


@pytest.fixture
def through_the_bridge(monkeypatch):
    """Make every pass go through the bridge, as for models loaded elsewhere."""
    monkeypatch.setattr(forward, "decoder_of", lambda *given: None)


def test_short_windows_read_as_by_transformers(sliding, ask):
    model, plain = sliding
    group = ask(model)
    slow = read_plainly(plain, group, LAYERS)
    same(read_prompts(model, group, layers=LAYERS), slow)
    same(read_right_padded(model, group, LAYERS), slow)


def test_short_windows_do_change_the_numbers(sliding, family, sliding_folder, ask):
    """The control: the same weights with windows wider than the prompts read otherwise."""
    group = ask(sliding[0])
    short = read_prompts(sliding[0], group, layers=LAYERS)
    wide = read_prompts(el.load(sliding_folder(family, 512)), group, layers=LAYERS)
    assert (short.log_probs - wide.log_probs).abs().max() > 1e-2


@pytest.mark.parametrize("layers", [2, "all"])
def test_short_windows_read_as_by_transformers_under_an_ablation(
    sliding, ask, random_vector, layers
):
    model, plain = sliding
    group = ask(model)
    edit = ablation(model, random_vector(model), layers=layers)
    fast = read_prompts(model, group, layers=LAYERS, edits=[edit])
    with el.ablate(model, random_vector(model), layers=layers):
        same(read_prompts(model, group, layers=LAYERS), fast)
    if layers == 2:
        same(fast, read_plainly(plain, group, LAYERS, (2, edit.edit)))
    clean = read_prompts(model, group, layers=LAYERS)
    assert (fast.log_probs - clean.log_probs).abs().max() > 1e-2


@pytest.mark.parametrize("scale", ["1:9", "-10:10"])
def test_left_padded_bridge_reads_as_one_prompt_at_a_time(tiny, ask, through_the_bridge, scale):
    group = ask(tiny, scale)
    together = read_prompts(tiny, group, layers=LAYERS)
    alone = [read_prompts(tiny, each, layers=LAYERS) for each in one_by_one(group)]
    close(together.resid, joined(alone))
    close(together.log_probs, torch.cat([each.log_probs for each in alone]))


def test_left_padded_equals_right_padded(tiny, ask, through_the_bridge):
    group = ask(tiny)
    assert len({len(tokens) for tokens in group.tokens}) > 2
    same(read_prompts(tiny, group, layers=LAYERS), read_right_padded(tiny, group, LAYERS))


def test_left_padding_without_its_mask_changes_the_numbers(
    tiny, ask, through_the_bridge, monkeypatch
):
    """The control of the two tests above."""
    group = ask(tiny)
    right = read_prompts(tiny, group, layers=LAYERS)
    monkeypatch.setattr(
        bridge,
        "forward",
        lambda model, ids, mask, **options: model.forward(ids, return_type="logits", **options),
    )
    wrong = read_prompts(tiny, group, layers=LAYERS)
    longest = max(range(len(group.tokens)), key=lambda row: len(group.tokens[row]))
    others = [row for row in range(len(group.tokens)) if row != longest]
    assert (wrong.resid - right.resid)[others].abs().amax((1, 2)).min() > 1e-2
    close(wrong.resid[longest], right.resid[longest])


def test_wrong_mask_changes_the_numbers(tiny, ask, through_the_bridge, monkeypatch):
    """The control: a mask that hides one true token is noticed."""
    group = ask(tiny)
    right = read_prompts(tiny, group)

    def hiding(tokens, *, left, device="cpu"):
        ids, mask = padded(tokens, left=left, device=device)
        mask[:, -3] = 0
        return ids, mask

    monkeypatch.setattr(bridge, "padded", hiding)
    assert (read_prompts(tiny, group).log_probs - right.log_probs).abs().max() > 1e-2


def flat(tokens):
    return Branch((), tuple(range(len(tokens))), ())


def test_shared_beginning_is_run_once(tiny, ask, monkeypatch):
    group = ask(tiny)
    monkeypatch.setattr(prefix, "PASS_COST", 20)
    n_shared = len(prefix_tree(group.tokens).tokens)
    assert 4 <= n_shared < min(map(len, group.tokens))
    widths, run_body = [], forward.run_body

    def counting(decoder, ids, *rest, **options):
        widths.append(tuple(ids.shape))
        return run_body(decoder, ids, *rest, **options)

    monkeypatch.setattr(forward, "run_body", counting)
    read_prompts(tiny, group)
    longest = max(map(len, group.tokens))
    assert widths == [(1, n_shared), (len(group.tokens), longest - n_shared)]


@pytest.mark.parametrize("edited", [False, True])
def test_reading_with_shared_beginnings_equals_reading_without(
    sliding, ask, random_vector, monkeypatch, edited
):
    model, _ = sliding
    group = ask(model)
    edits = [ablation(model, random_vector(model), layers="all")] if edited else []
    assert prefix_tree(group.tokens).branches
    shared = read_prompts(model, group, layers=LAYERS, edits=edits)
    monkeypatch.setattr(forward, "prefix_tree", flat)
    same(read_prompts(model, group, layers=LAYERS, edits=edits), shared)


def test_another_prompts_beginning_changes_the_numbers(tiny, ask, monkeypatch):
    """The control: a beginning that is not shared, yet run as if it were, is noticed."""
    group = ask(tiny)
    right = read_prompts(tiny, group)
    monkeypatch.setattr(prefix, "PASS_COST", 20)
    longer = len(prefix_tree(group.tokens).tokens) + 1
    wrong = Branch(group.tokens[0][:longer], tuple(range(len(group.tokens))), ())
    monkeypatch.setattr(forward, "prefix_tree", lambda tokens: wrong)
    assert (read_prompts(tiny, group).log_probs - right.log_probs).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ([(1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 9, 6)], Branch((1, 2, 3, 4), (0, 1), ())),
        ([(1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5)], Branch((1, 2, 3, 4), (0, 1), ())),
        ([(1, 2, 3, 4, 5), (1, 2, 3, 4, 5)], Branch((1, 2, 3, 4), (0, 1), ())),
        ([(1, 2, 3, 9), (1, 2, 3, 8)], Branch((), (0, 1), ())),
        ([(1, 2, 3, 4, 5), (2, 2, 3, 4, 5)], Branch((), (0, 1), ())),
        ([(1, 2, 3, 4, 5)], Branch((), (0,), ())),
        ([], Branch((), (), ())),
    ],
)
def test_shared_beginning_leaves_each_prompt_a_token_of_its_own(prompts, expected):
    assert prefix_tree(prompts, pass_cost=4) == expected


def test_items_asked_in_several_ways_are_run_once_each():
    """Two items, each before four questions: a stretch for all, and one an item after it."""
    items = [(7, 7, 7, 7), (8, 8, 8, 8)]
    prompts = [(1, 2, 3, *item, 9, question) for question in range(4) for item in items]
    tree = prefix_tree(prompts, pass_cost=4)
    assert tree.tokens == (1, 2, 3)
    assert tree.prompts == ()
    assert [branch.tokens for branch in tree.branches] == [(*item, 9) for item in items]
    assert [branch.prompts for branch in tree.branches] == [(0, 2, 4, 6), (1, 3, 5, 7)]
    assert distinct_tokens(tree, prompts) == 3 + 2 * 5 + 8
    assert distinct_tokens(flat(prompts), prompts) == 8 * 9


@pytest.mark.parametrize("pass_cost", [1, 4, 7, 10_000])
def test_tree_holds_every_prompt_once_with_its_own_tokens(rng, pass_cost):
    prompts = [tuple(rng.integers(0, 3, rng.integers(1, 12)).tolist()) for _ in range(60)]
    found = []

    def walk(branch, before):
        start = (*before, *branch.tokens)
        found.extend((index, start) for index in branch.prompts)
        for each in branch.branches:
            walk(each, start)

    tree = prefix_tree(prompts, pass_cost)
    walk(tree, ())
    assert sorted(index for index, _ in found) == list(range(60))
    for index, start in found:
        assert prompts[index][: len(start)] == start
        assert len(start) < len(prompts[index])
    saved = distinct_tokens(flat(prompts), prompts) - distinct_tokens(tree, prompts)
    assert (saved > 0) == (pass_cost < 10_000)


def test_prompts_that_are_equal_or_begin_one_another_read_as_alone(tiny, ask):
    group = ask(tiny)
    tokens = group.tokens[1]
    group = replace(group, tokens=(tokens, tokens[:-3], tokens, tokens[:-1]))
    together = read_prompts(tiny, group, layers=LAYERS)
    alone = [read_prompts(tiny, each, layers=LAYERS) for each in one_by_one(group)]
    close(together.resid, joined(alone))
    assert (together.resid[0] - together.resid[1]).abs().max() > 1e-2


def test_readings_keep_the_order_of_prompts_and_layers(tiny, ask):
    group = ask(tiny)
    turned = replace(group, tokens=group.tokens[::-1])
    forwards = read_prompts(tiny, group, layers=[0, 2])
    backwards = read_prompts(tiny, turned, layers=[2, 0])
    close(backwards.resid, forwards.resid.flip(0, 1))
    close(backwards.log_probs, forwards.log_probs.flip(0))


def test_layers_out_of_range_are_refused(tiny, ask):
    with pytest.raises(el.EntangleError, match="layer 4 is out of range"):
        read_prompts(tiny, ask(tiny), layers=[0, 4])


@pytest.mark.parametrize("pass_cost", [1, 10_000])
def test_options_of_several_tokens_are_read_in_batches_as_alone(
    tiny, ask, random_vector, monkeypatch, pass_cost
):
    """Prompts of one length: they go on together from the keys and values of the whole batch."""
    monkeypatch.setattr(prefix, "PASS_COST", pass_cost)
    texts = [
        "i swept the yard .",
        "you swept a lamp .",
        "we carried the boats .",
        "i swept a lamp .",
    ]
    group = ask(tiny, "-10:10", texts)
    edit = ablation(tiny, random_vector(tiny), layers=1)
    together = read_prompts(tiny, group, edits=[edit]).log_probs
    alone = [read_prompts(tiny, each, edits=[edit]).log_probs for each in one_by_one(group)]
    close(together, torch.cat(alone))
    close(read_ablated(tiny, group, [edit])[0], together)
    assert together.std(0).max() > 1e-2
