"""A direction file may hold anything: it is read right, or refused in one sentence, at once."""

import dataclasses
import json
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import entangle_lens as el
from entangle_lens.directions import Direction, Quality
from entangle_lens.export import check_fits

ONE, RUN = "entangle_lens direction file 1", "entangle_lens directions 1"
NUMBERS = [0.5, 0.5, 0.5]


def direction(**changes):
    quality = Quality(0.9, 2.5, 0.8)
    made = Direction("moral", "grammar", 2, torch.ones(8), torch.zeros(8), quality)
    return dataclasses.replace(made, **changes)


def described(**changes):
    quality = {"auc": 0.9, "d_prime": None, "split_half_cosine": 0.8}
    known = {"value": "moral", "question": "grammar", "layer": 2, "method": "a method"}
    return known | {"quality": quality, "provenance": {}} | changes


def without(name):
    return {key: value for key, value in described().items() if key != name}


def one(about=None, *, tensors=None, **metadata):
    """A file of single directions: its tensors and metadata."""
    about = [described()] if about is None else about
    held = {"vector.0": torch.ones(8), "mean.0": torch.zeros(8)} if tensors is None else tensors
    return held, {"format": ONE, "directions": json.dumps(about)} | metadata


def run(*, drop=(), vectors=None, means=None, **metadata):
    """A run folder's file: one value at three layers."""
    held = {
        "vectors": torch.ones(3, 8) if vectors is None else vectors,
        "means": torch.zeros(3, 8) if means is None else means,
    }
    known = {"format": RUN, "value": "moral", "question": "moral", "method": "a method"}
    known |= {"layers": json.dumps([0, 1, 2]), "version": "1"}
    known |= dict.fromkeys(("auc", "d_prime", "split_half_cosine"), json.dumps(NUMBERS))
    return held, {key: value for key, value in (known | metadata).items() if key not in drop}


def one_of(vector, mean=None):
    return one(tensors={"vector.0": vector, "mean.0": torch.zeros(8) if mean is None else mean})


