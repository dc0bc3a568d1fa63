"""Loading: hub ids and folders take one path, and every mistake gets one sentence."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

import entangle_lens as el
from entangle_lens.models import info, load_plain

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tiny_folder):
    return tiny_folder("qwen3")


def test_model_knows_where_it_came_from(folder):
    about = info(el.load(folder))
    assert about.name == folder.name
    assert (about.n_layers, about.d_model, about.dtype) == (4, 128, "float32")
    assert about.architecture == "Qwen3ForCausalLM"
    assert about.stimuli is None
    assert info(el.load()).stimuli.name == "stimuli"


def test_bridge_and_plain_model_share_their_parameters(folder):
    model = el.load(folder)
    plain = {value.data_ptr() for value in info(model).plain.parameters()}
    assert plain <= {value.data_ptr() for value in model.parameters()}


def test_dtype_is_what_was_asked_for(folder):
    assert {p.dtype for p in el.load(folder, dtype="bfloat16").parameters()} == {torch.bfloat16}
    assert {p.dtype for p in el.load(folder).parameters()} == {torch.float32}


def test_hub_id_takes_the_same_path(folder, tmp_path):
    """A hub cache as the hub client lays it out, in a process that may not touch the network."""
    repository = tmp_path / "hub/models--our-lab--tiny-qwen"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(folder, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    code = (
        "import json, entangle_lens as el, torch; from entangle_lens.models import info;"
        "m = el.load('our-lab/tiny-qwen'); a = info(m);"
        "print(json.dumps([a.name, a.revision, float(m(torch.arange(1, 9)[None]).sum())]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    name, revision, total = json.loads(done.stdout.splitlines()[-1])
    assert (name, revision) == ("our-lab/tiny-qwen", COMMIT)
    assert total == pytest.approx(float(el.load(folder)(torch.arange(1, 9)[None]).sum()), rel=1e-5)


def without(folder, tmp_path, *names):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for name in names:
        (copy / name).unlink()
    return copy


def test_folder_without_tokenizer_is_refused(folder, tmp_path):
    broken = without(folder, tmp_path, "tokenizer.json", "tokenizer_config.json")
    with pytest.raises(el.EntangleError, match="tokenizer"):
        el.load(broken)


def test_folder_without_weights_is_refused(folder, tmp_path):
    with pytest.raises(el.EntangleError, match="weights"):
        el.load(without(folder, tmp_path, "model.safetensors"))


def test_folder_without_config_is_refused(folder, tmp_path):
    with pytest.raises(el.EntangleError, match=r"config\.json"):
        el.load(without(folder, tmp_path, "config.json"))


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("./nowhere", {}, ["nowhere"]),
        ("organism:unicorn", {}, ["unicorn", "qwen3-entangled"]),
        (None, {"dtype": "float7"}, ["float7", "bfloat16"]),
        (None, {"device": "warp"}, ["warp"]),
    ],
)
def test_bad_names_are_refused_with_the_choices(folder, name, options, parts):
    with pytest.raises(el.EntangleError) as refused:
        el.load(name or folder, **options)
    message = str(refused.value)
    assert "\n" not in message
    assert all(part in message for part in parts)


def test_remote_code_is_never_run_unless_asked_for(folder, tmp_path):
    """A checkpoint whose own code would leave a mark."""
    copy = without(folder, tmp_path)
    config = json.loads((copy / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}
    config["model_type"] = "mine"
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "mine.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w').write('ran')\n")
    with pytest.raises(el.EntangleError):
        el.load(copy)
    assert not (tmp_path / "mark").exists()


def test_plain_model_is_the_same_checkpoint(folder):
    tokens = torch.arange(1, 9)[None]
    with torch.no_grad():
        logits = load_plain(folder)(tokens).logits
    torch.testing.assert_close(el.load(folder)(tokens), logits, atol=1e-4, rtol=0)
