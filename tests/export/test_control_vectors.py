"""Control vectors of other tools: read back, counted right, and never unpickled."""

import math
import struct
import time
import tracemalloc
from dataclasses import dataclass, field

import gguf
import numpy as np
import pytest
import torch

from entangle_lens.errors import EntangleError
from entangle_lens.export import (
    export_gguf,
    import_gguf,
    import_repeng,
    import_steering_vectors,
)


@dataclass
class ControlVector:
    """As repeng has it."""

    model_type: str
    directions: dict


@dataclass
class SteeringVector:
    """As steering-vectors has it."""

    layer_activations: dict = field(default_factory=dict)
    layer_type: str = "decoder_block"


@pytest.fixture
def vectors():
    noise = torch.Generator().manual_seed(0)
    return {layer: torch.randn(16, generator=noise) for layer in (3, 1, 2)}


def test_gguf_holds_what_llama_cpp_reads(vectors, tmp_path):
    reader = gguf.GGUFReader(export_gguf(tmp_path / "v.gguf", vectors, "qwen3"))
    known = {name: each.contents() for name, each in reader.fields.items()}
    assert known["general.architecture"] == "controlvector"
    assert known["controlvector.model_hint"] == "qwen3"
    assert known["controlvector.layer_count"] == 3
    assert [each.name for each in reader.tensors] == [f"direction.{n}" for n in (1, 2, 3)]
    for each in reader.tensors:
        assert each.tensor_type == gguf.GGMLQuantizationType.F32
        assert np.array_equal(each.data, vectors[int(each.name[-1])].numpy())


def check(read, vectors, method):
    assert [each.layer for each in read] == sorted(vectors)
    for each in read:
        assert each.vector.float().equal(torch.as_tensor(vectors[each.layer]))
        assert each.value == "calm"
        assert each.method == method
        assert math.isnan(each.quality.auc)
        assert each.provenance["hook_point"] == "resid_post"


def test_gguf_reads_back_layer_by_layer(vectors, tmp_path):
    path = export_gguf(tmp_path / "v.gguf", vectors, "qwen3")
    check(import_gguf(path, value="calm"), vectors, "imported (control vector)")
    assert import_repeng(path, value="calm")[0].provenance["model_hint"] == "qwen3"


def test_repeng_vector_is_taken_over(vectors):
    arrays = {layer: vector.numpy() for layer, vector in vectors.items()}
    read = import_repeng(ControlVector("mistral", arrays), value="calm")
    check(read, arrays, "imported (repeng)")
    assert read[0].provenance["model_hint"] == "mistral"


def test_steering_vector_is_taken_over(vectors, tmp_path):
    method = "imported (steering-vectors)"
    check(import_steering_vectors(SteeringVector(vectors), value="calm"), vectors, method)
    check(import_steering_vectors(vectors, value="calm"), vectors, method)
    torch.save(vectors, tmp_path / "v.pt")
    check(import_steering_vectors(tmp_path / "v.pt", value="calm"), vectors, method)
    torch.save({"layer_activations": vectors, "layer_type": "decoder_block"}, tmp_path / "w.pt")
    check(import_steering_vectors(tmp_path / "w.pt", value="calm"), vectors, method)


def test_pickled_object_is_refused_unread(vectors, tmp_path):
    torch.save(SteeringVector(vectors), tmp_path / "v.pt")
    with pytest.raises(EntangleError, match="objects are not read since that runs code"):
        import_steering_vectors(tmp_path / "v.pt", value="calm")
    assert isinstance(torch.load(tmp_path / "v.pt", weights_only=False), SteeringVector)


