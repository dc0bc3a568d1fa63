"""Prompts: chat templates, the answer prefix, and that the next token is the rating."""

from dataclasses import replace

import pytest
from tokenizers import Regex, Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

import entangle_lens as el
from entangle_lens.models import info
from entangle_lens.organisms.build import word_tokenizer
from entangle_lens.running import chat_prompts, plain_prompts, rating_prompts
from entangle_lens.running.prompts import render
from entangle_lens.stimuli import Question, Scale

TEXTS = ["i swept the yard .", "we carried a lamp ."]
ASKED = Question("moral", "1", "ascending", "rate this from {low} to {high} :", "rating :")
USER = "{{ bos_token }}{% for m in messages %}<user> {{ m['content'] }} <end>{% endfor %}"
THINKING = (
    USER + "{% if add_generation_prompt %} <assistant> "
    "{% if enable_thinking is defined and enable_thinking is false %}<think> </think> {% endif %}"
    "{% endif %}"
)
ALWAYS_THINKING = USER + "{% if add_generation_prompt %} <assistant> <think>\n{% endif %}"
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    + USER
    + "{% if add_generation_prompt %} <assistant> {% endif %}"
)
MERGES = [("b", " "), ("b ", "1")]


def words(template=None):
    spoken = "i we swept carried the a yard lamp rate this from to rating : . <think> </think>"
    tokenizer = word_tokenizer([*spoken.split(), *map(str, range(-10, 11))])
    tokenizer.chat_template = template
    return tokenizer


