"""Verification: it holds for what was repaired, and notices what was not."""

import dataclasses
import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from entangle_lens.errors import EntangleError
from entangle_lens.export import orthogonalise_checkpoint, verify_checkpoint
from entangle_lens.export.checkpoint import record_measures

FAMILIES = ("qwen3", "gemma3")


@pytest.fixture(scope="module")
def repaired(checkpoint, basis_of, card, tmp_path_factory):
    made = {}

    def folder(family, dtype=None):
        if (family, dtype) not in made:
            out = tmp_path_factory.mktemp("repaired") / family
            made[family, dtype] = orthogonalise_checkpoint(
                checkpoint(family), out, basis_of(128), dtype=dtype, card=card
            )
        return made[family, dtype]

    return folder


@pytest.fixture
def copy(repaired, tmp_path):
    """A copy that a test may break."""
    return lambda family: shutil.copytree(repaired(family), tmp_path / "copy")


def change_weights(folder, change):
    path = folder / "model.safetensors"
    weights = load_file(path)
    save_file(weights | change(weights), path)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
def test_repaired_checkpoint_holds(repaired, family, dtype):
    found = verify_checkpoint(repaired(family, dtype))
    assert found.holds
    assert len(found.leftover) == 1 + 4 * 2
    assert found.leftover[found.worst] <= found.tolerance < 0.1
    assert found.facts["value"] == "moral"
    assert "the repair holds: of 9 tensors" in str(found)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "name",
    ["embed_tokens.weight", "layers.3.self_attn.o_proj.weight", "layers.0.mlp.down_proj.weight"],
)
def test_one_matrix_put_back_is_noticed(copy, checkpoint, family, name):
    folder = copy(family)
    original = load_file(checkpoint(family) / "model.safetensors")
    change_weights(folder, lambda _: {f"model.{name}": original[f"model.{name}"]})
    found = verify_checkpoint(folder)
    assert not found.holds
    assert found.worst == f"model.{name}"
    assert found.leftover[found.worst] > 0.3
    assert "does NOT hold" in str(found)


def test_small_remainder_is_noticed(copy):
    folder = copy("qwen3")
    name = "model.layers.2.mlp.down_proj.weight"
    row = load_file(folder / "repair/basis.safetensors")["basis"][0].float()
    change_weights(folder, lambda old: {name: old[name] + 1e-3 * row[:, None]})
    assert verify_checkpoint(folder).worst == name
    assert not verify_checkpoint(folder).holds


def test_gain_that_was_changed_is_noticed(copy):
    folder = copy("gemma3")
    name = "model.layers.1.post_attention_layernorm.weight"
    change_weights(folder, lambda old: {name: old[name].roll(1)})
    found = verify_checkpoint(folder)
    assert not found.holds
    assert found.worst == "model.layers.1.self_attn.o_proj.weight"


def test_unembedding_tied_again_is_noticed(copy):
    folder = copy("qwen3")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    assert not verify_checkpoint(folder).holds
    assert "tied to the edited embedding" in str(verify_checkpoint(folder))


def test_other_basis_is_refused(copy):
    folder = copy("qwen3")
    save_file({"basis": torch.eye(128).double()[:1]}, folder / "repair/basis.safetensors")
    with pytest.raises(EntangleError, match="not the basis whose digest"):
        verify_checkpoint(folder)


def test_folder_that_is_no_repair_is_refused(checkpoint, tmp_path):
    with pytest.raises(EntangleError, match=r"holds no repair\.json"):
        verify_checkpoint(checkpoint("qwen3"))
    with pytest.raises(EntangleError, match=r"holds no repair\.json"):
        verify_checkpoint(tmp_path / "nowhere")


def test_strength_that_removes_nothing_is_not_verified(checkpoint, basis_of, card, tmp_path):
    out = orthogonalise_checkpoint(
        checkpoint("qwen3"), tmp_path / "o", basis_of(128), strength=0.5, card=card
    )
    with pytest.raises(EntangleError, match=r"made with strength 0\.5"):
        verify_checkpoint(out)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "name",
    [
        "embed_tokens.weight",
        "layers.2.mlp.down_proj.weight",
        "layers.3.self_attn.q_proj.weight",
        "layers.1.post_attention_layernorm.weight",
        "norm.weight",
    ],
)
@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_number_that_is_none_is_noticed_wherever_it_is(copy, family, name, number):
    folder = copy(family)

    def plant(old):
        changed = old[f"model.{name}"].clone()
        changed.view(-1)[7] = number
        return {f"model.{name}": changed}

    change_weights(folder, plant)
    found = verify_checkpoint(folder)
    assert not found.holds
    assert found.broken == (f"model.{name}",)
    assert f"model.{name} holds numbers that are not finite" in str(found)
    assert "does NOT hold" in str(found)


def test_basis_of_nothing_is_refused(copy):
    """With a digest that fits: a basis of zeros is gone from any weights."""
    folder = copy("qwen3")
    path = folder / "repair/basis.safetensors"
    facts = json.loads((folder / "repair.json").read_text())
    for basis, message in (
        (torch.zeros(1, 128).double(), "zero or not finite"),
        (torch.ones(2, 128).double(), "depend on each other"),
    ):
        save_file({"basis": basis}, path)
        facts["basis_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / "repair.json").write_text(json.dumps(facts))
        with pytest.raises(EntangleError, match=message):
            verify_checkpoint(folder)


def test_checkpoint_of_a_stopped_repair_is_unfinished(checkpoint, basis_of, card, tmp_path):
    """As the repair leaves it where it was killed while it measured; and the same, finished."""
    waiting = dataclasses.replace(card, finished=False)
    out = orthogonalise_checkpoint(checkpoint("qwen3"), tmp_path / "o", basis_of(128), card=waiting)
    assert "Unfinished" in (out / "README.md").read_text()
    with pytest.raises(EntangleError, match="is unfinished"):
        verify_checkpoint(out)
    record_measures(out, checkpoint("qwen3"), card, {})
    assert verify_checkpoint(out).holds
    assert "Unfinished" not in (out / "README.md").read_text()
