"""Random models whose sliding windows are shorter than the prompts, where a family has them."""

import json
import shutil

import numpy as np
import pytest

import entangle_lens as el
from entangle_lens.models import load_plain
from entangle_lens.organisms.build import Shape, tiny_model, word_tokenizer
from entangle_lens.running import prefix, rating_prompts
from entangle_lens.stimuli import Question, Scale

MIXED = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
SLIDING = {
    "qwen2": {"use_sliding_window": True, "layer_types": MIXED},
    "qwen3": {"use_sliding_window": True, "layer_types": MIXED},
    "gemma2": {},
    "gemma3": {"layer_types": MIXED},
    "mistral": {},
}
TEXTS = [
    "i swept the yard .",
    "you carried the old lamp from the old market to the yard and the boats of the old yard .",
    "we swept .",
    "i carried a lamp to the market .",
    "you swept the market .",
    "you swept the market and the yard of the boats .",
    "i swept the yard and carried a lamp .",
]
ASKED = Question("moral", "1", "ascending", "rate this from {low} to {high} on a scale :", ":")


@pytest.fixture(autouse=True)
def every_shared_token_counts(monkeypatch):
    """Share beginnings in small groups too, several levels deep."""
    monkeypatch.setattr(prefix, "PASS_COST", 1)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def sliding_folder(tiny_folder, tmp_path_factory):
    """Give a folder with a random model of a family, its windows ``width`` tokens wide."""
    made = {}

    def folder(family, width=6):
        if (family, width) not in made:
            made[family, width] = path = tmp_path_factory.mktemp("sliding") / family
            shutil.copytree(tiny_folder(family), path)
            config = json.loads((path / "config.json").read_text())
            config |= {"sliding_window": width} | SLIDING[family]
            (path / "config.json").write_text(json.dumps(config))
        return made[family, width]

    return folder


@pytest.fixture
def sliding(family, sliding_folder):
    """A random model of each family with short windows, and the same checkpoint unwrapped."""
    folder = sliding_folder(family)
    return el.load(folder), load_plain(folder)


@pytest.fixture(scope="session")
def loaded_once(sliding_folder):
    made = {}

    def load(family):
        if family not in made:
            folder = sliding_folder(family)
            made[family] = el.load(folder), load_plain(folder)
        return made[family]

    return load


@pytest.fixture
def short(family, loaded_once):
    """As ``sliding``, loaded once for all tests: they leave it as it came."""
    return loaded_once(family)


@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    """A small model with embeddings of 400 tokens, for tokenizers other than its own."""
    folder = tmp_path_factory.mktemp("wide")
    tiny_model("qwen3", 400, 1, Shape(n_layers=1, n_ctx=512)).save_pretrained(folder)
    word_tokenizer(["i"]).save_pretrained(folder)
    return el.load(folder)


@pytest.fixture
def bare(wide, monkeypatch):
    """The same, its tokenizer to be replaced for one test."""
    monkeypatch.setattr(wide, "entangle_info", wide.entangle_info)
    return wide


@pytest.fixture
def ask():
    """Prompts that differ in length and share a beginning, on a scale."""

    def prompts(model, scale="1:9", texts=TEXTS):
        return rating_prompts(model, texts, ASKED, Scale.parse(scale))

    return prompts


@pytest.fixture
def random_vector():
    """Give a direction that nothing is special about."""
    import torch

    def vector(model, seed=0):
        return torch.randn(int(model.cfg.d_model), generator=torch.Generator().manual_seed(seed))

    return vector
