"""What cannot be repaired is refused in one sentence, and nothing is written."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

import entangle_lens as el
from entangle_lens.export import orthogonalise_checkpoint


@pytest.fixture
def source(checkpoint, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(checkpoint("qwen3"), tmp_path / "source")


def with_extra(name, like="model.norm.weight"):
    def change(folder):
        path = folder / "model.safetensors"
        weights = load_file(path)
        save_file(weights | {name: weights[like].clone()}, path)

    return change


def without(name):
    def change(folder):
        path = folder / "model.safetensors"
        weights = load_file(path)
        del weights[name]
        save_file(weights, path)

    return change


def with_config(**changes):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def misnamed(folder):
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00009.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


REFUSED = {
    "a pickle": (pickled, "a pickle, and pickles run"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "neither model"),
    "cut short": (cut, "cannot be read as safetensors"),
    "shard missing": (misnamed, "cannot be read as safetensors"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "cannot be read as JSON"),
    "quantised": (with_config(quantization_config={"bits": 4}), "is quantised"),
    "unknown writer": (
        with_extra("model.layers.0.mixer.out_proj.weight"),
        r"not known whether they write to the residual stream: layers\.0\.mixer",
    ),
    "unknown norm": (
        with_extra("model.layers.0.post_feedforward_layernorm.weight"),
        "understood for gemma2, gemma3, gemma3_text only",
    ),
    "no writer": (without("model.layers.1.mlp.down_proj.weight"), r"layers\.1\.mlp\.down_proj"),
    "no stack": (without("model.layers.0.self_attn.o_proj.weight"), "exactly one was looked for"),
    "layer missing": (with_config(num_hidden_layers=9), "its config names 9"),
    "repaired": (lambda folder: (folder / "repair.json").touch(), "second removal"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_repaired_is_refused_and_nothing_is_written(
    source, basis_of, card, tmp_path, case
):
    change, message = REFUSED[case]
    change(source)
    with pytest.raises(el.EntangleError, match=message):
        orthogonalise_checkpoint(source, tmp_path / "out", basis_of(128), card=card)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_basis_of_another_width_is_refused(source, basis_of, card, tmp_path):
    with pytest.raises(el.EntangleError, match=r"d_model 64, and .* has 128"):
        orthogonalise_checkpoint(source, tmp_path / "out", basis_of(64), card=card)


@pytest.mark.parametrize("place", ["source", "source/inside", "."])
def test_output_in_or_around_the_source_is_refused(source, basis_of, card, tmp_path, place):
    with pytest.raises(el.EntangleError, match=r"in the source folder .* or around it"):
        orthogonalise_checkpoint(source, tmp_path / place, basis_of(128), card=card)


def test_output_folder_in_use_is_left_alone(source, basis_of, card, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(el.EntangleError, match="is not empty"):
        orthogonalise_checkpoint(source, out, basis_of(128), card=card)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_failure_while_writing_leaves_nothing(source, basis_of, card, tmp_path, monkeypatch):
    def fail(*args):
        raise RuntimeError("disk full")

    monkeypatch.setattr("entangle_lens.export.checkpoint.render_readme", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        orthogonalise_checkpoint(source, tmp_path / "out", basis_of(128), card=card)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]
