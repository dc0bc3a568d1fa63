"""The command line refuses early, stops cleanly, and says what it found before it saves."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import entangle_lens as el
from entangle_lens import cli
from entangle_lens.cli.app import in_options
from entangle_lens.entanglement.design import Design
from entangle_lens.results import summary

PACKAGE = Path(el.__file__).parent
ORGANISM = PACKAGE / "data/organisms/qwen3-entangled"
ENDLESS = "0-99999999999"
LONG = "x" * 300


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command line; loading a model, training and any work fail the test."""

    def work(*_, **__):
        pytest.fail("work was done")

    for home in ("models.loading.open_checkpoint", "organisms.train._train"):
        monkeypatch.setattr(f"entangle_lens.{home}", work)
    monkeypatch.setattr("entangle_lens.results.panel._read", work)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["entangle-lens", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


def refused(result, *parts):
    code, out, err = result
    assert (code, out) == (2, ""), err
    assert err.startswith("entangle-lens: ")
    assert err.count("\n") == 1, err
    for part in parts:
        assert part in err


WRONG = {
    "layers": (["--layers", "99"], ["layer 99 is out of range", "0 to 5"]),
    "layers without end": (["--layers", ENDLESS], [ENDLESS, "10,000"]),
    "scale": (["--scale", "nine"], ["nine", "LOW:HIGH"]),
    "dtype": (["--dtype", "float7"], ["float7", "bfloat16"]),
    "device": (["--device", "warp"], ["warp", "auto, cpu"]),
    "device without numbers": (["--device", "meta"], ["meta", "auto, cpu"]),
    "seed": (["--seed", "-1"], ["-1"]),
    "stimuli": (["--stimuli", "nowhere"], ["nowhere", "goods"]),
    "long stimuli": (["--stimuli", LONG], ["is neither a folder nor a bundled name"]),
    "budget": (["--budget", "0"], ["budget 0 ", "minutes"]),
    "budget that is no number": (["--budget", "nan"], ["budget nan", "minutes"]),
    "revision": (["--revision", "main"], ["no revisions"]),
    "out": (["--out", "file"], ["is a file"]),
    "out with a long name": (["--out", LONG], ["File name too long"]),
    "polarity": (["--polarity", "up"], ["up", "ascending", "descending"]),
}
NOT_OF = {
    "repair": {"layers", "layers without end", "budget", "budget that is no number", "polarity"},
    "doctor": set(WRONG) - {"dtype", "device", "device without numbers"},
}


APPLY = [
    (what, name)
    for what in WRONG
    for name in ("run", "repair", "doctor")
    if what not in NOT_OF.get(name, ())
]


@pytest.mark.parametrize(("what", "name"), APPLY)
def test_wrong_arguments_are_refused_before_the_model_is_loaded(command, tmp_path, name, what):
    (tmp_path / "file").write_text("")
    out = ["--out", "mine"] if name == "repair" and "--out" not in WRONG[what][0] else []
    args, parts = WRONG[what]
    refused(command(name, *out, *args), *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["run", "doctor", "repair"])
@pytest.mark.parametrize("model", [LONG, f"./{LONG}", "./nowhere", "organism:unicorn", "no tags"])
def test_models_that_cannot_be_are_refused_before_torch(command, tmp_path, name, model):
    out = [] if name == "doctor" else ["--out", "mine"]
    refused(command(name, model, *out), "model" if "organism" not in model else "organism")
    assert list(tmp_path.iterdir()) == []


def test_one_problem_is_counted_as_one(command, tmp_path):
    shutil.copytree(ORGANISM / "stimuli", tmp_path / "mine")
    (tmp_path / "mine/items.csv").unlink()
    code, out, err = command("stimuli", "check", "mine")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "entangle-lens: stimuli 'mine' have 1 problem, listed above"


def test_layers_of_a_folder_are_counted_from_its_configuration(command, tmp_path):
    shutil.copytree(ORGANISM, tmp_path / "mine")
    refused(command("run", "mine", "--layers", "4-6"), "layer 6 is out of range", "0 to 5")
    refused(command("repair", "mine", "--layer", "6", "--out", "out"), "layer 6 is out of range")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


TRAIN = {
    "seed": (["--seed", "-5"], "seed -5"),
    "huge seed": (["--seed", "9" * 30], "was expected"),
    "family": (["--family", "gpt9"], "the families are qwen2"),
    "leak": (["--grammar", "7"], "outside 0 to 1.5"),
    "no number": (["--economic", "nan"], "outside 0 to 1.5"),
    "file": (["--out", "file"], "is a file"),
    "in a file": (["--out", "file/in"], "Not a directory"),
    "in use": (["--out", "used"], "is not empty"),
    "long": (["--out", LONG], "File name too long"),
}


@pytest.mark.parametrize("what", TRAIN)
def test_organisms_that_cannot_be_are_refused_before_training(command, tmp_path, what):
    (tmp_path / "file").write_text("")
    (tmp_path / "used").mkdir()
    (tmp_path / "used/thesis.tex").write_text("precious")
    args, part = TRAIN[what]
    out = [] if "--out" in args else ["--out", "made"]
    refused(command("organism", "train", *out, *args), part)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "used"]