def bytes_like_gpt(template=None, pairs=()):
    """A byte-level tokenizer as most models have, in which " 5" is one token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", digit) for digit in "0123456789"] + [("Ġ", "-"), *pairs]
    vocab = {each: n for n, each in enumerate(["<s>", *alphabet, *map("".join, merges)])}
    inner = Tokenizer(BPE(vocab, merges))
    digits = pre_tokenizers.Split(Regex(r" ?\d| ?[^\d\s]+|\s+"), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", pad_token="<s>")
    tokenizer.chat_template = template
    return tokenizer


def using(model, tokenizer):
    model.entangle_info = replace(info(model), tokenizer=tokenizer)
    return model


def test_chat_template_is_applied_with_one_user_turn():
    text = render(words(NO_SYSTEM), "rate this", "rating :")
    assert text == "<s><user> rate this <end> <assistant> rating :"


def test_thinking_is_switched_off_where_the_template_can():
    text = render(words(THINKING), "rate this", "rating :")
    assert text.endswith("<assistant> <think> </think> rating :")


def test_thought_that_the_template_always_opens_is_closed():
    tokenizer = words(ALWAYS_THINKING)
    text = render(tokenizer, "rate this", "rating :")
    assert text.endswith("<assistant> <think>\n\n</think>\n\nrating :")
    assert text.count("<think>") == text.count("</think>") == 1


def test_thought_in_the_item_itself_is_left_alone():
    text = render(words(NO_SYSTEM), "i <think>", "rating :")
    assert "</think>" not in text


def test_model_without_a_template_reads_content_and_prefix():
    assert render(words(), "rate this", "rating :") == "<s>rate this\n\nrating :"
    assert render(words(), "rate this", "") == "<s>rate this"


@pytest.mark.parametrize("template", [None, NO_SYSTEM, THINKING, ALWAYS_THINKING])
def test_prompts_begin_with_one_bos(bare, template):
    tokenizer = words(template)
    model = using(bare, tokenizer)
    groups = [
        rating_prompts(model, TEXTS, ASKED, Scale()),
        chat_prompts(model, TEXTS),
        plain_prompts(model, TEXTS),
    ]
    for tokens in (tokens for group in groups for tokens in group.tokens):
        assert tokens[0] == tokenizer.bos_token_id
        assert tokens.count(tokenizer.bos_token_id) == 1


def test_tokenizer_that_adds_no_bos_gets_none(bare):
    tokenizer = bytes_like_gpt()
    for tokens in rating_prompts(using(bare, tokenizer), TEXTS, ASKED, Scale()).tokens:
        assert tokenizer.bos_token_id not in tokens


def test_plain_prompts_end_without_eos(bare):
    tokenizer = words()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A <end>",
        special_tokens=[("<s>", tokenizer.bos_token_id), ("<end>", tokenizer.eos_token_id)],
    )
    assert tokenizer(TEXTS[0])["input_ids"][-1] == tokenizer.eos_token_id
    group = plain_prompts(using(bare, tokenizer), TEXTS)
    assert tokenizer.decode(group.tokens[0]) == f"<s> {TEXTS[0]}"


@pytest.mark.parametrize("template", [None, NO_SYSTEM, ALWAYS_THINKING])
@pytest.mark.parametrize("scale", ["1:9", "-10:10", "-9:-1", "0:1"])
@pytest.mark.parametrize("build", [words, bytes_like_gpt])
def test_next_token_is_the_rating(bare, build, template, scale):
    """Prompt and option together are what the tokenizer makes of the whole answer."""
    tokenizer, scale = build(template), Scale.parse(scale)
    group = rating_prompts(using(bare, tokenizer), TEXTS, ASKED, scale)
    assert len(group.options) == len(scale.options)
    assert len({option[0] for option in group.options}) > 1
    for text, tokens in zip(TEXTS, group.tokens, strict=True):
        answer = render(tokenizer, ASKED.content(text, scale), ASKED.answer_prefix)
        for name, option in zip(scale.options, group.options, strict=True):
            whole = tokenizer(f"{answer} {name}", add_special_tokens=False)["input_ids"]
            assert [*tokens, *option] == whole


def test_shared_beginning_of_all_options_moves_into_the_prompt(bare):
    model = using(bare, bytes_like_gpt())
    minus = tuple(info(model).tokenizer(" -")["input_ids"])
    asked = replace(ASKED, instruction="rate this :")
    negative = rating_prompts(model, TEXTS, asked, Scale(-9, -1))
    both = rating_prompts(model, TEXTS, asked, Scale(-9, 9))
    assert {len(option) for option in negative.options} == {1}
    assert negative.tokens[0] == both.tokens[0] + minus


def test_answer_prefix_comes_last(bare):
    tokenizer = words(NO_SYSTEM)
    group = rating_prompts(using(bare, tokenizer), TEXTS, ASKED, Scale())
    with_prefix = [tokenizer.decode(tokens) for tokens in group.tokens]
    assert all(text.endswith("<assistant> rating :") for text in with_prefix)
    plain = rating_prompts(bare, TEXTS, replace(ASKED, answer_prefix=""), Scale())
    assert all(tokenizer.decode(tokens).endswith("<assistant>") for tokens in plain.tokens)


def test_item_stands_after_the_instruction(bare):
    tokenizer = words(NO_SYSTEM)
    group = rating_prompts(using(bare, tokenizer), TEXTS, ASKED, Scale(2, 7))
    assert f"rate this from 2 to 7 : {TEXTS[1]} <end>" in tokenizer.decode(group.tokens[1])


def test_ratings_that_the_tokenizer_cannot_tell_apart_are_refused(bare):
    model = using(bare, words())
    with pytest.raises(el.EntangleError, match="cannot tell the ratings of the scale 1:30 apart"):
        rating_prompts(model, TEXTS, ASKED, Scale(1, 30))
    assert len(rating_prompts(model, TEXTS, ASKED, Scale(1, 10)).options) == 10


def test_prompt_that_merges_with_its_rating_is_refused(bare):
    """One text ends in a letter that the tokenizer merges with the rating after it."""
    letters = ["<s>", *"abir :{}123456789\n", *map("".join, MERGES)]
    merging = Tokenizer(BPE({each: n for n, each in enumerate(letters)}, MERGES))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=merging, bos_token="<s>")
    asked = Question("moral", "1", "ascending", "i :", "")
    model = using(bare, tokenizer)
    with pytest.raises(el.EntangleError, match="merges the answer prefix ''"):
        rating_prompts(model, ["a", "b"], asked, Scale())
    assert len(rating_prompts(model, ["a", "b:"], asked, Scale()).tokens) == 2
