"""Directions in files: they read back as they were, and refuse the wrong model."""

import dataclasses
import math
import shutil

import pytest
import torch
from safetensors.torch import save_file

import entangle_lens as el
from entangle_lens.directions import Direction, Quality
from entangle_lens.export import check_fits, load_directions, save_directions
from entangle_lens.models import info
from entangle_lens.results.run_folder import save_layer_directions


@pytest.fixture(scope="module")
def model(checkpoint):
    return el.load(checkpoint("qwen3"))


@pytest.fixture
def direction(model):
    about = info(model)
    provenance = {
        "model": about.name,
        "revision": about.revision,
        "dtype": "float32",
        "hook_point": "resid_post",
        "position": "last prompt token",
        "stimuli_sha256": "abc",
        "n_layers": "4",
    }
    vectors = torch.randn(2, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    quality = Quality(0.9, 2.5, math.nan)
    return Direction(
        "moral", "economic", 2, vectors[0], vectors[1], quality, "a method", provenance
    )


def changed(direction, **changes):
    return dataclasses.replace(direction, **changes)


def of_model(direction, **changes):
    return changed(direction, provenance={**direction.provenance, **changes})


def test_directions_read_back_as_they_were(direction, model, tmp_path):
    other = changed(direction, layer=1, vector=direction.vector.float())
    path = save_directions(tmp_path / "moral.safetensors", [direction, other])
    for read, saved in zip(load_directions(path, model=model), (direction, other), strict=True):
        for name in ("value", "question", "layer", "method", "provenance"):
            assert getattr(read, name) == getattr(saved, name)
        assert read.vector.equal(saved.vector)
        assert read.vector.dtype == saved.vector.dtype
        assert read.mean.equal(saved.mean)
        assert read.quality.auc == 0.9
        assert math.isnan(read.quality.split_half_cosine)
    assert [each.name for each in tmp_path.iterdir()] == ["moral.safetensors"]


def test_directions_of_a_run_folder_read_too(direction, model, tmp_path):
    positive, negative = torch.randn(2, 10, 3, 128, generator=torch.Generator().manual_seed(1))
    fitted = el.fit_difference_of_means("moral", "grammar", (0, 2, 3), positive, negative)
    path = tmp_path / "moral_under_grammar.safetensors"
    save_layer_directions(path, fitted, direction.provenance)
    read = load_directions(path, model=model)
    assert [each.layer for each in read] == [0, 2, 3]
    for each in read:
        saved = el.load_direction(path, each.layer)
        assert each.vector.equal(saved.vector)
        assert each.quality.split_half_cosine == saved.quality.split_half_cosine
        assert (each.value, each.question) == ("moral", "grammar")


def test_same_weights_under_another_name_fit(direction, model):
    check_fits(of_model(direction, model="elsewhere/the-same"), model)


REFUSED = {
    "width": (lambda d: changed(d, vector=torch.ones(64), mean=torch.ones(64)), "has d_model 64"),
    "depth": (lambda d: of_model(d, n_layers="9"), "is of a model of 9 layers, and .* has 4"),
    "layer": (lambda d: changed(of_model(d, n_layers=""), layer=7), "is of another model, and"),
    "revision": (lambda d: of_model(d, revision="sha256:other"), r"\(revision sha256:other\)"),
    "model": (lambda d: of_model(d, model="a/b", revision="c"), r"fitted on 'a/b' \(revision c\)"),
    "unknown": (lambda d: changed(d, provenance={}), "does not say of which model"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_direction_of_another_model_is_refused_with_the_reason(direction, model, tmp_path, case):
    change, message = REFUSED[case]
    path = save_directions(tmp_path / "d.safetensors", [change(direction)])
    with pytest.raises(el.EntangleError, match=message):
        load_directions(path, model=model)
    assert len(load_directions(path)) == 1
    if case in ("width", "depth", "layer"):
        with pytest.raises(el.EntangleError, match=message):
            load_directions(path, model=model, any_model=True)
    else:
        assert len(load_directions(path, model=model, any_model=True)) == 1


def test_fingerprint_of_no_files_vouches_for_nothing(direction, model, monkeypatch):
    empty = "sha256:e3b0c44298fc1c14"
    monkeypatch.setattr(model, "entangle_info", dataclasses.replace(info(model), revision=empty))
    with pytest.raises(el.EntangleError, match="was fitted on"):
        check_fits(of_model(direction, model="elsewhere", revision=empty), model)


def test_repaired_weights_are_another_model(direction, checkpoint, basis_of, card, tmp_path):
    from entangle_lens.export import orthogonalise_checkpoint

    out = orthogonalise_checkpoint(checkpoint("qwen3"), tmp_path / "o", basis_of(128), card=card)
    with pytest.raises(el.EntangleError, match="was fitted on"):
        check_fits(direction, el.load(out))


def test_files_that_hold_no_directions_are_refused_in_one_sentence(direction, tmp_path, checkpoint):
    path = save_directions(tmp_path / "d.safetensors", [direction])
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-10])
    half = tmp_path / "half.safetensors"
    save_file({"a": torch.ones(1)}, half, metadata={"format": "entangle_lens direction file 1"})
    weights = shutil.copy(checkpoint("qwen3") / "model.safetensors", tmp_path)
    for bad, message in (
        (cut, "no directions that can be read"),
        (half, "no directions that can be read"),
        (weights, "holds no directions of entangle_lens"),
        (tmp_path / "nowhere", "no such file"),
    ):
        with pytest.raises(el.EntangleError, match=message) as refused:
            load_directions(bad)
        assert "\n" not in str(refused.value)


def test_what_cannot_be_saved_is_refused(direction, tmp_path):
    with pytest.raises(el.EntangleError, match="one shape was expected"):
        save_directions(tmp_path / "d", [])
    with pytest.raises(el.EntangleError, match="cannot be written"):
        save_directions(tmp_path / "nowhere/d", [direction])
