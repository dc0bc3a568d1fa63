"""What a loaded model is: one set of parameters, at rest, with a tokenizer of its own."""

import pytest
import torch
from transformer_lens.model_bridge.sources import build_bridge_from_module
from transformers import AutoTokenizer

import entangle_lens as el
from entangle_lens.models import info, load_plain
from entangle_lens.running import decoder, plain_prompts, read_prompts

TEXTS = ["i swept the yard .", "we carried the old lamp to the market ."]


@pytest.fixture
def folder(tiny_folder):
    return tiny_folder("qwen3")


def places(model):
    return {value.data_ptr() for value in model.parameters()}


def test_every_family_holds_its_parameters_once(tiny):
    plain = info(tiny).plain
    assert places(plain) == places(tiny.original_model)
    n_bytes = {p.data_ptr(): p.numel() * p.element_size() for p in tiny.parameters()}
    of_plain = {p.data_ptr(): p.numel() * p.element_size() for p in plain.parameters()}
    assert n_bytes.items() >= of_plain.items()
    assert sum(n_bytes.values()) < 1.01 * sum(of_plain.values())


def test_separately_loaded_models_share_nothing(folder):
    assert not places(el.load(folder)) & places(el.load(folder))
    assert not places(el.load(folder)) & places(load_plain(folder))


def test_edited_weight_is_seen_by_both_ways_of_running(tiny):
    """Through the hook points and without them, as the parameters are the same."""
    group = plain_prompts(tiny, TEXTS)
    before = read_prompts(tiny, group, layers=[3]).resid
    assert decoder.decoder_of(tiny) is not None
    with torch.no_grad():
        tiny.original_model.get_decoder().layers[1].mlp.down_proj.weight[:9].add_(0.1)
    bare = read_prompts(tiny, group, layers=[3]).resid
    seen = []
    tiny.add_hook("blocks.0.hook_resid_post", lambda resid, hook: seen.append(1))
    hooked = read_prompts(tiny, group, layers=[3]).resid
    assert seen
    torch.testing.assert_close(bare, hooked, atol=1e-4, rtol=0)
    assert (bare - before).abs().max() > 1e-2


def test_replaced_weight_sends_every_pass_through_the_bridge(tiny):
    group = plain_prompts(tiny, TEXTS)
    before = read_prompts(tiny, group, layers=[3]).resid
    projection = tiny.original_model.get_decoder().layers[1].mlp.down_proj
    projection = getattr(projection, "original_component", projection)
    shift = torch.zeros_like(projection.weight)
    shift[:9] = 0.1
    projection.weight = torch.nn.Parameter(projection.weight + shift)
    assert decoder.decoder_of(tiny) is None
    assert (read_prompts(tiny, group, layers=[3]).resid - before).abs().max() > 1e-2


def test_loaded_model_is_at_rest(tiny):
    assert not tiny.original_model.training
    assert not info(tiny).plain.training
    assert not any(parameter.requires_grad for parameter in tiny.parameters())


def test_tokenizer_is_kept_apart_from_the_bridges(folder):
    """Wrapping changes the bridge's tokenizer; the one for prompts stays as on disk."""
    model = el.load(folder)
    own, on_disk = info(model).tokenizer, AutoTokenizer.from_pretrained(folder)
    assert own is not model.tokenizer
    model.tokenizer.add_tokens(["unicorn"])
    model.tokenizer.padding_side = "left"
    assert len(own) == len(on_disk)
    assert own.padding_side == on_disk.padding_side
    for text in TEXTS:
        assert own(text)["input_ids"] == on_disk(text)["input_ids"]


def test_bridge_made_elsewhere_is_described_and_runs(folder):
    """As a TransformerLens user brings it, with no second tree of modules behind it."""
    ours = el.load(folder)
    made = build_bridge_from_module(
        load_plain(folder),
        "Qwen3ForCausalLM",
        hf_config=load_plain(folder).config,
        tokenizer=AutoTokenizer.from_pretrained(folder),
        model_name="mine",
    )
    about = info(made)
    assert (about.name, about.plain, about.n_layers, about.d_model) == ("mine", None, 4, 128)
    assert decoder.decoder_of(made) is None
    group = plain_prompts(ours, TEXTS)
    theirs = read_prompts(made, group, layers=range(4)).resid
    mine = read_prompts(ours, group, layers=range(4)).resid
    torch.testing.assert_close(theirs, mine, atol=1e-4, rtol=0)


def test_bridge_without_a_tokenizer_is_refused(folder):
    model = el.load(folder)
    del model.entangle_info
    model.tokenizer = None
    with pytest.raises(el.EntangleError, match="has no tokenizer"):
        info(model)


@pytest.mark.parametrize("given", ["gpt2", None, 7, torch.nn.Linear(1, 1)])
def test_what_is_no_model_is_refused(given):
    """A name, or a model of transformers, in place of what ``load`` returns."""
    with pytest.raises(el.EntangleError, match="a TransformerBridge was expected, as entangle_lens.load"):
        getattr(info, "__wrapped__", info)(given)


def test_bfloat16_checkpoint_is_read_in_the_dtype_asked_for(folder):
    tokens = torch.arange(1, 9)[None]
    exact, rounded = el.load(folder)(tokens), el.load(folder, dtype="bfloat16")(tokens)
    assert rounded.dtype == torch.bfloat16
    assert info(el.load(folder, dtype="bfloat16")).dtype == "bfloat16"
    assert 0 < (exact - rounded).abs().max() < 0.1
