"""Activations at every hook point, layer and position: what TransformerLens itself shows there."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import entangle_lens as el
from entangle_lens.errors import EntangleError
from entangle_lens.interventions import ablation
from entangle_lens.models import info
from entangle_lens.running import (
    Ablation,
    capture,
    capture_moments,
    chat_prompts,
    counted,
    forward,
    prefix,
    read_prompts,
)
from entangle_lens.running.positions import POSITIONS
from entangle_lens.running.sites import SITES, hook_name

LAYERS = [0, 1, 2, 3]


def plainly(model, tokens, site, edit=None):
    """One prompt through the bridge alone: ``site`` at every layer and token."""
    seen = {}
    hooks = [
        (f"blocks.{layer}.hook_resid_post", lambda resid, hook: edit.edit(resid))
        for layer in (edit.layers if edit else ())
    ]
    hooks += [
        (hook_name(site, layer), lambda value, hook, layer=layer: seen.__setitem__(layer, value[0]))
        for layer in LAYERS
    ]
    with torch.inference_mode(), model.hooks(fwd_hooks=hooks):
        model.forward(torch.tensor([tokens]), attention_mask=torch.ones(1, len(tokens)).long())
    return torch.stack([seen[layer] for layer in LAYERS], 1)


def item_tokens(model, tokens, text):
    """Where the item's words stand: found by its token ids, not by characters."""
    own = tuple(info(model).tokenizer(text, add_special_tokens=False)["input_ids"])
    starts = [at for at in range(len(tokens)) if tuple(tokens[at : at + len(own)]) == own]
    return starts[-1], starts[-1] + len(own)


def at(position, activation, span):
    return {
        "last": activation[-1:],
        "item_last": activation[span[1] - 1 : span[1]],
        "item_mean": activation[span[0] : span[1]].mean(0, keepdim=True),
        "all": activation,
    }[position]


def close(one, other):
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("site", SITES)
def test_site_holds_what_transformerlens_shows(sliding, ask, random_vector, site, edited):
    model, _ = sliding
    group = ask(model)
    edit = ablation(model, random_vector(model), layers=1) if edited else None
    found = capture(model, group, site=site, edits=[edit] if edited else [])
    assert found.layers == (0, 1, 2, 3)
    for row, tokens in enumerate(group.tokens):
        close(found.values[row], plainly(model, tokens, site, edit)[-1])
    if edited:
        assert (found.values - capture(model, group, site=site).values).abs().max() > 1e-2


@pytest.mark.parametrize("pass_cost", [1, 10_000])
@pytest.mark.parametrize("position", POSITIONS)
def test_position_rule_reads_its_tokens(sliding, ask, monkeypatch, position, pass_cost):
    monkeypatch.setattr(prefix, "PASS_COST", pass_cost)
    model, _ = sliding
    texts = ["you swept the market .", "you swept the market and the yard .", "we swept ."]
    group = ask(model, texts=texts)
    found = capture(model, group, position=position, layers=LAYERS[::-1])
    for row, (tokens, text) in enumerate(zip(group.tokens, texts, strict=True)):
        right = at(position, plainly(model, tokens, "resid_post"), item_tokens(model, tokens, text))
        close(found.values[found.prompt == row], right.flip(1))


def test_position_rules_read_different_tokens(tiny, ask):
    group = ask(tiny)
    read = [capture(tiny, group, position=each).values for each in ("last", "item_last")]
    read.append(capture(tiny, group, position="item_mean").values)
    assert all(
        (one - other).abs().max() > 1e-2
        for number, one in enumerate(read)
        for other in read[:number]
    )


def test_lengths_from_1_to_200_are_captured_as_alone(tiny, rng):
    vocab = int(tiny.cfg.d_vocab)
    lengths = [1, 2, 7, 40, 199, 200, 3]
    tokens = [tuple(rng.integers(6, vocab, length).tolist()) for length in lengths]
    group = replace(chat_prompts(tiny, ["i"]), tokens=(*tokens, tokens[4][:150] + tokens[3]))
    found = capture(tiny, group).values
    for row, each in enumerate(group.tokens):
        close(found[row], plainly(tiny, each, "resid_post")[-1])


