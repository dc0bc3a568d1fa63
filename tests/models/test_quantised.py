"""Quantised checkpoints run in one tree of modules, in which their parts stay together."""

import dataclasses

import pytest
import torch
from torch import nn

import entangle_lens as el
from entangle_lens.models import info, load_plain, loading
from entangle_lens.models.checkpoints import open_checkpoint
from entangle_lens.running import next_token_log_probs, plain_prompts

TEXTS = ["i swept the yard .", "we carried the old lamp to the market ."]


class Coded(nn.Linear):
    """A linear layer in eight bits, as bitsandbytes' works.

    The scales come with the parameter, and the first module that runs takes them to itself.
    """

    def __init__(self, linear):
        super().__init__(linear.in_features, linear.out_features, bias=False)
        scales = linear.weight.abs().amax(1, keepdim=True) / 127
        self.weight = nn.Parameter((linear.weight / scales).round(), requires_grad=False)
        self.weight.scales = scales
        self.scales = None

    def forward(self, hidden):
        if hasattr(self.weight, "scales"):
            self.scales = self.weight.scales
            del self.weight.scales
        weight = self.weight if self.scales is None else self.weight * self.scales
        return nn.functional.linear(hidden, weight)


def coded(hf_model):
    for layer in hf_model.model.layers:
        layer.mlp.down_proj = Coded(layer.mlp.down_proj)
    hf_model.hf_quantizer = "a quantiser"
    return hf_model


@pytest.fixture
def model(tiny_folder, monkeypatch):
    def quantised(*args):
        opened = open_checkpoint(*args)
        return dataclasses.replace(opened, hf_model=coded(opened.hf_model))

    monkeypatch.setattr(loading, "open_checkpoint", quantised)
    return el.load(tiny_folder("qwen3"))


@pytest.mark.parametrize("bridge_first", [True, False])
def test_quantised_model_gives_the_numbers_of_transformers(model, tiny_folder, bridge_first):
    """Through the engine and through the bridge: without its scales, one is off by many nats."""
    plain = load_plain(tiny_folder("qwen3"))
    (tokens,) = plain_prompts(model, TEXTS).tokens[:1]
    ids = torch.tensor([tokens])
    with torch.no_grad():
        theirs = plain(ids).logits[0, -1].log_softmax(-1)
    ways = [
        lambda: model(ids)[0, -1].log_softmax(-1),
        lambda: next_token_log_probs(model, plain_prompts(model, TEXTS))[0],
    ]
    for way in ways if bridge_first else ways[::-1]:
        torch.testing.assert_close(way(), theirs, atol=1e-4, rtol=0)


def test_quantised_model_has_one_tree_of_modules(model):
    assert info(model).plain is None


def test_model_in_full_precision_keeps_its_fast_way(tiny_folder):
    assert info(el.load(tiny_folder("qwen3"))).plain is not None
