"""The revision of a folder: other weights have another one, the same weights the same."""

import json
import math
import os
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import entangle_lens as el
from entangle_lens.directions import Direction, Quality
from entangle_lens.export import check_fits
from entangle_lens.models import info

WEIGHTS = "model.safetensors"


@pytest.fixture
def copy(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder("qwen3"), tmp_path / "copy")


def revision(folder):
    return info(el.load(folder)).revision


def changed(path, place, n_bytes=1):
    """Change some bytes of a file, its size and its time staying as they were."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(place)
        held = file.read(n_bytes)
        file.seek(place)
        file.write(bytes(each ^ 1 for each in held))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def test_direction_of_a_model_is_refused_by_one_whose_later_weights_differ(tiny_folder, copy):
    """As fine-tunes of one base do: same names, same shapes, the same embeddings at the start."""
    file = copy / WEIGHTS
    head = (1 << 20) + 4096
    assert file.stat().st_size > head + (1 << 20)
    weights = {key: value.clone() for key, value in load_file(file).items()}
    data = bytearray(file.read_bytes())
    data[head:] = (
        np.random.default_rng(0).permutation(np.frombuffer(data[head:], np.float32)).tobytes()
    )
    file.write_bytes(data)
    differ = [key for key, value in load_file(file).items() if not torch.equal(value, weights[key])]
    assert 0 < len(differ) < len(weights)
    ours, theirs = el.load(tiny_folder("qwen3")), el.load(copy)
    direction = Direction(
        "moral",
        "economic",
        2,
        torch.ones(128),
        torch.zeros(128),
        Quality(0.9, 2.5, math.nan),
        provenance={"model": "elsewhere", "revision": info(ours).revision, "n_layers": "4"},
    )
    check_fits(direction, ours)
    with pytest.raises(el.EntangleError, match="was fitted on 'elsewhere'"):
        check_fits(direction, theirs)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.9999])
def test_any_changed_byte_of_the_weights_is_another_revision(copy, share):
    """Loaded before as well, so nothing is remembered of a file that has changed since."""
    before = revision(copy)
    changed(copy / WEIGHTS, int((copy / WEIGHTS).stat().st_size * share))
    assert revision(copy) != before


def test_same_files_elsewhere_are_the_same_revision(tiny_folder, copy):
    os.utime(copy / WEIGHTS, (0, 0))
    (copy / "notes.txt").write_text("not part of the model")
    assert revision(copy) == revision(tiny_folder("qwen3"))


def test_shards_in_folders_below_count(copy):
    weights = load_file(copy / WEIGHTS)
    (copy / WEIGHTS).unlink()
    (copy / "parts").mkdir()
    save_file(weights, copy / "parts/a.safetensors", metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "parts/a.safetensors")}
    (copy / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    before = revision(copy)
    changed(copy / "parts/a.safetensors", -5 % (copy / "parts/a.safetensors").stat().st_size)
    assert revision(copy) != before


def test_links_that_lead_nowhere_and_pipes_are_no_files(copy):
    before = revision(copy)
    (copy / "gone.json").symlink_to(copy / "nowhere.json")
    os.mkfifo(copy / "pipe.json")
    assert revision(copy) == before


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A folder that counts as a large one, its weights 3 chunks and a bit."""
    from entangle_lens.models import fingerprints

    monkeypatch.setattr(fingerprints, "WHOLE_BYTES", 1 << 16)
    monkeypatch.setattr(fingerprints, "_CHUNK", 1 << 16)
    (tmp_path / "config.json").write_text("{}")
    content = np.random.default_rng(0).integers(0, 256, 3 * (1 << 16) + 777, dtype=np.uint8)
    (tmp_path / WEIGHTS).write_bytes(content.tobytes())
    monkeypatch.setattr(fingerprints, "_BEGINNING", 1 << 10)
    fingerprints._hashed.cache_clear()
    return tmp_path, fingerprints.fingerprint


def test_changed_row_of_a_large_file_is_another_revision(large, rng):
    folder, fingerprint = large
    seen = {fingerprint(folder)}
    size = (folder / WEIGHTS).stat().st_size
    places = [0, 1, size - 4096, *rng.integers(0, size - 4096, 40).tolist()]
    for place in places:
        changed(folder / WEIGHTS, place, 4096)
        seen.add(fingerprint(folder))
    assert len(seen) == 1 + len(places)


def test_large_file_is_not_read_whole(large, rng):
    """Which is what the bound of its cost costs: most single bytes go unseen."""
    folder, fingerprint = large
    before = fingerprint(folder)
    unseen = 0
    for place in rng.integers(1 << 10, 3 << 16, 40).tolist():
        changed(folder / WEIGHTS, place)
        unseen += fingerprint(folder) == before
        changed(folder / WEIGHTS, place)
    assert 25 < unseen < 40
