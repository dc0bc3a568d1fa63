"""Opening a checkpoint: the hub's cache with its revisions, and one sentence for every mistake."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest
from safetensors.torch import load_file, save_file

import entangle_lens as el
from entangle_lens.models import info, load_plain

MAIN, REPAIRED = "0123456789abcdef" * 2 + "01234567", "fedcba9876543210" * 2 + "fedcba98"
OFFLINE = """
import json, sys
import torch
import entangle_lens as el
from entangle_lens.models import info
tokens, seen = torch.arange(1, 9)[None], {}
for revision in (None, "main", "repaired", sys.argv[1], "nowhere"):
    try:
        model = el.load("our-lab/tiny", revision=revision)
        seen[str(revision)] = [info(model).revision, float(model(tokens)[0, -1, 0])]
    except el.EntangleError as error:
        seen[str(revision)] = [str(error), None]
print(json.dumps(seen))
"""


@pytest.fixture
def folder(tiny_folder):
    return tiny_folder("qwen3")


@pytest.fixture
def copy(folder, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def refusal(*args, **options):
    with pytest.raises(el.EntangleError) as refused:
        el.load(*args, **options)
    return str(refused.value)


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(folder, change):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def into_hub_cache(folder, repository, commit, ref):
    """Lay a snapshot out as the hub client does: files are links to blobs named by their hash."""
    snapshot = repository / "snapshots" / commit
    for part in (repository / "blobs", repository / "refs", snapshot):
        part.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        blob = repository / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        blob.write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    (repository / "refs" / ref).write_text(commit)


def test_revisions_in_the_hubs_cache_load_without_a_network(folder, copy, tmp_path):
    change_weights(
        copy, lambda weights: weights | {"model.norm.weight": weights["model.norm.weight"] * 2}
    )
    repository = tmp_path / "home/hub/models--our-lab--tiny"
    into_hub_cache(folder, repository, MAIN, "main")
    into_hub_cache(copy, repository, REPAIRED, "repaired")
    kept = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_CACHE", "HF_TOKEN")}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, REPAIRED],
        capture_output=True,
        text=True,
        env={**kept, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["None"] == seen["main"]
    assert seen["main"][0] == MAIN
    assert seen["repaired"] == seen[REPAIRED]
    assert seen["repaired"][0] == REPAIRED
    assert seen["repaired"][1] == pytest.approx(2 * seen["main"][1], rel=1e-3)
    assert seen["nowhere"][1] is None
    assert "our-lab/tiny" in seen["nowhere"][0]


@pytest.mark.parametrize("load", [el.load, load_plain])
def test_hub_id_that_is_not_here_is_refused_offline(offline, load):
    with pytest.raises(el.EntangleError) as refused:
        load("our-lab/unheard-of")
    message = str(refused.value)
    assert "'our-lab/unheard-of' is not on this machine" in message
    assert "organism:qwen3-entangled, which needs no network" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "name", ["/no/such/folder", "https://hub/our-lab/tiny", "our-lab/", "our lab/tiny", "a/b/c"]
)
def test_name_that_is_neither_folder_nor_hub_id_is_refused(name):
    message = refusal(name)
    assert repr(name) in message
    assert "is not a folder, not a hub id" in message


def test_file_is_no_model_folder(folder):
    assert "is not a folder" in refusal(folder / "config.json")


def test_folder_without_any_model_is_refused(tmp_path):
    assert "holds no config.json" in refusal(tmp_path)


def test_configuration_that_is_no_json_is_refused(copy):
    (copy / "config.json").write_text("{not json")
    message = refusal(copy)
    assert str(copy) in message
    assert "config.json" in message


def test_unknown_kind_of_model_is_refused(copy):
    change_config(copy, model_type="unicorn", architectures=["UnicornForCausalLM"])
    message = refusal(copy)
    assert str(copy) in message
    assert "unicorn" in message


def test_architecture_that_cannot_be_hooked_is_refused(copy):
    """Known to transformers, not to TransformerLens."""
    change_config(copy, model_type="reformer", architectures=["ReformerModelWithLMHead"])
    message = refusal(copy)
    assert "reformer" in message
    assert "TransformerLens does not support" in message


def test_weights_of_another_shape_are_refused(copy):
    change_config(copy, intermediate_size=64)
    assert "weights" in refusal(copy)


@pytest.mark.parametrize("dtype", ["float64", "fp16", "BFLOAT16", ""])
def test_unknown_dtype_is_refused_with_the_choices(folder, dtype):
    message = refusal(folder, dtype=dtype)
    assert f"dtype {dtype!r}" in message
    assert "auto, float32, bfloat16, float16" in message


@pytest.mark.parametrize("device", ["warp", "cuda:99", "cpu:cpu", ""])
def test_device_that_is_not_here_is_refused_with_the_choices(folder, device):
    message = refusal(folder, device=device)
    assert f"device {device!r}" in message
    assert "auto, cpu" in message


def test_remote_code_runs_only_when_asked_for(copy, tmp_path, monkeypatch):
    """The checkpoint's own code leaves a mark, so the refusal is not for want of code.

    Its classes are its own: transformers marks the classes that it loads this way, and a marked
    Qwen3ForCausalLM could not be saved by the tests that follow.
    """
    mark = tmp_path / "mark"
    change_config(
        copy,
        model_type="mine",
        auto_map={"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"},
    )
    (copy / "mine.py").write_text(
        "from transformers import Qwen3Config, Qwen3ForCausalLM\n"
        f"open({str(mark)!r}, 'w').close()\n"
        "class Config(Qwen3Config): model_type = 'mine'\n"
        "class Model(Qwen3ForCausalLM): config_class = Config\n"
    )
    monkeypatch.setattr("builtins.input", lambda prompt="": "n")
    message = refusal(copy)
    assert "never run unless asked for" in message
    assert "\n" not in message
    assert not mark.exists()
    el.load(copy, trust_remote_code=True)
    assert mark.exists()


def test_revision_of_a_folder_follows_its_files(folder, copy):
    assert info(el.load(copy)).revision == info(el.load(folder)).revision
    change_config(copy, rms_norm_eps=1e-5)
    assert info(el.load(copy)).revision != info(el.load(folder)).revision


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer.json", ""),
        ("tokenizer.json", "[]"),
        ("tokenizer.json", "[" * 99_999),
        ("tokenizer_config.json", "[]"),
        ("added_tokens.json", "[]"),
        ("special_tokens_map.json", "[1]"),
        ("chat_template.json", "[]"),
        ("chat_template.json", '{"template": ""}'),
        ("generation_config.json", "[]"),
        ("config.json", "[]"),
        ("config.json", "[" * 99_999),
    ],
)
def test_broken_file_beside_the_weights_is_one_sentence(copy, file, content):
    if file == "chat_template.json":
        (copy / "chat_template.jinja").unlink()
    (copy / file).write_text(content)
    message = refusal(copy)
    assert str(copy) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "error", [ImportError("needs torchvision"), AttributeError("no layers"), RuntimeError("shape")]
)
def test_model_that_cannot_be_wrapped_is_one_sentence(folder, monkeypatch, error):
    """As Qwen's models of text and pictures without torchvision."""

    def fails(*args, **options):
        raise error

    monkeypatch.setattr("entangle_lens.models.loading.build_bridge_from_module", fails)
    assert str(error) in refusal(folder)


@pytest.mark.parametrize("named", [False, True])
def test_template_kept_in_a_file_of_its_own_is_found(copy, named):
    """Where older multimodal repositories keep it; transformers reads it for a processor only."""
    template = (copy / "chat_template.jinja").read_text()
    (copy / "chat_template.jinja").unlink()
    assert info(el.load(copy)).tokenizer.chat_template is None
    kept = [{"name": "default", "template": template}] if named else template
    (copy / "chat_template.json").write_text(json.dumps({"chat_template": kept}))
    found = info(el.load(copy)).tokenizer.chat_template
    assert found == ({"default": template} if named else template)


def test_template_of_the_tokenizer_comes_before_one_in_a_file_of_its_own(copy):
    (copy / "chat_template.json").write_text(json.dumps({"chat_template": "another"}))
    template = (copy / "chat_template.jinja").read_text()
    assert info(el.load(copy)).tokenizer.chat_template == template
