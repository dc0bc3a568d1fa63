"""``entangle-lens repair``: the checkpoint it writes, what it says of it, and what it refuses."""

import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import entangle_lens
from entangle_lens import cli
from entangle_lens.directions import Direction, Quality
from entangle_lens.entanglement.checkpoint_basis import Removable, RepairChoice
from entangle_lens.entanglement.checkpoint_costs import Costs
from entangle_lens.export import save_directions
from entangle_lens.models import info, load, load_plain
from entangle_lens.results import repair_checkpoint

ORGANISMS = Path(entangle_lens.__file__).parent / "data/organisms"
ENTANGLED, DISENTANGLED = "organism:qwen3-entangled", "organism:qwen3-disentangled"
PAIRS = ("moral_grammar", "moral_economic")
PLAINLY = """
import sys, torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
AutoTokenizer.from_pretrained(folder)
with torch.inference_mode():
    save_file({"logits": model(input_ids=torch.arange(5, 25)[None]).logits.contiguous()}, out)
assert "entangle_lens" not in sys.modules
"""


def run(*args):
    """Run ``entangle-lens repair`` in this process; return exit code, out, err."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(sys, "argv", ["entangle-lens", "repair", *map(str, args)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main()
                code = 0
            except SystemExit as stop:
                code = stop.code or 0
    return code, out.getvalue(), err.getvalue()


def refused(result, *parts):
    """Check for exit code 2, no result, and one sentence that holds all ``parts``."""
    code, out, err = result
    said = [line for line in err.splitlines() if line.startswith("entangle-lens: ")]
    assert (code, out) == (2, ""), err
    assert len(said) == 1, err
    assert "Traceback" not in err
    for part in parts:
        assert part in said[0]


def measured(folder):
    return json.loads((folder / "repair.json").read_text())["measured"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The default organism repaired: its folder and what was printed."""
    out = tmp_path_factory.mktemp("repair") / "deep" / "repaired"
    code, printed, err = run("--quick", "--method", "grammar", "--layer", 3, "--out", out)
    assert code == 0, err
    return out, printed


@pytest.fixture
def copy(written, tmp_path):
    """A repaired checkpoint that a test may break."""
    return shutil.copytree(written[0], tmp_path / "copy")


@pytest.fixture(scope="module")
def about():
    return info(load(ENTANGLED))


@pytest.fixture
def saved(about, tmp_path):
    """Save a random direction at each layer asked for; return the file."""

    def save(*layers, **provenance):
        known = {"model": about.name, "revision": about.revision, **provenance}
        made = torch.Generator().manual_seed(0)
        directions = [
            Direction(
                "moral", "economic", layer, torch.randn(about.d_model, generator=made),
                torch.zeros(about.d_model), Quality(0.5, 0.0, 0.0), "drawn at random", known,
            )
            for layer in layers
        ]  # fmt: skip
        return save_directions(tmp_path / "d.safetensors", directions)

    return save


def test_both_leaks_fall_and_the_cost_is_said(written):
    folder, printed = written
    for pair in PAIRS:
        numbers = measured(folder)["pairs"][pair]
        assert numbers["before"]["leak"] > 0.4
        assert abs(numbers["after"]["leak"]) < 0.4 * numbers["before"]["leak"]
        assert numbers["after"]["accuracy"] > numbers["before"]["accuracy"]
        shown = f"{numbers['before']['leak']:.2f} -> {numbers['after']['leak']:.2f}"
        assert shown in next(line for line in printed.splitlines() if line.startswith(pair))
    assert "the moral ratings are lost" in printed
    assert "Validation" not in printed
    assert printed.rstrip().endswith(f"checkpoint: {folder}")


def test_random_direction_repairs_nothing_and_fails_validation(saved, tmp_path):
    out = tmp_path / "random"
    code, printed, err = run("--quick", "--direction", saved(2), "--out", out)
    assert code == 0, err
    assert all(measured(out)["pairs"][pair]["after"]["leak"] > 0.35 for pair in PAIRS)
    assert "More than half of the leak of moral_grammar is left." in printed
    assert "Validation on held-out pairs failed: the direction is not valid at layer 2" in printed
    assert "the moral ratings are" not in printed
    assert "drawn at random" in (out / "README.md").read_text()


def test_card_has_the_numbers_of_the_checkpoint_which_are_those_of_the_hooks(written):
    folder, _ = written
    card = (folder / "README.md").read_text()
    for pair, states in measured(folder)["pairs"].items():
        secondary = pair.removeprefix("moral_")
        row = f"| r(moral level, {secondary} rating), this model | {states['after']['leak']:.4g} |"
        assert row in card
        assert states["after"] == pytest.approx(states["hooks"], abs=0.02)
        assert states["after"] != pytest.approx(states["before"], abs=0.1)
    assert "the moral ratings are lost" in card
    assert str(folder.parent) not in card + (folder / "repair.json").read_text()


