"""Which models are loaded: decoders that predict the next token, each with its own attention."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import entangle_lens as el
from entangle_lens.models import info, load_plain
from entangle_lens.organisms.build import word_tokenizer

SMALL = {"vocab_size": 20, "hidden_size": 32, "num_hidden_layers": 2}
GPT_OSS = SMALL | {
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_local_experts": 2,
    "num_experts_per_tok": 1,
}
OWN_ATTENTION = {
    "gpt_oss": GPT_OSS,
    "mamba": SMALL | {"state_size": 4},
    "mamba2": SMALL | {"state_size": 4, "num_heads": 4, "head_dim": 16, "n_groups": 1},
}
ENCODER = "an encoder that fills in masked tokens"
OTHER_HEAD = "a model whose head predicts something else than the next token"
NO_HEAD = "a model without a head that predicts tokens"
REFUSED = [
    ("bert", "BertForMaskedLM", ENCODER),
    ("bert", "BertLMHeadModel", ENCODER),
    ("roberta", "RobertaForMaskedLM", ENCODER),
    ("t5", "T5ForConditionalGeneration", "an encoder-decoder"),
    ("bart", "BartForConditionalGeneration", "an encoder-decoder"),
    ("bert", "BertForSequenceClassification", OTHER_HEAD),
    ("qwen2", "Qwen2ForSequenceClassification", OTHER_HEAD),
    ("llama", "LlamaForTokenClassification", OTHER_HEAD),
    ("qwen2", "Qwen2Model", NO_HEAD),
    ("gpt2", "GPT2Model", NO_HEAD),
]


def folder_of(path, model_type, architectures):
    (path / "config.json").write_text(
        json.dumps({"model_type": model_type, "architectures": architectures})
    )
    return path


@pytest.mark.parametrize("load", [el.load, load_plain])
@pytest.mark.parametrize(("model_type", "architecture", "kind"), REFUSED)
def test_model_that_predicts_no_next_token_is_refused_by_its_configuration(
    tmp_path, load, model_type, architecture, kind
):
    """The folder holds nothing else, so nothing else was read."""
    with pytest.raises(el.EntangleError) as refused:
        load(folder_of(tmp_path, model_type, [architecture]))
    assert f"is a {architecture}, {kind};" in str(refused.value)
    assert "decoder that predicts the next token was expected" in str(refused.value)


@pytest.mark.parametrize("model_type", ["bert", "t5"])
def test_encoder_that_names_no_class_is_refused(tmp_path, model_type):
    with pytest.raises(el.EntangleError, match=r"is a \w+, an encoder"):
        el.load(folder_of(tmp_path, model_type, None))


@pytest.mark.parametrize(
    "architectures", [None, [], ["Qwen3ForCausalLM"], ["MyQwenForCausalLM"], ["QWenLMHeadModel"]]
)
def test_decoder_is_loaded_whatever_its_class_is_called(tiny_folder, tmp_path, architectures):
    for file in tiny_folder("qwen3").iterdir():
        (tmp_path / file.name).symlink_to(file)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": architectures}))
    assert info(el.load(tmp_path)).architecture == "Qwen3ForCausalLM"


@pytest.mark.parametrize("model_type", OWN_ATTENTION)
def test_no_attention_is_forced_on_a_model_that_refuses_it(tmp_path, model_type):
    config = AutoConfig.for_model(model_type, **OWN_ATTENTION[model_type])
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    word_tokenizer(["i", "swept"]).save_pretrained(tmp_path)
    model, tokens = el.load(tmp_path), torch.arange(1, 9)[None]
    plain = load_plain(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), plain(tokens).logits, atol=1e-4, rtol=0)


def test_loaded_model_attends_as_transformers_chose(tiny):
    """Wrapping puts slow attention in its place, and only Gemma 2 needs that."""
    expected = "eager" if "Gemma2" in info(tiny).architecture else "sdpa"
    assert tiny.original_model.config._attn_implementation == expected
    assert info(tiny).plain.config._attn_implementation == expected
