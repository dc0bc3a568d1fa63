"""Numbers that are none are refused at the first pass, with the number of prompts and the cause."""

import dataclasses

import pytest
import torch

import entangle_lens as el
from entangle_lens.interventions import ablation
from entangle_lens.models import info
from entangle_lens.running import (
    next_token_log_probs,
    plain_prompts,
    read_ablated,
    read_prompts,
    sequence_log_probs,
)

TEXTS = ["i swept the yard .", "we carried a lamp ."]


def read_under(model, group):
    return read_ablated(model, group, [ablation(model, torch.ones(128), layers=1)])


PASSES = {
    "options": lambda model, group: read_prompts(model, group, layers=[2]),
    "residuals": lambda model, group: read_prompts(
        model, dataclasses.replace(group, options=()), layers=[2]
    ),
    "sweep": read_under,
    "next tokens": next_token_log_probs,
    "sentences": sequence_log_probs,
}


@pytest.fixture
def lame(tiny_folder):
    """A model whose embedding of the word "lamp" is NaN."""
    model = el.load(tiny_folder("qwen3"))
    row = info(model).tokenizer.convert_tokens_to_ids("lamp")
    with torch.no_grad():
        model.original_model.get_input_embeddings().weight[row] = float("nan")
    return model


@pytest.fixture
def group(lame):
    prompts = plain_prompts(lame, TEXTS)
    return dataclasses.replace(prompts, options=((7,), (8,)))


@pytest.mark.parametrize("name", PASSES)
def test_first_pass_says_how_many_prompts_have_no_finite_numbers(lame, group, name):
    with pytest.raises(el.EntangleError, match=r"not finite for \d of 2 prompts: its weights may"):
        PASSES[name](lame, group)


@pytest.mark.parametrize("name", PASSES)
def test_sound_model_passes(tiny_folder, group, name):
    PASSES[name](el.load(tiny_folder("qwen3")), group)


def test_only_the_prompts_that_are_affected_are_counted(lame, group):
    """Residuals alone: the unembedding of this tied model shares the broken row."""
    with pytest.raises(el.EntangleError, match="for 1 of 2 prompts"):
        PASSES["residuals"](lame, group)


def test_float16_is_named_with_what_to_do(lame, group, monkeypatch):
    monkeypatch.setattr(
        lame, "entangle_info", dataclasses.replace(info(lame), dtype="float16"), raising=False
    )
    with pytest.raises(el.EntangleError, match=r"float16 may be too narrow .* bfloat16"):
        read_prompts(lame, group)


def test_excluded_token_is_no_broken_number(tiny_folder, group):
    """A head bias of minus infinity: a log-probability that is never reached is a sound one."""
    model = el.load(tiny_folder("qwen3"))
    plain = info(model).plain
    for hf_model in (plain, model.original_model):
        head = hf_model.get_output_embeddings()
        bias = torch.zeros(head.weight.shape[0])
        bias[3] = float("-inf")
        if hasattr(head, "original_component"):
            head = head.original_component
        head.bias = torch.nn.Parameter(bias, requires_grad=False)
    found = next_token_log_probs(model, plain_prompts(model, TEXTS))
    assert not found.isnan().any()
