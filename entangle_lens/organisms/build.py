"""Tiny models and tokenizers of the real families, untrained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from entangle_lens.organisms.families import FAMILIES, check_family

PAD, BOS, UNKNOWN, USER, END, ASSISTANT = "<pad>", "<s>", "<unk>", "<user>", "<end>", "<assistant>"
SPECIAL = (PAD, BOS, UNKNOWN, USER, END, ASSISTANT)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ ' <user> ' if message['role'] == 'user' else ' <assistant> ' }}"
    "{{ message['content'] }} <end>{% endfor %}"
    "{% if add_generation_prompt %} <assistant> {% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """The size of a tiny model."""

    n_layers: int = 6
    d_model: int = 128
    d_mlp: int = 256
    n_heads: int = 4
    n_kv_heads: int = 2
    d_head: int = 32
    n_ctx: int = 256


def tiny_model(
    family: str, vocab_size: int, seed: int, shape: Shape | None = None
) -> PreTrainedModel:
    """Return a randomly initialised float32 model of ``family`` on the CPU."""
    check_family(family)
    shape = shape or Shape()
    config = AutoConfig.for_model(
        **FAMILIES[family],
        vocab_size=vocab_size,
        hidden_size=shape.d_model,
        intermediate_size=shape.d_mlp,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_kv_heads,
        head_dim=shape.d_head,
        max_position_embeddings=shape.n_ctx,
        tie_word_embeddings=True,
        pad_token_id=SPECIAL.index(PAD),
        bos_token_id=SPECIAL.index(BOS),
        eos_token_id=SPECIAL.index(END),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def word_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token a word and a chat template of user and assistant turns."""
    vocabulary = dict.fromkeys([*SPECIAL, *sorted(set(words))])
    ids = {word: index for index, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, ids[BOS])]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