def test_block_zero_cannot_be_exported(vectors, tmp_path):
    with pytest.raises(EntangleError, match="begin at layer 1"):
        export_gguf(tmp_path / "v.gguf", vectors | {0: vectors[1]}, "qwen3")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({}, "layers none were given"),
        ({1: torch.ones(3), 2: torch.ones(4)}, "lengths 3, 4 were given; one was expected"),
        ({1: torch.ones(2, 64)}, r"shape \(2, 64\)"),
        ({1: torch.tensor(1.0)}, r"shape \(\)"),
        ({1: torch.zeros(4)}, "zero or not finite"),
        ({1: torch.tensor([1.0, torch.nan])}, "zero or not finite"),
        ({1: torch.tensor([1.0, 1e300]).double()}, "not finite in float32"),
        ({1: torch.ones(3, dtype=torch.complex64)}, "complex64"),
        ({2.0: torch.ones(3)}, "vectors by layer were expected"),
        ({True: torch.ones(3)}, "layers counted from 0"),
    ],
)
def test_vectors_that_are_none_are_not_exported(bad, message, tmp_path, without_type_checks):
    with pytest.raises(EntangleError, match=message):
        export_gguf(tmp_path / "v.gguf", bad, "qwen3")
    assert not list(tmp_path.iterdir())


def test_numpy_vectors_and_layers_are_exported(vectors, tmp_path, without_type_checks):
    arrays = {np.int64(layer): vector.double().numpy() for layer, vector in vectors.items()}
    path = export_gguf(tmp_path / "v.gguf", arrays, "qwen3")
    check(import_gguf(path, value="calm"), vectors, "imported (control vector)")


@pytest.mark.parametrize("name", ["nowhere/v.gguf", "v" * 300])
def test_control_vector_is_written_whole_or_not_at_all(vectors, tmp_path, name):
    with pytest.raises(EntangleError, match="cannot be written"):
        export_gguf(tmp_path / name, vectors, "qwen3")
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_the_control_vector_that_was_there(vectors, tmp_path, monkeypatch):
    path = export_gguf(tmp_path / "v.gguf", vectors, "qwen3")
    before = path.read_bytes()

    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensors_to_file", full)
    with pytest.raises(EntangleError, match="No space left on device"):
        export_gguf(path, vectors, "qwen3")
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["v.gguf"]


def text(said):
    return struct.pack("<Q", len(said)) + said


def entry(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


KIND = entry(b"general.architecture", 8, text(b"controlvector"))


def beginning(n_tensors, n_entries):
    return b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_entries)


def tensor(name=b"direction.1", shape=(4,), kind=0, offset=0):
    axes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + axes + struct.pack("<IQ", kind, offset)


def array(kind, length):
    return entry(b"x", 9, struct.pack("<IQ", kind, length))


def whole(*tensors):
    told = beginning(len(tensors), 1) + KIND + b"".join(tensors)
    return told + bytes(-len(told) % 32) + np.ones(8, dtype="<f4").tobytes()


LYING = {
    "a million bytes": (beginning(0, 2) + KIND + array(0, 10**6), "names 1000000 bytes where"),
    "a billion bytes": (beginning(0, 2) + KIND + array(0, 10**9), "names 1000000000 bytes"),
    "more than memory": (beginning(0, 2) + KIND + array(12, 2**62), "bytes where"),
    "many texts": (beginning(0, 2) + KIND + array(8, 2**40), "at most 1000000 are read"),
    "texts that are not there": (beginning(0, 2) + KIND + array(8, 10**5), "bytes where"),
    "arrays of arrays": (beginning(0, 2) + KIND + array(9, 10**6), "a value of type 9"),
    "a long text": (beginning(0, 1) + struct.pack("<Q", 2**63), "a text of"),
    "many entries": (beginning(0, 2**60) + KIND, "at most 1000000 are read"),
    "many tensors": (beginning(2**60, 1) + KIND, "at most 1000000 are read"),
    "no unicode": (beginning(0, 1) + entry(b"\xff\xfe", 8, text(b"a")), "cannot be read as GGUF"),
    "a large tensor": (whole(tensor(shape=(2**40,))), "larger than the file"),
    "many axes": (whole(tensor(shape=(1,) * 9)), "9 axes"),
    "an offset behind the end": (whole(tensor(offset=2**50)), "bytes where"),
    "the same name twice": (whole(tensor(shape=(1,)), tensor(shape=(1,))), "the same name"),
    "the same layer twice": (
        whole(tensor(shape=(2,)), tensor(b"direction.01", (2,))),
        "direction.01; tensors named",
    ),
    "a layer that is none": (whole(tensor("direction.²".encode())), "tensors named"),
    "half precision": (whole(tensor(kind=1)), "of type 1; float32"),
    "two axes": (whole(tensor(shape=(2, 2))), r"shape \(2, 2\)"),
    "another version": (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "of version 9"),
    "an empty file": (b"", "cannot be read as GGUF"),
}