EMPTY = [
    ["run", ""],
    ["run", "--stimuli", ""],
    ["run", "--stimuli="],
    ["run", "--out", ""],
    ["run", "--revision", " "],
    ["repair", "", "--out", "mine"],
    ["repair", "--out", "", "--quick"],
    ["repair", "--out", "mine", "--stimuli", ""],
    ["repair", "--verify", ""],
    ["repair", "--direction", "", "--out", "mine"],
    ["doctor", ""],
    ["multiverse", ""],
    ["ratings", ""],
    ["ratings", "m.csv", "--human", ""],
    ["ratings", "m.csv", "--moral", ""],
    ["stimuli", "check", ""],
    ["organism", "train", "--out", ""],
]


@pytest.mark.parametrize("args", EMPTY, ids=" ".join)
def test_empty_arguments_do_not_mean_the_default(command, tmp_path, args):
    refused(command(*args), "empty argument")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["a\0b", LONG])
@pytest.mark.parametrize(
    "args",
    [
        ["stimuli", "check"],
        ["multiverse"],
        ["repair", "--verify"],
        ["repair", "--out", "mine", "--direction"],
        ["ratings", "m.csv", "--out"],
        ["organism", "train", "--out"],
    ],
    ids=" ".join,
)
def test_names_that_no_file_can_have_are_one_sentence(command, tmp_path, args, word):
    refused(command(*args, word))
    assert list(tmp_path.iterdir()) == []


