"""Residuals at several positions from one pass: what capturing each of them by itself gives."""

import pytest
import torch

from entangle_lens.errors import EntangleError
from entangle_lens.interventions import ablation
from entangle_lens.running import (
    PromptGroup,
    capture,
    counted,
    forward,
    prefix,
    rating_prompts,
    read_prompts,
)
from entangle_lens.running.positions import ONE_EACH
from entangle_lens.stimuli import Question, Scale

LAYERS = [0, 2, 3]


def close(one, other):
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def alone(model, group, position, edits=()):
    """One prompt after the other, each position by itself, no beginning shared."""
    rows = []
    for tokens, span in zip(group.tokens, group.spans, strict=True):
        one = PromptGroup((tokens,), (), (span,))
        rows.append(capture(model, one, layers=LAYERS, position=position, edits=edits).values)
    return torch.cat(rows)


@pytest.mark.parametrize(
    ("way", "scale", "edited"),
    [("decoder", "1:9", True), ("decoder", "-10:10", False), ("bridge", "-10:10", True)],
)
def test_one_pass_reads_what_capturing_each_position_does(
    short, ask, random_vector, monkeypatch, way, scale, edited
):
    model, _ = short
    group = ask(model, scale)
    edits = [ablation(model, random_vector(model), layers=[1, 3])] if edited else []
    right = {position: alone(model, group, position, edits) for position in ONE_EACH}
    scored = read_prompts(model, group, edits=edits)
    if way == "bridge":
        monkeypatch.setattr(forward, "decoder_of", lambda *given: None)
    read = read_prompts(model, group, layers=LAYERS, positions=ONE_EACH, edits=edits)
    for position in ONE_EACH:
        close(read.at(position), right[position])
    close(read.log_probs, scored.log_probs)
    assert (right["item_mean"] - right["last"]).abs().max() > 0.1
    assert (right["item_mean"] - right["item_last"]).abs().max() > 0.1


@pytest.mark.parametrize("pass_cost", [1, 10_000])
def test_items_that_begin_alike_are_read_across_the_shared_beginning(short, monkeypatch, pass_cost):
    """Part of each span lies in what is run once for all, and only with the low cost."""
    monkeypatch.setattr(prefix, "PASS_COST", pass_cost)
    model, _ = short
    texts = ["you swept the market and the yard .", "you swept the market .", "you swept a lamp ."]
    asked = Question("moral", "1", "ascending", "rate this from {low} to {high} :", ":")
    group = rating_prompts(model, texts, asked, Scale())
    with counted() as cost:
        read = read_prompts(model, group, layers=LAYERS, positions=ONE_EACH)
    for position in ONE_EACH:
        close(read.at(position), alone(model, group, position))
    assert (cost.tokens_run < 0.7 * cost.prompt_tokens) == (pass_cost == 1)


def test_further_positions_cost_no_more_tokens(short, ask):
    model, _ = short
    run = {}
    for positions in (("last",), ONE_EACH):
        with counted() as cost:
            read_prompts(model, ask(model), layers=LAYERS, positions=positions)
        run[positions] = cost.tokens_run
    assert len(set(run.values())) == 1
    assert min(run.values()) > 0


def test_a_position_that_gives_no_row_a_prompt_is_refused(tiny, ask):
    with pytest.raises(EntangleError, match=r"'all' cannot be read here: .*item_mean"):
        read_prompts(tiny, ask(tiny), layers=[0], positions=["last", "all"])