NAN = torch.full((8,), torch.nan)
REFUSED = {
    "no direction": (one([], tensors={}), "names no direction"),
    "no list": (one({"a": 1}), "its directions are no list"),
    "no JSON": (one(directions="{"), "its directions are no JSON"),
    "nested": (one(directions="[" * 100_000), "no directions that can be read"),
    "no object": (one([3]), "described by no JSON object"),
    "no value": (one([without("value")]), "does not say its value"),
    "value is a number": (one([described(value=3)]), "does not say its value"),
    "no question": (one([without("question")]), "does not say its question"),
    "no method": (one([without("method")]), "does not say its method"),
    "no quality": (one([without("quality")]), "does not say all of auc"),
    "no auc": (one([described(quality={"d_prime": 1.0})]), "does not say all of auc"),
    "auc is text": (
        one([described(quality=dict.fromkeys(("auc", "d_prime", "split_half_cosine"), "x"))]),
        "not in numbers",
    ),
    "auc is huge": (
        one([described(quality=dict.fromkeys(("auc", "d_prime", "split_half_cosine"), 10**400))]),
        "not in numbers",
    ),
    "no provenance": (one([without("provenance")]), "provenance of its direction 0"),
    "provenance of numbers": (one([described(provenance={"a": 1})]), "provenance of its"),
    "n_layers": (one([described(provenance={"n_layers": "x"})]), "given as 'x'; a whole number"),
    "layer -1": (one([described(layer=-1)]), "at layer '-1'; a whole number from 0"),
    "layer 1.5": (one([described(layer=1.5)]), "at layer '1.5'; a whole number"),
    "layer true": (one([described(layer=True)]), "at layer 'True'; a whole number"),
    "layer huge": (one([described(layer=10**30)]), "a whole number"),
    "a tensor too many": (
        one(tensors={"vector.0": torch.ones(8), "mean.0": torch.ones(8), "x": torch.ones(1)}),
        "not those of the 1 directions",
    ),
    "no mean": (one(tensors={"vector.0": torch.ones(8)}), "not those of the 1 directions"),
    "3-d vector": (one_of(torch.ones(2, 2, 2)), r"shape \(2, 2, 2\)"),
    "scalar vector": (one_of(torch.tensor(1.0)), r"shape \(\)"),
    "integer vector": (one_of(torch.ones(8, dtype=torch.int64)), "is torch.int64 of shape"),
    "zero vector": (one_of(torch.zeros(8)), "zero everywhere"),
    "NaN vector": (one_of(NAN), "the vector of the moral direction .* not finite"),
    "infinite vector": (one_of(torch.full((8,), torch.inf)), "not finite"),
    "NaN mean": (one_of(torch.ones(8), NAN), "the mean of the moral direction .* not finite"),
    "short mean": (one_of(torch.ones(8), torch.ones(4)), "has 8 numbers and its mean 4"),
    "widths": (
        one(
            [described(), described()],
            tensors={
                **{f"vector.{row}": torch.ones(8 - row) for row in (0, 1)},
                **{f"mean.{row}": torch.ones(8 - row) for row in (0, 1)},
            },
        ),
        "its vectors have 8 and 7 numbers",
    ),
    "run: no layers": (run(drop=["layers"]), "does not say its layers"),
    "run: layers no JSON": (run(layers="0, 1, 2"), "its layers are no JSON"),
    "run: layers no list": (run(layers="3"), "its layers are no list"),
    "run: layers too long": (run(layers="[0, 1, 2, 3]"), "has 4 layers and 3 values of auc"),
    "run: layer -1": (run(layers="[-1, 0, 1]"), "at layer '-1'"),
    "run: no auc": (run(drop=["auc"]), "3 layers and 0 values of auc"),
    "run: short auc": (run(auc="[0.5]"), "3 layers and 1 values of auc"),
    "run: no value": (run(drop=["value"]), "does not say its value"),
    "run: no method": (run(drop=["method"]), "does not say its method"),
    "run: 3-d vectors": (run(vectors=torch.ones(3, 2, 4)), r"vectors have shape \(3, 2, 4\)"),
    "run: other means": (run(means=torch.ones(3, 4)), r"its means \(3, 4\)"),
    "run: integers": (
        run(vectors=torch.ones(3, 8, dtype=torch.int64)), "is torch.int64 of shape",
    ),
    "run: n_layers": (run(n_layers="x"), "given as 'x'; a whole number"),
    "format 99": (run(format="entangle_lens directions 99"), "no directions of entangle_lens"),
    "no format": (run(drop=["format"]), "no directions of entangle_lens"),
}  # fmt: skip


