"""Tiny checkpoints of every family, a basis to remove, and what a plain model says of tokens."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from entangle_lens.export import RepairCard
from entangle_lens.models import load_plain

SIZE = {
    "vocab_size": 60,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 4,
}
OWN = {
    "llama": {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
}


@pytest.fixture(scope="session")
def size():
    return SIZE


@pytest.fixture(scope="session")
def shaken():
    """Give a model whose every weight, gain and bias is large enough to matter."""

    def shake(model):
        noise = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
        return model

    return shake


@pytest.fixture(scope="session")
def checkpoint(tiny_folder, shaken, tmp_path_factory):
    """Give the folder of a tiny checkpoint of a family, with a tokenizer."""
    made = {}

    def folder(family):
        if family not in OWN:
            return tiny_folder(family)
        if family not in made:
            config = AutoConfig.for_model(family, **SIZE, **OWN[family])
            path = tmp_path_factory.mktemp("tiny") / family
            shaken(AutoModelForCausalLM.from_config(config)).save_pretrained(path)
            for name in ("tokenizer.json", "tokenizer_config.json"):
                (path / name).write_bytes((tiny_folder("qwen3") / name).read_bytes())
            made[family] = path
        return made[family]

    return folder


@pytest.fixture(scope="session")
def basis_of():
    """Give two directions of a width, neither of length one nor at right angles."""

    def basis(d_model, seed=0, n=2):
        vectors = torch.randn(n, d_model, generator=torch.Generator().manual_seed(seed))
        return vectors * torch.tensor([3.0, 0.2])[:n, None]

    return basis


@pytest.fixture(scope="session")
def plain_of(checkpoint):
    """Give a family's plain model in float32."""
    return lambda family: load_plain(checkpoint(family), dtype="float32").eval()


@pytest.fixture(scope="session")
def card():
    return RepairCard(
        "our-lab/tiny", "abc", "moral", "economic", 2, "difference of means", 0.97, {"KL": 0.01}
    )


@pytest.fixture(scope="session")
def ids():
    return torch.randint(5, 30, (3, 20), generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="session")
def says(ids):
    """Give the logits of a plain model."""

    def logits(model):
        with torch.inference_mode():
            return model(input_ids=ids).logits.float()

    return logits
