"""At which tokens activations are read: the rules, and means made of stretches of a prompt."""

from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from entangle_lens.errors import EntangleError
from entangle_lens.models import info
from entangle_lens.organisms.build import CHAT_TEMPLATE
from entangle_lens.running import PromptGroup, rating_prompts
from entangle_lens.running.positions import mean_over, read_spans
from entangle_lens.stimuli import Question, Scale

GROUP = PromptGroup(((5, 6, 7, 8), (5, 6, 7, 8, 9, 9), (5,)), (), ((1, 3), (2, 6), (0, 1)))
ITEMS = [
    "i swept the yard .",
    "  you carried the old lamp to the market .  ",
    "rate this .",
    "yard",
    "nine boats, naïve ☃ café",
]
ASKED = [
    Question("moral", "1", "ascending", "rate this from {low} to {high} on a scale :", ":"),
    Question("moral", "1", "ascending", "the yard . the yard {low} {high} yard", "Rating:"),
]


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ("last", [(3, 4), (5, 6), (0, 1)]),
        ("item_last", [(2, 3), (5, 6), (0, 1)]),
        ("item_mean", [(1, 3), (2, 6), (0, 1)]),
        ("all", [(0, 4), (0, 6), (0, 1)]),
    ],
)
def test_rule_names_its_tokens(position, expected):
    assert read_spans(GROUP, position) == expected


def test_unknown_rule_is_refused_with_the_choices():
    with pytest.raises(EntangleError, match="'mean' is unknown; the choices are last, item_last"):
        read_spans(GROUP, "mean")


@pytest.mark.parametrize("position", ["item_last", "item_mean"])
def test_item_whose_place_is_not_known_is_refused(position):
    with pytest.raises(EntangleError, match=f"'{position}' needs to know where the item stands"):
        read_spans(replace(GROUP, spans=()), position)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "spans", [[(0, 9), (3, 5), (8, 9), (2, 7)], [(4, 5)] * 2 + [(0, 1), (8, 9)], [(3, 6)] * 4]
)
def test_stretches_of_a_prompt_add_up_to_its_mean(rng, spans, dtype):
    activation = torch.from_numpy(rng.standard_normal((4, 9, 3))).to(dtype)
    wide = activation.float()
    right = torch.stack([wide[row, a:b].mean(0) for row, (a, b) in enumerate(spans)])
    whole = mean_over(activation, spans, 0)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(whole, right, atol=1e-6, rtol=0)
    for cut in range(1, 9):
        before = mean_over(activation[:, :cut], spans, 0)
        after = mean_over(activation[:, cut:], spans, cut)
        torch.testing.assert_close(before + after, right, atol=1e-6, rtol=0)
        touched = torch.tensor([first < cut for first, _ in spans])
        assert ((before != 0).any(1) == touched).all()
        torch.testing.assert_close(after[~touched], right[~touched], atol=1e-6, rtol=0)


def subwords(template):
    """A byte-level tokenizer with merges learnt from a text, as most models have."""
    inner = Tokenizer(BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<s>", "<user>", "<end>", "<assistant>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=special, initial_alphabet=alphabet)
    inner.train_from_iterator(["i swept the yard the market the old lamp"] * 9, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", pad_token="<s>")
    tokenizer.chat_template = template
    return tokenizer


def bytes_said(tokenizer, ids):
    """The bytes that each token stands for, told without the tokenizer's own offsets."""
    alphabet = bytes_to_letters()
    letters = {letter: byte for byte, letter in alphabet.items()}
    said = []
    for token in tokenizer.convert_ids_to_tokens(list(ids)):
        known = all(letter in letters for letter in token) and not token.startswith("<")
        said.append(bytes(letters[each] for each in token) if known else token.encode())
    return said


def bytes_to_letters():
    """The letters by which byte-level tokenizers write bytes (those of GPT-2)."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    unseen = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {
        byte: chr(256 + number) for number, byte in enumerate(unseen)
    }


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, None])
@pytest.mark.parametrize("question", ASKED)
def test_item_is_found_through_subwords_and_template(bare, template, question):
    """The tokens of its span say the item and next to nothing else; one less does not say it."""
    tokenizer = subwords(template)
    bare.entangle_info = replace(info(bare), tokenizer=tokenizer)
    group = rating_prompts(bare, ITEMS, question, Scale.parse("1:5"))
    assert len(group.spans) == len(ITEMS)
    for tokens, (first, end), text in zip(group.tokens, group.spans, ITEMS, strict=True):
        said, item = bytes_said(tokenizer, tokens), text.strip().encode()
        assert b"".join(said[first:end]).strip() == item
        assert b"".join(said[first + 1 : end]).strip() != item
        assert b"".join(said[first : end - 1]).strip() != item
        assert item not in b"".join(said[end:])
        assert len(said[first:end]) > len(text.split()) - 1
    assert any(b"".join(bytes_said(tokenizer, ids)).count(b"yard") > 2 for ids in group.tokens) == (
        question is ASKED[1]
    )