@pytest.mark.parametrize("load", [el.load_directions, lambda path: el.load_direction(path, 1)])
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_direction_file_is_refused_in_one_sentence(
    case, load, tmp_path, without_type_checks
):
    (tensors, metadata), message = REFUSED[case]
    path = tmp_path / "d.safetensors"
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(el.EntangleError, match=message) as refused:
        load(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_files_of_both_forms_are_read(tmp_path, without_type_checks):
    """The control of the files above."""
    for made, layers in ((one(), [2]), (run(), [0, 1, 2]), (run(auc="[NaN, 1, 0.5]"), [0, 1, 2])):
        path = tmp_path / "d.safetensors"
        save_file(made[0], path, metadata=made[1])
        assert [each.layer for each in el.load_directions(path)] == layers
        found = el.load_direction(path, np.int64(2))
        assert (found.value, found.layer) == ("moral", 2)
        assert found.vector.equal(torch.ones(8))
        with pytest.raises(el.EntangleError, match="holds no layer 7; it holds"):
            el.load_direction(path, 7)


def test_several_directions_at_one_layer_are_not_chosen_among(tmp_path):
    path = el.save_directions(tmp_path / "d", [direction(), direction(question="moral")])
    assert len(el.load_directions(path)) == 2
    with pytest.raises(el.EntangleError, match="holds 2 directions at layer 2"):
        el.load_direction(path, 2)


BYTES = {
    "empty": b"",
    "short": b"abc",
    "garbage": bytes(range(256)) * 8,
    "a header that is not there": (10**15).to_bytes(8, "little") + b"{}",
    "no JSON": (8).to_bytes(8, "little") + b"{{{{{{{{",
}


@pytest.mark.parametrize("case", BYTES)
def test_bytes_that_are_no_safetensors_are_refused(case, tmp_path):
    path = tmp_path / "d.safetensors"
    path.write_bytes(BYTES[case])
    for load in (el.load_directions, lambda path: el.load_direction(path, 1)):
        with pytest.raises(el.EntangleError, match="no directions that can be read"):
            load(path)


def test_every_cut_file_is_refused(tmp_path):
    path = el.save_directions(tmp_path / "d.safetensors", [direction()])
    content = path.read_bytes()
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(el.EntangleError, match="no directions that can be read"):
            el.load_directions(path)


def test_file_of_a_million_names_costs_no_time(tmp_path):
    """Seconds and gigabytes, were it read: its header is long enough to say so at once."""
    entry = '"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    names = ",".join(entry % number for number in range(1_000_000))
    header = f'{{"__metadata__":{{"format":"{ONE}","directions":"[]"}},{names}}}'.encode()
    path = tmp_path / "d.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    begin = time.process_time()
    with pytest.raises(el.EntangleError, match=r"\d+ of them before the numbers"):
        el.load_directions(path)
    assert time.process_time() - begin < 0.5


@pytest.mark.parametrize("name", ["d" * 256, "é" * 200, "nowhere/d", "zero\0byte"])
def test_name_that_no_file_can_have_is_refused(name, tmp_path):
    for load in (el.load_directions, lambda path: el.load_direction(path, 1)):
        with pytest.raises(el.EntangleError, match="no such file"):
            load(tmp_path / name)
    with pytest.raises(el.EntangleError, match="cannot be written"):
        el.save_directions(tmp_path / name, [direction()])
    assert not list(tmp_path.iterdir())


def test_longest_name_is_saved(tmp_path):
    """What is written beside the file until it is whole has a short name of its own."""
    path = el.save_directions(tmp_path / ("d" * 255), [direction()])
    assert el.load_directions(path)[0].vector.equal(torch.ones(8))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_place_of_a_folder_is_not_written(tmp_path):
    (tmp_path / "d").mkdir()
    with pytest.raises(el.EntangleError, match="cannot be written"):
        el.save_directions(tmp_path / "d", [direction()])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": -1}, "layer -1 was given"),
        ({"layer": 1.5}, "layer 1.5 was given"),
        ({"provenance": {"n_layers": 4}}, "text by name"),
        ({"provenance": {"n_layers": "x"}}, "given as 'x'"),
        ({"vector": torch.zeros(8)}, "zero everywhere"),
    ],
)
def test_what_could_not_be_read_back_is_not_saved(changes, message, tmp_path, without_type_checks):
    with pytest.raises(el.EntangleError, match=message):
        el.save_directions(tmp_path / "d", [direction(**changes)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vector": NAN}, "not finite"),
        ({"mean": torch.full((8,), torch.inf)}, "not finite"),
        ({"mean": torch.zeros(4)}, "has 8 numbers and its mean 4"),
        ({"vector": torch.ones(2, 8)}, r"shape \(2, 8\)"),
        ({"vector": torch.ones(8, dtype=torch.int32)}, r"torch\.int32"),
        ({"vector": np.ones(8)}, "is a ndarray; a tensor was expected"),
    ],
)
def test_direction_of_no_numbers_cannot_be_made(changes, message, without_type_checks):
    with pytest.raises(el.EntangleError, match=message):
        direction(**changes)


def test_number_of_layers_that_is_none_is_refused_in_memory_too(tiny_folder):
    model = el.load(tiny_folder("qwen3"))
    wide = direction(vector=torch.ones(128), mean=torch.ones(128), provenance={"n_layers": "x"})
    with pytest.raises(el.EntangleError, match="given as 'x'; a whole number"):
        check_fits(wide, model)
