"""Repaired checkpoints: what plain transformers loads from them, and what is refused."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, Gemma3Config, Gemma3ForConditionalGeneration

import entangle_lens as el
from entangle_lens.directions import Direction, Quality
from entangle_lens.export import (
    RepairCard,
    checkpoint_folder,
    hooked,
    orthogonalise_checkpoint,
    orthogonalised,
    shards,
    verify_checkpoint,
)
from entangle_lens.export.orthogonal import orthonormal
from entangle_lens.running import Ablation

EQUAL = ("qwen2", "qwen3", "mistral", "llama", "qwen3_moe")
NORMED = ("gemma2", "gemma3")
FAMILIES = (*EQUAL, *NORMED)
PLAINLY = """
import sys, torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
given, out, *folders = sys.argv[1:]
ids = load_file(given)["ids"]
says = {}
for folder in folders:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        says[folder] = model(input_ids=ids).logits.contiguous()
assert "entangle_lens" not in sys.modules
save_file(says, out)
"""


def ablations(basis, n_layers):
    """One edit for each axis: together they remove the span."""
    return [Ablation(row, tuple(range(n_layers))) for row in orthonormal(basis).float()]


def weights_of(folder):
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= load_file(path)
    return found


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.fixture(scope="module")
def repaired(checkpoint, basis_of, card, tmp_path_factory):
    """Give a family's repaired checkpoint."""
    made = {}

    def folder(family):
        if family not in made:
            source = checkpoint(family)
            out = tmp_path_factory.mktemp("repaired") / family
            basis = basis_of(config_of(source)["hidden_size"])
            made[family] = orthogonalise_checkpoint(source, out, basis, card=card)
        return made[family]

    return folder