def test_refusals_cost_no_torch(tmp_path):
    """In a process of its own: all commands, one after the other."""
    lines = [
        ["run", "--layers", "99"],
        ["run", "--layers", ENDLESS],
        ["run", "--device", "meta"],
        ["run", "--stimuli", "nowhere"],
        ["run", "--scale", "nine"],
        ["repair", "--out", "mine", "--dtype", "float7"],
        ["repair", "--out", "mine", "--scale", "nine"],
        ["doctor", "./nowhere"],
        ["multiverse", "nowhere"],
        ["ratings", "nowhere.csv", "--seed", "-1"],
        ["organism", "train", "--out", "mine", "--seed", "-5"],
        ["organism", "train", "--out", str(Path(__file__))],
    ]
    code = f"""
import sys
from entangle_lens.cli import main
for line in {lines!r}:
    sys.argv = ["entangle-lens", *line]
    try:
        main()
    except SystemExit as stop:
        assert stop.code == 2, line
    assert "torch" not in sys.modules, line
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == len(lines)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def measured(monkeypatch):
    """Let ``run`` measure nothing; return what el.study was given."""
    given = {}

    def study(model, stimuli, **options):
        given.update(options, stimuli=stimuli)
        return SimpleNamespace(
            plan=lambda: "a plan",
            run=lambda **_: given.get("running", lambda: None)(),
            findings=SimpleNamespace(cost="a cost"),
            save=lambda folder: given["saving"](folder),
        )

    given["saving"] = lambda folder: folder / "report.html"
    monkeypatch.setattr(el, "load", lambda *_, **__: None, raising=False)
    monkeypatch.setattr(el, "study", study, raising=False)
    monkeypatch.setattr(summary, "headline_text", lambda findings: "the verdict")
    return given


def test_verdict_is_printed_before_saving(command, measured):
    def fail(folder):
        raise el.EntangleError("the disk is full")

    measured["saving"] = fail
    code, out, err = command("run", "--out", "mine")
    assert (code, err) == (2, "entangle-lens: the disk is full\n")
    assert out.splitlines() == ["plan: a plan", "the verdict", "", "a cost"]


def test_polarity_and_budget_reach_the_study(command, measured):
    code, out, err = command("run", "--polarity", "ascending", "--budget", "7.5")
    assert (code, err) == (0, "")
    assert (measured["polarity"], measured["budget"]) == ("ascending", 7.5)
    assert re.search(r"report: runs/organism-qwen3-entangled-\d{8}-\d{6}/report.html", out)
    assert command("run")[0] == 0
    assert (measured["polarity"], measured["budget"]) == ("both", None)


def test_default_folder_is_named_by_the_model_and_not_by_where_it_lies(command, measured, tmp_path):
    shutil.copytree(ORGANISM, tmp_path / "secret/my model")
    _, out, _ = command("run", tmp_path / "secret/my model")
    assert re.search(r"report: runs/my-model-\d{8}-\d{6}/report.html", out)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_stop_with_a_sentence_and_leave_nothing(command, measured, tmp_path, number, code):
    held = []

    def stop():
        held.extend(path.name for path in (tmp_path / "mine").iterdir())
        os.kill(os.getpid(), number)

    measured["running"] = stop
    before = signal.getsignal(number)
    result = command("run", "--out", "mine")
    assert result[0] == code
    assert result[2] == "entangle-lens: stopped; nothing was written\n"
    assert held == [".entangle-lens.lock"]
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is before


def test_stop_while_the_page_is_written_says_what_is_kept(command, measured, tmp_path):
    from entangle_lens.results.staging import save_results

    def save(folder):
        return save_results(
            folder,
            lambda stage: (stage / "manifest.json").write_text("{}"),
            "report.html",
            lambda: os.kill(os.getpid(), signal.SIGTERM),
        )

    measured["saving"] = save
    code, out, err = command("run", "--out", "mine")
    assert code == 143
    assert "the verdict" in out
    assert "stopped; report.html was not written; all else is in" in err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["manifest.json"]


def test_error_of_the_file_system_is_one_sentence(command, measured):
    def fail(folder):
        raise OSError(5, "Input/output error", "disk/file")

    measured["saving"] = fail
    code, _, err = command("run", "--out", "mine")
    assert (code, err) == (2, "entangle-lens: 'disk/file': Input/output error\n")


def test_repair_tells_what_it_found_before_it_writes(monkeypatch, tmp_path, capsys):
    import torch

    from entangle_lens.entanglement.checkpoint_basis import Removable, RepairChoice
    from entangle_lens.entanglement.checkpoint_costs import Costs
    from entangle_lens.results import repair_checkpoint

    removable = Removable("moral", ("economic",), 2, "a test", 1.0, True, torch.eye(128)[:1])
    nothing = Costs({}, 0.0, 1.0)
    decided = repair_checkpoint._Decided(
        "m", "r", "float32", RepairChoice(removable, {}), nothing, nothing, None
    )
    monkeypatch.setattr(repair_checkpoint, "_decide", lambda *_: decided)
    monkeypatch.setattr(repair_checkpoint.Loading, "load", lambda *_: None)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(repair_checkpoint, "orthogonalise_checkpoint", full)
    monkeypatch.setattr(sys, "argv", ["entangle-lens", "repair", "--out", str(tmp_path / "mine")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert "before anything is written" in shown.out
    assert "removed: moral, a test under economic, layer 2" in shown.out
    assert "cannot be written (No space left on device)" in shown.err
    assert list(tmp_path.iterdir()) == []


OPTION = re.compile(r"(?<![\w-])--[a-z]")


def option_words(source):
    """Return the texts that name an option: no docstrings, and no whole command lines."""
    nodes = list(ast.walk(ast.parse(source)))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
        and OPTION.search(node.value)
        and "entangle-lens " not in node.value
    ]


def test_library_speaks_of_arguments_and_not_of_options():
    modules = [path for path in PACKAGE.rglob("*.py") if "cli" not in path.parts]
    assert {path.name: option_words(path.read_text()) for path in modules} == {
        path.name: [] for path in modules
    }
    assert option_words("say(f'give {x} with --out')")  # the control
    assert not option_words("say('entangle-lens run --quick')")


@pytest.mark.parametrize(
    ("args", "sentence", "said"),
    [
        (["repair"], "choose one with layer=...", "choose one with --layer"),
        (["repair"], "anyway=True does it all the same", "--anyway does it all the same"),
        (["repair"], "give them with stimuli=...", "give them with --stimuli"),
        (["run"], "anyway=True is no option here", "anyway=True is no option here"),
    ],
)
def test_sentences_of_the_library_name_the_options_of_the_command(
    monkeypatch, args, sentence, said
):
    monkeypatch.setattr(sys, "argv", ["entangle-lens", *args])
    assert in_options(sentence) == said


def test_results_name_a_model_and_not_where_it_lies(tiny_folder, mini_study):
    from entangle_lens.models import info
    from entangle_lens.results.run_folder import make_manifest

    folder = tiny_folder("qwen3")
    stimuli = mini_study().stimuli
    for name in (folder, f"{folder}/", os.path.relpath(folder)):
        about = info(el.load(name))
        assert about.name == folder.name
        assert str(folder.parent) not in str(make_manifest(about, stimuli, Design.make()))
    assert info(mini_study().model).name == "organism:qwen3-entangled"