def test_capture_under_hooks_on_the_bridge_sees_them(tiny, ask, random_vector):
    group = ask(tiny)
    vector = random_vector(tiny)
    with el.ablate(tiny, vector, layers=1):
        hooked = capture(tiny, group, site="mlp_out", position="item_mean").values
    edits = [ablation(tiny, vector, layers=1)]
    close(hooked, capture(tiny, group, site="mlp_out", position="item_mean", edits=edits).values)
    clean = capture(tiny, group, site="mlp_out", position="item_mean").values
    assert (hooked - clean).abs().max() > 1e-2


@pytest.mark.parametrize(("layers", "ran"), [([0], 1), ([2, 1], 3), (None, 4)])
def test_layers_above_the_last_one_asked_for_are_not_run(tiny, ask, layers, ran):
    blocks = info(tiny).plain.get_decoder().layers
    seen = set()
    handles = [
        block.register_forward_hook(lambda *_, number=number: seen.add(number))
        for number, block in enumerate(blocks)
    ]
    capture(tiny, ask(tiny))  # the model's own check, which runs it all, is made once
    seen.clear()
    try:
        with counted() as account:
            capture(tiny, ask(tiny), layers=layers)
    finally:
        for handle in handles:
            handle.remove()
    assert seen == set(range(ran))
    assert account.tokens_run < account.prompt_tokens * ran / 4


@pytest.mark.parametrize("position", ["last", "all"])
@pytest.mark.parametrize("budget", [None, 30])
def test_moments_are_those_of_what_is_captured(tiny, ask, position, budget):
    group = ask(tiny)
    rows = capture(tiny, group, position=position).values.double().numpy()
    moments = capture_moments(tiny, group, position=position, tokens_per_batch=budget)
    assert moments.count == len(rows)
    np.testing.assert_allclose(moments.mean, rows.mean(0), atol=1e-5)
    for layer in LAYERS:
        right = np.cov(rows[:, layer].T)
        np.testing.assert_allclose(moments.covariance[layer], right, atol=1e-5)
        assert np.abs(right).max() > 1e-2
    assert capture_moments(tiny, group, covariance=False).covariance is None


def test_site_that_is_nowhere_in_the_blocks_goes_through_the_bridge(tiny, ask, monkeypatch):
    group = ask(tiny)
    right = capture(tiny, group, site="mlp_pre").values
    monkeypatch.setattr(forward, "decoder_of", lambda *given: None)
    close(capture(tiny, group, site="mlp_pre").values, right)


def test_last_position_at_the_last_layer_is_what_a_reading_reads(tiny, ask):
    group = ask(tiny)
    close(capture(tiny, group).values, read_prompts(tiny, group, layers=LAYERS).resid)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"site": "resid"}, "site 'resid' is unknown; the sites are resid_pre"),
        ({"position": "first"}, "position 'first' is unknown; the choices are last"),
        ({"layers": [4]}, "layer 4 is out of range"),
        ({"layers": []}, "no layer was given"),
    ],
)
def test_what_is_not_there_is_refused(tiny, ask, asked, message):
    with pytest.raises(EntangleError, match=message):
        capture(tiny, ask(tiny), **asked)


def test_item_whose_place_is_not_known_is_refused(tiny):
    with pytest.raises(EntangleError, match="where the item stands"):
        capture(tiny, chat_prompts(tiny, ["we swept ."]), position="item_last")


def test_edit_that_never_fires_is_an_error(tiny, ask, random_vector):
    edit = Ablation(random_vector(tiny), (3,))
    with pytest.raises(EntangleError, match="never fired"):
        capture(tiny, ask(tiny), layers=[1], edits=[edit])
