"""The command line: what a newcomer types, and what a mistake gets."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import entangle_lens
from entangle_lens import cli

ORGANISM = Path(entangle_lens.__file__).parent / "data/organisms/qwen3-entangled"
GOODS = Path(entangle_lens.__file__).parent / "data/stimuli/goods"


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run the command line in this process, in an empty folder; return exit code, out, err."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["entangle-lens", *map(str, args)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def refused(result, *parts):
    """Check for exit code 2 and one sentence, without traceback, that holds all ``parts``."""
    code, out, err = result
    sentence = [line for line in err.splitlines() if line.startswith("entangle-lens: ")]
    assert code == 2, err
    assert len(sentence) == 1, err
    assert "Traceback" not in err
    assert "report:" not in out
    for part in parts:
        assert part in sentence[0]


def test_help_answers_at_once():
    def seconds():
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", "from entangle_lens.cli import main; main()", "--help"],
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.5


def test_run_writes_a_report_and_says_where(command, tmp_path):
    code, out, err = command("run", "--quick", "--layers", "1-2", "--out", "mine")
    assert code == 0, err
    assert out.rstrip().endswith("report: mine/report.html")
    assert "moral_grammar" in out
    assert "entangled" in out
    manifest = json.loads((tmp_path / "mine/manifest.json").read_text())
    assert manifest["layers"] == [1, 2]
    refused(command("run", "--quick", "--out", "mine"), "mine", "holds another run")


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["no/such-model"], ["no/such-model"]),
        (["./no-such-folder"], ["no-such-folder"]),
        (["organism:unicorn"], ["unicorn", "qwen3-entangled"]),
        (["--layers", "99"], ["99", "0 to 5"]),
        (["--layers", "most"], ["most", "4-12"]),
        (["--scale", "nine"], ["nine", "LOW:HIGH"]),
        (["--dtype", "float7"], ["float7", "bfloat16"]),
        (["--device", "warp"], ["warp"]),
        (["--seed", "-1"], ["-1"]),
        (["--stimuli", "no-such-table"], ["no-such-table", "goods"]),
        (["--sed", "1"], ["--sed"]),
    ],
)
def test_run_refuses_bad_input_with_one_sentence(command, tmp_path, args, parts):
    refused(command("run", "--quick", "--out", "mine", *args), *parts)
    assert list(tmp_path.iterdir()) == []


def test_run_refuses_a_model_without_tokenizer(command, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(ORGANISM, broken)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (broken / name).unlink()
    refused(command("run", "broken", "--out", "mine"), "broken", "tokenizer")
    assert not (tmp_path / "mine").exists()


def test_run_refuses_a_folder_with_other_files(command, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("precious")
    refused(command("run", "--out", "mine"), "mine", "not empty")
    assert (tmp_path / "mine/thesis.tex").read_text() == "precious"


def spoil(folder, table, edit):
    frame = pd.read_csv(folder / f"{table}.csv")
    edit(frame).to_csv(folder / f"{table}.csv", index=False)


SPOILS = {
    "missing column": ("items", lambda t: t.drop(columns="text"), ["items", "text"]),
    "duplicated id": (
        "items",
        lambda t: t.assign(item_id=[t["item_id"][0], t["item_id"][0], *t["item_id"][2:]]),
        ["items", "item_id"],
    ),
    "empty text": ("items", lambda t: t.assign(text=["", *t["text"][1:]]), ["items", "text"]),
    "unknown level": ("items", lambda t: t.assign(moral=[7, *t["moral"][1:]]), ["items", "moral"]),
}


@pytest.mark.parametrize("what", SPOILS)
def test_run_and_check_refuse_bad_stimuli(command, tmp_path, what):
    table, edit, parts = SPOILS[what]
    shutil.copytree(GOODS, tmp_path / "tables")
    code, out, _ = command("stimuli", "check", "tables")
    assert code == 0
    assert "sound" in out
    spoil(tmp_path / "tables", table, edit)
    code, _, err = command("stimuli", "check", "tables")
    assert code == 2
    assert all(part in err for part in parts)
    refused(command("run", "--stimuli", "tables", "--out", "mine"), *parts)
    assert not (tmp_path / "mine").exists()


def test_run_without_network_says_what_it_needs():
    """A real process, since what transformers decides about the network it decides at import."""
    done = subprocess.run(
        [sys.executable, "-c", "from entangle_lens.cli import main; main()", "run", "org/name"],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    assert done.returncode == 2
    assert "org/name" in done.stderr
    assert "Traceback" not in done.stderr


def test_organism_list_names_the_six(command):
    code, out, _ = command("organism", "list")
    names = out.split()
    assert code == 0
    assert names == [
        f"organism:{family}-{kind}"
        for family in ("gemma3", "mistral", "qwen3")
        for kind in ("disentangled", "entangled")
    ]


def test_doctor_finds_the_bundled_organism_well(command):
    code, out, err = command("doctor")
    assert code == 0, err
    assert "FAIL" not in out
    assert out.count("ok") >= 5


def test_doctor_that_finds_a_difference_ends_with_exit_code_one(command, monkeypatch):
    import entangle_lens.entanglement.doctor as room

    monkeypatch.setitem(room.TOLERANCE, "float32", 1e-12)
    code, out, _ = command("doctor")
    assert code == 1
    assert "FAIL" in out


@pytest.mark.parametrize("args", [["--help"], [], ["run", "--help"], ["organism", "--help"]])
def test_help_is_shown_and_is_no_error_message(command, args):
    _, out, err = command(*args)
    assert "Usage: " in out + err
    assert "entangle-lens: " not in err
