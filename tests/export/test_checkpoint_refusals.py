"""What cannot be repaired is refused in one sentence, and nothing is written."""

import json
import os
import shutil

import pytest
import torch
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


def indexed(file):
    """The weights in one shard, with an index that names them in ``file``."""

    def change(folder):
        shard = folder / "model-00001-of-00001.safetensors"
        (folder / "model.safetensors").rename(shard)
        index = {"weight_map": dict.fromkeys(load_file(shard), file)}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return change


def broken(name):
    def change(folder):
        path = folder / "model.safetensors"
        weights = load_file(path)
        weights[name][3] = torch.nan
        save_file(weights, path)

    return change


def piped(name):
    def change(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def linked(name, target):
    def change(folder):
        (folder.parent / "secret").mkdir()
        (folder.parent / "secret/id_rsa").write_text("a secret")
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return change


REFUSED = {
    "a pickle": (pickled, "a pickle, and pickles run"),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        "none of model.safetensors, ",
    ),
    "cut short": (cut, "cannot be read as safetensors"),
    "shard missing": (indexed("model-00007-of-00009.safetensors"), "it is not there"),
    "shard of another folder": (indexed("/tmp/model.safetensors"), "inside the model's folder"),
    "shard of a folder above": (indexed("../a/model.safetensors"), "inside the model's folder"),
    "NaN in a writer": (broken("model.layers.1.mlp.down_proj.weight"), r"layers\.1\.mlp\.down"),
    "NaN elsewhere": (broken("model.layers.0.self_attn.q_proj.weight"), r"layers\.0.*q_proj"),
    "NaN in a norm": (broken("model.norm.weight"), r"model\.norm\.weight .* not finite"),
    "link to a secret": (linked("notes.txt", "../secret/id_rsa"), "outside of the checkpoint"),
    "link to a folder": (linked("notes", "../secret"), "outside of the checkpoint"),
    "absolute link": (linked("notes.txt", "/etc/hostname"), "outside of the checkpoint"),
    "linked card": (linked("README.md", "../secret/id_rsa"), "outside of the checkpoint"),
    "dangling link": (linked("notes.txt", "nowhere"), "leads nowhere"),
    "link to itself": (linked("notes.txt", "notes.txt"), "leads nowhere"),
    "named pipe": (lambda folder: os.mkfifo(folder / "notes.txt"), "not a regular file"),
    "piped config": (piped("config.json"), "not a regular file"),
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
    assert {path.name for path in tmp_path.iterdir()} <= {"source", "secret"}


def test_links_inside_the_checkpoint_are_followed(source, basis_of, card, tmp_path):
    """Those to files that stay behind stay behind too."""
    (source / "notes.txt").write_text("a note")
    (source / "again.txt").symlink_to("notes.txt")
    (source / ".hidden").write_text("hidden")
    (source / "shown.txt").symlink_to(".hidden")
    (source / "old.bin").write_text("weights")
    (source / "weights.txt").symlink_to("old.bin")
    out = orthogonalise_checkpoint(source, tmp_path / "out", basis_of(128), card=card)
    assert (out / "again.txt").read_text() == "a note"
    assert not (out / "again.txt").is_symlink()
    assert not (out / "shown.txt").exists()
    assert not (out / "weights.txt").exists()


def test_weights_are_read_from_the_file_that_transformers_reads(source, basis_of, card, tmp_path):
    """One file comes before an index of older shards, and shards may lie in folders below."""
    right = load_file(source / "model.safetensors")
    old = source / "old/model-00001-of-00001.safetensors"
    old.parent.mkdir()
    save_file({name: 2 * each for name, each in right.items()}, old)
    index = {"weight_map": dict.fromkeys(right, "old/model-00001-of-00001.safetensors")}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    name, basis = "model.layers.0.self_attn.q_proj.weight", basis_of(128)
    first = orthogonalise_checkpoint(source, tmp_path / "first", basis, card=card)
    assert load_file(first / "model.safetensors")[name].equal(right[name])
    (source / "model.safetensors").unlink()
    second = orthogonalise_checkpoint(source, tmp_path / "second", basis, card=card)
    assert load_file(second / "model.safetensors")[name].equal(2 * right[name])
    assert not (second / "old").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"basis": torch.full((1, 128), torch.nan)}, "zero or not finite"),
        ({"basis": torch.full((1, 128), torch.inf)}, "zero or not finite"),
        ({"basis": torch.zeros(2, 128)}, "zero or not finite"),
        ({"basis": torch.ones(128)}, r"shape \(128,\); a tensor of real numbers"),
        ({"basis": torch.ones(1, 128, dtype=torch.complex64)}, "a tensor of real numbers"),
        ({"basis": [[1.0] * 128]}, "of another type; a tensor of real numbers"),
        ({"dtype": torch.int8}, r"dtype torch\.int8 cannot hold edited weights"),
        ({"dtype": torch.float16, "scale": 1e6}, r"too large for torch\.float16"),
        ({"strength": float("nan")}, "strength nan was given; a finite number"),
        ({"strength": float("inf")}, "strength inf was given"),
        ({"strength": "1"}, "strength '1' was given"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(
    source, basis_of, card, tmp_path, without_type_checks, changes, message
):
    changes = {"basis": basis_of(128), **changes}
    scale, basis = changes.pop("scale", None), changes.pop("basis")
    if scale:
        path = source / "model.safetensors"
        save_file({name: scale * each for name, each in load_file(path).items()}, path)
    with pytest.raises(el.EntangleError, match=message):
        orthogonalise_checkpoint(source, tmp_path / "out", basis, card=card, **changes)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_basis_of_any_length_is_removed(source, basis_of, card, tmp_path, scale):
    path = source / "model.safetensors"
    folders = [
        orthogonalise_checkpoint(source, tmp_path / name, basis, card=card)
        for name, basis in (("one", basis_of(128)), ("other", basis_of(128).double() * scale))
    ]
    one, other = (load_file(folder / "model.safetensors") for folder in folders)
    name = "model.layers.1.mlp.down_proj.weight"
    assert torch.allclose(one[name], other[name], atol=1e-6)
    assert not torch.allclose(one[name], load_file(path)[name], atol=1e-3)


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
