"""Control vectors of other tools: read back, counted right, and never unpickled."""

import math
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


@pytest.mark.parametrize("bad", [{}, {1: torch.ones(3), 2: torch.ones(4)}])
def test_vectors_of_no_one_shape_are_not_exported(bad, tmp_path):
    with pytest.raises(EntangleError, match="one was expected"):
        export_gguf(tmp_path / "v.gguf", bad, "qwen3")


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
    ],
)
def test_what_is_no_vector_is_refused(read, given, message):
    with pytest.raises(EntangleError, match=message):
        read(given, value="calm")


def test_missing_library_is_said_in_one_sentence(vectors, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(EntangleError, match=r"pip install 'entangle-lens\[gguf\]'"):
        export_gguf(tmp_path / "v.gguf", vectors, "qwen3")