def test_checkpoint_loads_in_a_process_without_this_package(written, tmp_path):
    folder, _ = written
    subprocess.run(
        [sys.executable, "-c", PLAINLY, str(folder), str(tmp_path / "out")],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    said = load_file(tmp_path / "out")["logits"]
    ids = torch.arange(5, 25)[None]
    with torch.inference_mode():
        own, original = (
            load_plain(name, dtype="float32").eval()(input_ids=ids).logits
            for name in (folder, ENTANGLED)
        )
    assert torch.allclose(said, own, atol=1e-5)
    assert not torch.allclose(said, original, atol=0.1)


def test_verify_finds_the_card_true(written):
    code, out, err = run("--verify", written[0])
    assert code == 0, err
    assert "the repair holds" in out
    assert "as the card says, within 0.01" in out


def test_verify_notices_a_matrix_put_back(copy):
    name = "model.layers.1.self_attn.o_proj.weight"
    weights = load_file(copy / "model.safetensors")
    original = load_file(ORGANISMS / "qwen3-entangled/model.safetensors")
    save_file({**weights, name: original[name]}, copy / "model.safetensors", {"format": "pt"})
    code, out, _ = run("--verify", copy)
    assert code == 1
    assert (
        f"the repair does NOT hold: of 13 tensors that write to the residual stream, {name}" in out
    )


def test_verify_notices_another_number_on_the_card(copy):
    path = copy / "repair.json"
    facts = json.loads(path.read_text())
    facts["measured"]["pairs"]["moral_economic"]["after"]["leak"] = 0.3
    path.write_text(json.dumps(facts))
    code, out, _ = run("--verify", copy)
    assert code == 1
    assert "the repair holds" in out
    assert "NOT as the card says: leak of moral_economic: the card says 0.30" in out


def test_verify_wants_the_stimuli_of_the_card(copy, tmp_path):
    refused(run("--verify", copy, "--stimuli", "goods"), "sha256", "holds others")
    (copy / "stimuli").rename(tmp_path / "elsewhere")
    refused(run("--verify", copy), "neither beside", "--stimuli")
    assert run("--verify", copy, "--stimuli", tmp_path / "elsewhere")[0] == 0


def test_verify_says_what_it_cannot_read(copy, tmp_path):
    refused(run("--verify", ORGANISMS / "qwen3-entangled"), "holds no repair.json")
    refused(run("--verify", tmp_path / "nowhere"), "holds no repair.json")
    path = copy / "repair.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "measured": {"stimuli": "goods"}}))
    refused(run("--verify", copy), "the measurement in repair.json cannot be read")
    del facts["measured"]
    path.write_text(json.dumps(facts))
    code, out, _ = run("--verify", copy)
    assert code == 0
    assert "the card holds no ratings" in out


def test_model_that_is_not_entangled_is_refused_unless_asked(tmp_path):
    args = [DISENTANGLED, "--quick", "--layer", 2, "--out", tmp_path / "deep/out"]
    refused(run(*args), "not judged entangled", "nothing to repair", "--anyway")
    assert list(tmp_path.iterdir()) == []
    code, out, err = run(*args, "--anyway")
    assert code == 0, err
    assert "the moral ratings are" in out
    assert (tmp_path / "deep/out/model.safetensors").exists()


BAD = {
    "method": (["--method", "magic"], ["'magic'", "pooled, moral, grammar, economic, subspace"]),
    "layer": (["--layer", "99"], ["99", "0 to 5"]),
    "direction file": (["--direction", "none"], ["no such file: 'none'"]),
    "model": (["no/such-model"], ["no/such-model"]),
    "organism": (["organism:unicorn"], ["unicorn"]),
    "seed": (["--seed", "-1"], ["-1"]),
    "scale": (["--scale", "nine"], ["nine"]),
    "dtype": (["--dtype", "float7"], ["float7"]),
    "stimuli": (["--stimuli", "no-such-table"], ["no-such-table"]),
    "option": (["--methods", "pooled"], ["--methods"]),
    "verify and out": (["--verify", "here"], ["leave --out out"]),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_gets_one_sentence_and_nothing_is_written(tmp_path, what):
    args, parts = BAD[what]
    refused(run("--quick", "--out", tmp_path / "deep/mine", *args), *parts)
    assert list(tmp_path.iterdir()) == []


def test_directions_that_will_not_do_are_refused(saved, tmp_path):
    out = ["--out", tmp_path / "mine", "--direction"]
    refused(run(*out, saved(1, 2)), "layers 1, 2", "--layer")
    refused(run(*out, saved(1, 2), "--layer", 3), "no direction at layer 3", "1, 2")
    refused(run(*out, saved(1), "--method", "pooled"), "'pooled'", "one of them")
    refused(run(*out, saved(1, model="other", revision="r")), "fitted on 'other'")
    assert not (tmp_path / "mine").exists()


def test_folders_that_will_not_do_are_refused(written, tmp_path):
    refused(run(), "no --out")
    (tmp_path / "file").write_text("precious")
    refused(run("--out", tmp_path / "file"), "is a file")
    refused(run("--out", tmp_path / "file" / "in"), "cannot be written", "Not a directory")
    refused(run("--out", tmp_path), "not empty")
    refused(run(written[0], "--out", written[0] / "in"), "lies in the source folder")
    refused(run(written[0], "--out", tmp_path / "twice"), "is a repaired checkpoint")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "precious"


def test_failure_after_writing_leaves_nothing(tmp_path, monkeypatch):
    removable = Removable("moral", ("economic",), 2, "a test", 1.0, True, torch.eye(128)[:1])
    nothing = Costs({}, 0.0, 1.0)
    decided = repair_checkpoint._Decided(
        ENTANGLED, "r", "float32", RepairChoice(removable, {}), nothing, nothing, None
    )
    monkeypatch.setattr(repair_checkpoint, "_decide", lambda *_: decided)

    def fail(*_, **__):
        (stage,) = (tmp_path / "mine").glob("*partial*")
        assert (stage / "model.safetensors").exists()
        raise entangle_lens.EntangleError("out of luck")

    monkeypatch.setattr(repair_checkpoint, "measure_costs", fail)
    code, out, err = run("--quick", "--out", tmp_path / "mine")
    assert code == 2
    assert "removed: moral, a test under economic, layer 2" in out  # said before writing
    assert "checkpoint: " not in out
    assert err.splitlines()[-1] == "entangle-lens: out of luck"
    assert list(tmp_path.iterdir()) == []