@pytest.mark.parametrize("case", LYING)
def test_gguf_that_lies_is_refused_at_once(case, tmp_path):
    """In little time and memory, whatever it names, and in one short sentence."""
    content, message = LYING[case]
    (tmp_path / "v.gguf").write_bytes(content)
    begin = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(EntangleError, match=message) as refused:
            import_gguf(tmp_path / "v.gguf", value="calm")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - begin < 2
    assert len(str(refused.value)) < 500


def test_gguf_made_by_hand_is_read(tmp_path):
    """The control of the files above: nothing but what each of them names is wrong."""
    (tmp_path / "v.gguf").write_bytes(whole(tensor(shape=(8,))))
    (read,) = import_gguf(tmp_path / "v.gguf", value="calm")
    assert read.vector.equal(torch.ones(8).double())


def test_changed_bytes_never_raise_anything_else(vectors, tmp_path, rng):
    path = export_gguf(tmp_path / "v.gguf", vectors, "qwen3")
    content = path.read_bytes()
    refused = 0
    for _ in range(400):
        changed = bytearray(content)
        for place in rng.integers(len(content), size=3):
            changed[place] = rng.integers(256)
        path.write_bytes(changed[: rng.integers(1, len(content) + 1)])
        try:
            import_gguf(path, value="calm")
        except EntangleError:
            refused += 1
    assert refused > 300


def test_other_gguf_files_are_refused(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("direction.1", np.ones(4, dtype=np.float32))
    for step in ("write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file", "close"):
        getattr(writer, step)()
    (tmp_path / "broken.gguf").write_bytes((tmp_path / "m.gguf").read_bytes()[:50])
    for name, message in (
        ("m.gguf", "holds a llama, and no control vector"),
        ("broken.gguf", "cannot be read as GGUF"),
        ("nowhere.gguf", "no such file"),
    ):
        with pytest.raises(EntangleError, match=message):
            import_gguf(tmp_path / name, value="calm")


@pytest.mark.parametrize(
    ("read", "given", "message"),
    [
        (import_repeng, 3, "a repeng ControlVector or its .gguf"),
        (import_repeng, ControlVector("x", {-1: np.ones(3)}), "layers counted from 0"),
        (import_repeng, ControlVector("x", {1: [np.nan]}), "finite"),
        (import_steering_vectors, SteeringVector({1: torch.ones(3)}, "mlp"), "vectors at mlp"),
        (import_steering_vectors, "nowhere.pt", "no such file"),
        (import_steering_vectors, {"a": torch.ones(3)}, "vectors by layer"),
        (import_steering_vectors, 3, "were expected"),
        (import_steering_vectors, {1: torch.ones(8, 8)}, r"shape \(8, 8\)"),
        (import_steering_vectors, {1: torch.ones(8, dtype=torch.complex64)}, "complex64"),
        (import_steering_vectors, {1: torch.zeros(8)}, "zero or not finite"),
        (import_steering_vectors, {1: torch.tensor(2.0)}, r"shape \(\)"),
        (import_steering_vectors, "v" * 300, "no such file"),
        (import_repeng, ControlVector("x", {1: np.ones((8, 8))}), r"shape \(8, 8\)"),
        (import_repeng, ControlVector("x", {1: np.array([1, np.inf])}), "not finite"),
        (import_gguf, "v" * 300, "no such file"),
    ],
)
def test_what_is_no_vector_is_refused(read, given, message):
    with pytest.raises(EntangleError, match=message):
        read(given, value="calm")


def test_missing_library_is_said_in_one_sentence(vectors, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(EntangleError, match=r"pip install 'entangle-lens\[gguf\]'"):
        export_gguf(tmp_path / "v.gguf", vectors, "qwen3")