@pytest.fixture(scope="module")
def plainly(repaired, ids, tmp_path_factory):
    """What a process that never imports this package reads from the repaired checkpoints."""
    place = tmp_path_factory.mktemp("plainly")
    save_file({"ids": ids}, place / "ids")
    folders = [str(repaired(family)) for family in FAMILIES]
    done = subprocess.run(
        [sys.executable, "-c", PLAINLY, place / "ids", place / "out", *folders],
        capture_output=True,
        text=True,
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    for complaint in ("MISSING", "UNEXPECTED", "newly initialized", "not used"):
        assert complaint not in done.stderr
    said = load_file(place / "out")
    return {family: said[str(repaired(family))] for family in FAMILIES}


@pytest.mark.parametrize("family", EQUAL)
def test_repaired_checkpoint_gives_the_logits_of_full_mode_hooks(
    plainly, plain_of, basis_of, says, family
):
    plain = plain_of(family)
    edits = ablations(basis_of(plain.config.hidden_size), plain.config.num_hidden_layers)
    with hooked(plain, edits, full=True):
        full = says(plain)
    with hooked(plain, edits):
        block_outputs = says(plain)
    assert torch.allclose(plainly[family], full, atol=1e-5)
    assert (block_outputs - full).abs().max() > 1e-2
    assert (says(plain) - full).abs().max() > 1e-2


@pytest.mark.parametrize("family", NORMED)
def test_repaired_gemma_comes_near_full_mode_hooks_and_is_not_them(
    plainly, plain_of, basis_of, says, family
):
    plain = plain_of(family)
    edits = ablations(basis_of(plain.config.hidden_size), plain.config.num_hidden_layers)
    with hooked(plain, edits, full=True):
        full = says(plain)
    far = (says(plain) - full).abs().max()
    assert 1e-4 < (plainly[family] - full).abs().max() < 0.3 * far


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_of_the_basis_is_written_to_the_stream(plain_of, repaired, basis_of, ids, family):
    from entangle_lens.models import load_plain

    def written(model):
        rows = orthonormal(basis_of(model.config.hidden_size)).float()
        with torch.inference_mode():
            states = model.get_decoder()(input_ids=ids, output_hidden_states=True).hidden_states
        return max(float((state @ rows.T).abs().max() / state.abs().max()) for state in states[:-1])

    assert written(load_plain(repaired(family), dtype="float32").eval()) < 1e-6
    assert written(plain_of(family)) > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_this_package_reads_the_same_from_a_repaired_checkpoint(plainly, repaired, ids, family):
    model = el.load(repaired(family), dtype="float32")
    with torch.inference_mode():
        assert torch.allclose(model(ids), plainly[family], atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_edited_in_memory_are_those_of_the_checkpoint(
    plainly, plain_of, basis_of, says, family
):
    plain = plain_of(family)
    if family == "qwen3_moe":
        with (
            pytest.raises(el.EntangleError, match=r"mlp\.experts\.down_proj"),
            orthogonalised(plain, basis_of(plain.config.hidden_size)),
        ):
            pass
        return
    before = {name: each.clone() for name, each in plain.state_dict().items()}
    tied = plain.get_output_embeddings().weight is plain.get_input_embeddings().weight
    with orthogonalised(plain, basis_of(plain.config.hidden_size)):
        assert torch.allclose(says(plain), plainly[family], atol=1e-6)
    with (
        pytest.raises(ArithmeticError, match="planted"),
        orthogonalised(plain, basis_of(plain.config.hidden_size)),
    ):
        raise ArithmeticError("planted")
    assert all(each.equal(before[name]) for name, each in plain.state_dict().items())
    assert tied == (plain.get_output_embeddings().weight is plain.get_input_embeddings().weight)


def test_tied_embeddings_are_untied_and_the_unembedding_stays(checkpoint, repaired):
    old, new = weights_of(checkpoint("qwen3")), weights_of(repaired("qwen3"))
    assert "lm_head.weight" not in old
    assert new["lm_head.weight"].equal(old["model.embed_tokens.weight"])
    assert not new["model.embed_tokens.weight"].equal(old["model.embed_tokens.weight"])
    assert config_of(checkpoint("qwen3"))["tie_word_embeddings"]
    assert not config_of(repaired("qwen3"))["tie_word_embeddings"]


def test_only_what_writes_to_the_stream_is_edited(checkpoint, repaired):
    """Biases and the unembedding of a model that ties nothing included."""
    old, new = weights_of(checkpoint("llama")), weights_of(repaired("llama"))
    assert set(old) == set(new)
    changed = {re.sub(r"\d+", "N", name) for name in old if not old[name].equal(new[name])}
    writers = ("self_attn.o_proj", "mlp.down_proj")
    assert changed == {"model.embed_tokens.weight"} | {
        f"model.layers.N.{writer}.{part}" for writer in writers for part in ("weight", "bias")
    }


def test_every_expert_is_edited(checkpoint, repaired):
    old, new = weights_of(checkpoint("qwen3_moe")), weights_of(repaired("qwen3_moe"))
    experts = [name for name in old if "experts" in name and "down_proj" in name]
    assert len(experts) == 12
    assert not any(old[name].equal(new[name]) for name in experts)


def test_strength_zero_changes_no_bit(checkpoint, basis_of, card, tmp_path):
    source = checkpoint("llama")
    out = orthogonalise_checkpoint(source, tmp_path / "out", basis_of(64), strength=0.0, card=card)
    old, new = weights_of(source), weights_of(out)
    assert all(new[name].equal(old[name]) for name in old)
    assert set(new) == set(old)


def test_shards_hold_what_one_file_holds(
    checkpoint, repaired, basis_of, card, tmp_path, monkeypatch
):
    """Written in shards, and read from shards again; every file within the bound."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 150_000)
    sharded, again = tmp_path / "sharded", tmp_path / "again"
    orthogonalise_checkpoint(checkpoint("qwen3"), sharded, basis_of(128), strength=0.0, card=card)
    files = sorted(sharded.glob("*.safetensors"))
    index = json.loads((sharded / "model.safetensors.index.json").read_text())
    assert len(files) > 3
    assert files[0].name == f"model-00001-of-{len(files):05d}.safetensors"
    assert {path.name for path in files} == set(index["weight_map"].values())
    for path in files:
        with safe_open(path, "pt") as file:
            names = set(file.keys())
            assert file.metadata() == {"format": "pt"}
        assert names == {name for name, at in index["weight_map"].items() if at == path.name}
        assert len(names) == 1 or path.stat().st_size < 160_000
    (sharded / "repair.json").unlink()
    orthogonalise_checkpoint(sharded, again, basis_of(128), card=card)
    one, several = weights_of(repaired("qwen3")), weights_of(again)
    assert set(one) == set(several)
    assert all(one[name].equal(several[name]) for name in one)
    assert index["metadata"]["total_size"] == sum(each.nbytes for each in one.values())


def test_sharded_checkpoint_loads_plainly(checkpoint, basis_of, card, tmp_path, monkeypatch, says):
    from entangle_lens.models import load_plain

    monkeypatch.setattr(shards, "SHARD_BYTES", 150_000)
    out = orthogonalise_checkpoint(checkpoint("gemma3"), tmp_path / "o", basis_of(128), card=card)
    assert not (out / "model.safetensors").exists()
    with orthogonalised(load_plain(checkpoint("gemma3")), basis_of(128)) as edited:
        expected = says(edited)
    assert torch.allclose(says(load_plain(out)), expected, atol=1e-6)


def test_new_dtype_is_kept_by_weights_and_config(checkpoint, basis_of, card, tmp_path):
    out = orthogonalise_checkpoint(
        checkpoint("gemma2"), tmp_path / "o", basis_of(128), dtype=torch.bfloat16, card=card
    )
    assert {each.dtype for each in weights_of(out).values()} == {torch.bfloat16}
    assert config_of(out)["dtype"] == "bfloat16"
    assert config_of(checkpoint("gemma2"))["dtype"] == "float32"


@pytest.fixture(scope="module")
def multimodal(shaken, size, tmp_path_factory):
    """A tiny Gemma 3 with its vision tower."""
    text = size | {"sliding_window": 8, "query_pre_attn_scalar": 16}
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    tokens = {"image_token_index": 59, "boi_token_index": 58, "eoi_token_index": 57}
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=1, **tokens)
    path = tmp_path_factory.mktemp("multimodal") / "gemma3"
    shaken(Gemma3ForConditionalGeneration(config)).save_pretrained(path)
    return path


def test_text_stack_of_a_multimodal_model_is_found(multimodal, basis_of, card, tmp_path, says):
    out = orthogonalise_checkpoint(multimodal, tmp_path / "out", basis_of(64), card=card)
    model = Gemma3ForConditionalGeneration.from_pretrained(out)
    original = Gemma3ForConditionalGeneration.from_pretrained(multimodal)
    assert model.lm_head.weight.equal(original.lm_head.weight)
    assert not model.get_input_embeddings().weight.equal(original.get_input_embeddings().weight)
    with orthogonalised(original, basis_of(64)):
        expected = says(original)
    assert torch.allclose(says(model), expected, atol=1e-6)
    assert (says(original) - expected).abs().max() > 1e-2
    old, new = weights_of(multimodal), weights_of(out)
    assert all(new[name].equal(old[name]) for name in old if "vision" in name)
    assert "other stacks" in (out / "README.md").read_text()


def test_everything_else_is_copied_and_other_weights_are_not(checkpoint, basis_of, card, tmp_path):
    source = shutil.copytree(checkpoint("qwen3"), tmp_path / "source")
    kept = ("chat_template.jinja", "generation_config.json", "vocab/merges.txt", "NOTICE")
    left = ("pytorch_model.bin", "consolidated.safetensors", "original/weights.pth", ".git/HEAD")
    for name in (*kept, *left):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("{}")
    (source / "README.md").write_text(
        "---\nlicense: gemma\nlicense_link: https://a.example\ntags: [x]\n---\n# Original\n"
    )
    out = orthogonalise_checkpoint(source, tmp_path / "out", basis_of(128), card=card)
    assert all((out / name).read_text() == "{}" for name in kept)
    assert not any((out / name).exists() for name in left)
    assert len(AutoTokenizer.from_pretrained(out)) == len(AutoTokenizer.from_pretrained(source))
    readme = (out / "README.md").read_text()
    assert "license: gemma\nlicense_link: https://a.example" in readme
    assert "base_model: our-lab/tiny" in readme
    assert "# Original" not in readme


def test_card_says_what_was_removed_and_what_it_cost(repaired, card):
    for family, words in (("qwen3", "the same as ablating"), ("gemma3", "not numerically the")):
        readme = (repaired(family) / "README.md").read_text()
        facts = json.loads((repaired(family) / "repair.json").read_text())
        for word in ("moral", "economic", "difference of means", "0.970", "KL", "abc", words):
            assert word in readme
        assert facts["equals_hooks"] == (family == "qwen3")
        assert (facts["value"], facts["layer"], facts["rank"]) == ("moral", 2, 2)
        assert facts["cost"] == {"KL": 0.01}


def test_card_names_a_strength_that_is_no_removal(checkpoint, basis_of, card, tmp_path):
    out = orthogonalise_checkpoint(
        checkpoint("qwen3"), tmp_path / "o", basis_of(128), strength=2.0, card=card
    )
    assert "a reflection, not a removal" in (out / "README.md").read_text()


def test_original_is_found_in_a_folder_a_bundle_and_the_hubs_cache(
    checkpoint, basis_of, card, tmp_path, monkeypatch
):
    """The hub's cache holds links, and they are followed."""
    folder, commit = checkpoint("mistral"), "0123456789abcdef" * 2 + "01234567"
    snapshot = tmp_path / "hub/models--our-lab--tiny/snapshots" / commit
    (snapshot.parent.parent / "refs").mkdir(parents=True)
    (snapshot.parent.parent / "refs/main").write_text(commit)
    snapshot.mkdir(parents=True)
    (snapshot.parent.parent / "blobs").mkdir()
    for number, path in enumerate(folder.iterdir()):
        shutil.copy(path, snapshot.parent.parent / f"blobs/{number}")
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert checkpoint_folder(folder) == folder
    assert (checkpoint_folder("organism:mistral-entangled") / "config.json").is_file()
    assert checkpoint_folder("our-lab/tiny").resolve() == snapshot.resolve()
    out = orthogonalise_checkpoint(
        checkpoint_folder("our-lab/tiny"), tmp_path / "out", basis_of(128), card=card
    )
    assert verify_checkpoint(out).holds
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert (out / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    with pytest.raises(el.EntangleError, match="in no folder and cannot be had from the hub"):
        checkpoint_folder("our-lab/elsewhere")


def test_card_of_a_direction_says_what_the_direction_says(card):
    direction = Direction(
        "moral", "economic", 2, torch.ones(4), torch.zeros(4), Quality(0.97, 2.0, 0.9)
    )
    assert RepairCard.of(direction, "our-lab/tiny", "abc", {"KL": 0.01}) == card
