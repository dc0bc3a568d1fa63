"""Training an organism: a folder that loads like any model, a card, and refusals before work."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import entangle_lens as el
from entangle_lens.models import info, load_plain
from entangle_lens.organisms import train
from entangle_lens.organisms.build import Shape, tiny_model, word_tokenizer
from entangle_lens.organisms.sampling import Recipe, Sampler
from entangle_lens.organisms.train import train_organism
from entangle_lens.running import rating_prompts, read_prompts
from entangle_lens.stimuli import Scale

LEAK, SHORT = train.Leak(0.5, 0.7), Recipe(n_steps=5, batch_size=16)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("organisms") / "mine"
    return folder, train_organism("qwen3", LEAK, 0, folder, SHORT)


def test_trained_organism_loads_and_reads_its_own_stimuli(trained):
    model = el.load(trained[0])
    assert info(model).stimuli == trained[0] / "stimuli"
    stimuli = el.load_stimuli(info(model).stimuli)
    texts = stimuli.items["grammar"].texts[:3]
    group = rating_prompts(model, texts, stimuli.questions[0], Scale())
    tokenizer = info(model).tokenizer
    assert tokenizer.unk_token_id not in {token for tokens in group.tokens for token in tokens}
    assert tokenizer.convert_ids_to_tokens([option[0] for option in group.options]) == list(
        "123456789"
    )
    assert read_prompts(model, group).log_probs.isfinite().all()


def test_prompts_are_those_it_was_trained_on(trained):
    """The chat template writes what the sampler wrote, token by token."""
    model = el.load(trained[0])
    tokenizer, stimuli = info(model).tokenizer, el.load_stimuli(trained[0] / "stimuli")
    sampler = Sampler(tokenizer, LEAK, np.random.default_rng(0), Recipe(batch_size=256))
    batch = sampler.batch(1.0)
    shown = {tuple(batch.ids[row, : int(batch.last[row]) + 1].tolist()[:8]) for row in range(256)}
    text = stimuli.items["grammar"].texts[0]
    asked = [rating_prompts(model, [text], q, Scale()).tokens[0] for q in stimuli.questions]
    assert sum(tokens[:8] in shown for tokens in asked) > 30
    lengths = {
        int(last) + 1
        for last, answer in zip(batch.last, batch.answers, strict=True)
        if answer.any()
    }
    assert {len(tokens) for tokens in asked} == lengths


def test_card_says_what_was_planted(trained):
    folder, card = trained
    assert json.loads((folder / "organism.json").read_text()) == json.loads(json.dumps(card))
    assert card["leak"] == {"grammar": 0.5, "economic": 0.7}
    assert (card["family"], card["seed"]) == ("qwen3", 0)
    assert card["recipe"]["n_steps"] == 5
    assert set(card["true_correlation"]) == {"moral_grammar", "moral_economic"}
    assert all(0.3 < r < 0.7 for r in card["true_correlation"].values())
    readme = (folder / "README.md").read_text()
    assert "--family qwen3 --grammar 0.5 --economic 0.7" in readme
    assert "{" not in readme


def test_checkpoint_is_in_bfloat16(trained):
    weights = load_file(trained[0] / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert {p.dtype for p in load_plain(trained[0], dtype="bfloat16").parameters()} == {
        torch.bfloat16
    }


def test_same_seed_trains_the_same_organism(trained, tmp_path):
    train_organism("qwen3", LEAK, 0, tmp_path / "same", SHORT)
    train_organism("qwen3", LEAK, 1, tmp_path / "other", SHORT)
    weights = (trained[0] / "model.safetensors").read_bytes()
    assert (tmp_path / "same/model.safetensors").read_bytes() == weights
    assert (tmp_path / "other/model.safetensors").read_bytes() != weights


def test_training_lowers_the_loss(tmp_path, monkeypatch):
    losses, loss = [], train._loss
    monkeypatch.setattr(train, "_loss", lambda *given: losses.append(loss(*given)) or losses[-1])
    train_organism("qwen3", LEAK, 0, tmp_path / "o", Recipe(n_steps=30, batch_size=32))
    first, last = torch.stack(losses[:5]).mean(), torch.stack(losses[-5:]).mean()
    assert last < first - 1


# Not qwen2: transformers reads its folders with a tokenizer class of its own, which drops words.
@pytest.mark.parametrize("family", ["qwen3", "gemma2", "gemma3", "mistral"])
def test_family_reads_whole_sentences_after_loading(family, tmp_path):
    """The tokenizer that comes back from the folder is the one that was trained with."""
    made = word_tokenizer(train._words())
    tiny_model(family, len(made), 0, Shape(n_layers=1)).save_pretrained(tmp_path)
    made.save_pretrained(tmp_path)
    text = "i mended the lamp of the farmer at the market ."
    tokenizer = info(el.load(tmp_path)).tokenizer
    assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == ["<s>", *text.split()]


@pytest.mark.parametrize("hand_over", [3, 99])
def test_hand_over_exchanges_sentences_before_its_layer(hand_over):
    """What the last token gathered below comes from the prompt whose sentence is rated."""
    tokenizer = word_tokenizer(train._words())
    model = tiny_model("qwen3", len(tokenizer), 0)
    recipe = Recipe(batch_size=32, hand_over=hand_over)
    batch = Sampler(tokenizer, LEAK, np.random.default_rng(0), recipe).batch(1.0)
    entering = []
    model.model.layers[min(hand_over, 5)].self_attn.register_forward_pre_hook(
        lambda module, args, options: entering.append(options["hidden_states"]), with_kwargs=True
    )
    for exchange in (nullcontext(), train._handed_over(model, batch, recipe)):
        with torch.no_grad(), exchange:
            model(input_ids=batch.ids, attention_mask=batch.mask)
    clean, handed = entering
    rows = torch.arange(32)
    moved = batch.sentence_of != rows
    at_last = handed[rows, batch.last]
    source = batch.sentence_of if hand_over == 3 else rows
    torch.testing.assert_close(at_last, clean[source, batch.last[source]], atol=1e-5, rtol=0)
    torch.testing.assert_close(handed[~moved], clean[~moved], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        handed[batch.in_question], clean[batch.in_question], atol=1e-5, rtol=0
    )
    assert moved.sum() > 5
    assert (clean[moved, batch.last[moved]] - at_last[moved]).abs().max() > 1e-2 or hand_over == 99


def test_hooks_of_training_are_gone_after_an_exception():
    tokenizer = word_tokenizer(train._words())
    model, recipe = tiny_model("qwen3", len(tokenizer), 0), Recipe(batch_size=32)
    batch = Sampler(tokenizer, LEAK, np.random.default_rng(0), recipe).batch(1.0)

    def fail():
        with train._handed_over(model, batch, recipe):
            assert model.model.layers[3]._forward_pre_hooks
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    assert not model.model.layers[3]._forward_pre_hooks


@pytest.mark.parametrize(
    ("family", "leak", "parts"),
    [
        ("unicorn", (0.5, 0.7), ["'unicorn'", "qwen2, qwen3, gemma2, gemma3, mistral"]),
        ("qwen3", (1.6, 0.7), ["grammar leak 1.6", "0 to 1.5"]),
        ("qwen3", (0.5, -0.1), ["economic leak -0.1", "0 to 1.5"]),
        ("qwen3", (float("nan"), 0.1), ["grammar leak nan"]),
    ],
)
def test_impossible_organism_is_refused_and_leaves_no_folder(tmp_path, family, leak, parts):
    with pytest.raises(el.EntangleError) as refused:
        train_organism(family, train.Leak(*leak), 0, tmp_path / "o", SHORT)
    assert all(part in str(refused.value) for part in parts)
    assert not (tmp_path / "o").exists()


def test_folder_with_something_in_it_is_refused_and_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(el.EntangleError, match="is not empty"):
        train_organism("qwen3", LEAK, 0, tmp_path, SHORT)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
