"""What the benchmarks run: a random model in a folder, and prompts of given lengths.

Weights are random since speed does not depend on them; the tokenizer has one word a token, so that
contenders that take text and contenders that take token ids run the very same prompts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM


@dataclass(frozen=True)
class Shape:
    """A Qwen3 shape."""

    n_layers: int
    d_model: int
    d_mlp: int
    n_heads: int
    n_kv_heads: int
    vocab: int
    tied: bool = True


SHAPES = {
    "32k": Shape(10, 640, 1920, 10, 5, 32_000),
    "152k": Shape(8, 512, 1536, 8, 4, 151_936),
    "8b": Shape(36, 4096, 12_288, 32, 8, 151_936, tied=False),
    "tiny": Shape(3, 64, 128, 4, 2, 500),
}


def write_model(folder: Path, shape: Shape, dtype: torch.dtype, seed: int = 0) -> None:
    """Write a random model with its tokenizer, unless it stands there already."""
    if (folder / "tokenizer_config.json").exists():
        return
    config = Qwen3Config(
        vocab_size=shape.vocab,
        hidden_size=shape.d_model,
        intermediate_size=shape.d_mlp,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_kv_heads,
        head_dim=shape.d_model // shape.n_heads,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=4096,
    )
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        model = Qwen3ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    # Special tokens are found inside words too: none may be how a word begins.
    words = {"<pad>": 0, "<eos>": 1} | {f"w{number}": number for number in range(2, shape.vocab)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<pad>", pad_token="<pad>", eos_token="<eos>"
    ).save_pretrained(folder)
    about = folder / "tokenizer_config.json"
    # The one class name that the transformers of every peer knows.
    known = json.loads(about.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    about.write_text(json.dumps(known))


def mixed_prompts(
    n_prompts: int, vocab: int, *, shared: int = 0, shortest: int = 8, longest: int = 96
) -> list[list[int]]:
    """Return prompts of lengths spread evenly, after ``shared`` tokens that all begin with."""
    rng = np.random.default_rng(0)
    lengths = np.linspace(shortest, longest, n_prompts).round().astype(int)
    beginning = rng.integers(2, vocab, shared).tolist()
    rng.shuffle(lengths)
    return [beginning + rng.integers(2, vocab, length).tolist() for length in lengths]


def rating_like_prompts(n_prompts: int, vocab: int) -> list[list[int]]:
    """Return prompts of 40 shared tokens, 16 of an item each, and 12 shared after it."""
    rng = np.random.default_rng(0)
    before, after = rng.integers(2, vocab, 40).tolist(), rng.integers(2, vocab, 12).tolist()
    return [before + rng.integers(2, vocab, 16).tolist() + after for _ in range(n_prompts)]


def write_job(folder: Path, job: dict[str, Any], directions: np.ndarray | None = None) -> None:
    """Write the job that every contender of a race is given."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(json.dumps(job))
    if directions is not None:
        np.save(folder / "directions.npy", directions)


def random_directions(n_directions: int, d_model: int) -> np.ndarray:
    """Return random unit vectors."""
    drawn = np.random.default_rng(1).standard_normal((n_directions, d_model))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
