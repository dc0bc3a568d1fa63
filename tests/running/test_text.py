"""Probabilities of plain text and token embeddings, against the obvious computation."""

from dataclasses import replace

import pytest
import torch

import entangle_lens as el
from entangle_lens.interventions import ablation
from entangle_lens.models import info, load_plain
from entangle_lens.running import (
    batches,
    chat_prompts,
    next_token_log_probs,
    plain_prompts,
    sequence_log_probs,
    text,
    token_embeddings,
)

TEXTS = [
    "i swept the yard .",
    "you carried the old lamp from the old market to the yard and the boats of the old yard .",
    "we swept",
    "i carried a lamp to the market .",
]


def close(one, other, tolerance=1e-4):
    torch.testing.assert_close(one, other, atol=tolerance, rtol=0)


def obvious(plain, group, edit=None):
    """One text at a time: the log-probabilities after it, and the sum over its own tokens."""
    handles = [
        plain.get_decoder()
        .layers[layer]
        .register_forward_hook(
            lambda module, args, out: (
                (edit.edit(out[0]), *out[1:]) if isinstance(out, tuple) else edit.edit(out)
            )
        )
        for layer in (edit.layers if edit else ())
    ]
    after, sums = [], []
    for tokens in group.tokens:
        ids = torch.tensor([tokens])
        with torch.no_grad():
            log_probs = plain(ids).logits.log_softmax(-1)[0]
        after.append(log_probs[-1])
        sums.append(log_probs[:-1].gather(1, ids[0, 1:, None]).double().sum())
    for handle in handles:
        handle.remove()
    return torch.stack(after), torch.stack(sums)


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("through_bridge", [False, True])
def test_texts_have_the_probabilities_that_transformers_gives(
    tiny, family, tiny_folder, random_vector, edited, through_bridge
):
    group = plain_prompts(tiny, TEXTS)
    edit = ablation(tiny, random_vector(tiny), layers=(1, 2)) if edited else None
    if through_bridge:
        tiny.entangle_info = replace(info(tiny), plain=None)
    edits = [edit] if edit else []
    after, sums = obvious(load_plain(tiny_folder(family)), group, edit)
    close(next_token_log_probs(tiny, group, edits=edits), after)
    close(sequence_log_probs(tiny, group, edits=edits), sums)


@pytest.mark.parametrize("read", [next_token_log_probs, sequence_log_probs])
def test_ablation_changes_the_probabilities_of_text(tiny, random_vector, read):
    """By edits and by the context manager alike, and not without either."""
    group, direction = chat_prompts(tiny, TEXTS), random_vector(tiny)
    clean = read(tiny, group)
    edited = read(tiny, group, edits=[ablation(tiny, direction, layers=1)])
    with el.ablate(tiny, direction, layers=1):
        hooked = read(tiny, group)
    close(hooked, edited)
    assert (edited - clean).abs().max() > 1e-2
    assert read(tiny, group).equal(clean)


def test_next_token_probabilities_sum_to_one(tiny):
    log_probs = next_token_log_probs(tiny, chat_prompts(tiny, TEXTS))
    assert log_probs.shape == (len(TEXTS), len(info(tiny).tokenizer))
    close(log_probs.exp().sum(1), torch.ones(len(TEXTS)))


def test_text_probabilities_do_not_depend_on_the_batch(tiny, monkeypatch):
    group = plain_prompts(tiny, TEXTS)
    together = sequence_log_probs(tiny, group)
    monkeypatch.setattr(batches, "LOGITS_AT_ONCE", 1)
    close(sequence_log_probs(tiny, group), together)


def test_padding_is_not_counted_as_text(tiny, monkeypatch):
    """The control: with a mask of ones a shorter text's sum takes in its padding."""
    group = plain_prompts(tiny, TEXTS)
    right = sequence_log_probs(tiny, group)
    padded = text.padded

    def unmasked(tokens, **options):
        ids, mask = padded(tokens, **options)
        return ids, torch.ones_like(mask)

    monkeypatch.setattr(text, "padded", unmasked)
    wrong = sequence_log_probs(tiny, group)
    assert (wrong - right)[[0, 2, 3]].abs().min() > 1e-2
    assert wrong[1] == pytest.approx(float(right[1]))


def test_one_token_has_nothing_to_predict(tiny):
    group = plain_prompts(tiny, TEXTS)
    single = replace(group, tokens=(group.tokens[0][:1],))
    assert sequence_log_probs(tiny, single).tolist() == [0.0]


# The tokenizer class that transformers puts in place for qwen2 drops words from a list of words.
@pytest.mark.parametrize("family", ["qwen3", "gemma2", "gemma3", "mistral"])
def test_token_embeddings_are_means_of_the_rows_of_the_table(tiny, family, tiny_folder):
    tokenizer = info(tiny).tokenizer
    table = load_plain(tiny_folder(family)).get_input_embeddings().weight.double()
    found = token_embeddings(tiny, TEXTS)
    for row, each in enumerate(TEXTS):
        ids = tokenizer(each, add_special_tokens=False)["input_ids"]
        close(found[row], table[ids].mean(0), 1e-12)
        with_bos = table[tokenizer(each)["input_ids"]].mean(0)
        assert (found[row] - with_bos).abs().max() > 1e-3
    assert found.dtype == torch.float64
