"""What may be asked of ``load``: names, devices, dtypes and revisions, or one sentence."""

import json
import os
from pathlib import Path

import pytest
import torch

import entangle_lens as el
from entangle_lens.model_names import source_of
from entangle_lens.models import info, load_plain
from entangle_lens.models.arguments import device_of, dtype_of

LONG = "a" * 300


@pytest.fixture
def folder(tiny_folder):
    return tiny_folder("qwen3")


def unchecked(function):
    """Return a function as it is outside of these tests, which check every call's types."""
    return getattr(function, "__wrapped__", function)


def refusal(*args, load=el.load, **options):
    with pytest.raises(el.EntangleError) as refused:
        load(*args, **options)
    return str(refused.value)


@pytest.mark.parametrize("load", [el.load, load_plain])
@pytest.mark.parametrize("name", ["", "  "])
def test_empty_name_is_refused(load, name):
    assert f"model {name!r} is not a name" in refusal(name, load=load)


@pytest.mark.parametrize("name", [None, 7, b"folder", ["folder"]])
def test_what_is_no_name_is_refused(name):
    message = refusal(name, None, load=unchecked(source_of))
    assert f"model {name!r} is not a name" in message
    assert "organism:qwen3-entangled" in message


@pytest.mark.parametrize("name", [LONG, f"./{LONG}", f"/{LONG}/{LONG}", "a\0b", "~nobody-here/m"])
def test_name_that_cannot_be_looked_at_is_refused(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert len(refusal(name)) > len("model")


def test_folder_may_be_text_or_a_path(folder):
    names = [info(el.load(given)).name for given in (Path(folder), os.fspath(folder))]
    assert names == [folder.name] * 2


@pytest.mark.parametrize("dtype", ["float32", torch.float32])
@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_device_and_dtype_may_be_torchs(folder, device, dtype):
    model = el.load(folder, device=device, dtype=dtype)
    assert (info(model).device, info(model).dtype) == ("cpu", "float32")
    assert info(el.load(folder, device=device, dtype=torch.bfloat16)).dtype == "bfloat16"


@pytest.mark.parametrize("dtype", [torch.float64, torch.int8, None, 32, "", "torch.float32"])
def test_other_dtype_is_refused_with_the_choices(dtype):
    message = refusal(dtype, "cpu", load=unchecked(dtype_of))
    assert "is unknown" in message
    assert "auto, float32, bfloat16, float16" in message


@pytest.mark.parametrize("device", ["meta", torch.device("meta"), None, 2.5, "", [], "cuda:99"])
def test_device_that_cannot_compute_is_refused_with_the_choices(device):
    message = refusal(device, load=unchecked(device_of))
    assert "cannot be used here" in message
    assert "auto, cpu" in message


@pytest.mark.parametrize("revision", ["", " ", 3, Path("main")])
def test_what_is_no_revision_is_refused(revision):
    message = refusal("a/b", revision, load=unchecked(source_of))
    assert "is not a name; a branch, tag or commit" in message


@pytest.mark.parametrize("name", ["organism:qwen3-entangled", None])
def test_revision_of_a_folder_is_refused(folder, name):
    """It would be passed over, and another checkpoint measured than was asked for."""
    message = refusal(name or folder, revision="v2")
    assert "revision 'v2' was asked for" in message
    assert "is a folder, which has no revisions" in message


@pytest.mark.parametrize("with_config", [True, False])
def test_adapter_is_refused(folder, tmp_path, with_config):
    """Without peft, transformers would load the base beside it and say nothing."""
    for file in folder.iterdir() if with_config else ():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    assert "holds an adapter (adapter_config.json) to another model" in refusal(tmp_path)
