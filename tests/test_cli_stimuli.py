"""``entangle-lens stimuli check``: sizes, correlations of the levels, warnings and problems."""

import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

import entangle_lens
from entangle_lens import cli

GOODS = Path(entangle_lens.__file__).parent / "data/stimuli/goods"
CONFOUNDED = {1: (1, 2), 0: (2, 3), -1: (3, 4)}


@pytest.fixture
def check(monkeypatch, capsys, tmp_path):
    """Check a copy of the bundled stimuli after a change of one table; return code, out, err."""
    folder = shutil.copytree(GOODS, tmp_path / "tables")

    def run(change=None, table="items", name="tables"):
        path = folder / f"{table}.csv"
        if change is not None:
            change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["entangle-lens", "stimuli", "check", name])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_sound_design_is_described_and_not_warned_of(check):
    code, out, err = check()
    assert (code, err) == (0, "")
    assert "grammar: 144 items in 36 scenarios, r(moral level, grammar level) 0.00" in out
    assert "economic: 144 items in 36 scenarios, r(moral level, economic level) 0.00" in out
    assert "tables: sound (246 contrast pairs, 60 questions; sha256 " in out


def test_confounded_design_is_warned_of(check, tmp_path):
    def thin(items):
        levels = zip(items["set"], items["moral"], items["corruption"], strict=True)
        return items[[s == "moral_economic" or int(c) in CONFOUNDED[int(m)] for s, m, c in levels]]

    (tmp_path / "tables/covariates.csv").unlink()
    code, out, err = check(thin)
    assert code == 0
    assert "r(moral level, grammar level) 0.8" in out
    assert err.startswith("warning: the moral level and the grammar level of set moral_grammar")
    assert err.count("warning") == 1


@pytest.mark.parametrize(("rows", "said"), [([0], "have 1 problem,"), ([0, 1], "have 2 problems,")])
def test_all_problems_are_listed_and_counted(check, rows, said):
    def spoil(items):
        items.loc[rows, "text"] = ""
        return items

    code, out, err = check(spoil)
    assert code == 2
    assert out == ""
    assert err.count("column text: is empty") == len(rows)
    assert said in err


@pytest.mark.parametrize("letters", ["\x1b[2Jvil", "\x1b]0;pwn\x07"])
@pytest.mark.parametrize("where", ["column", "id", "folder"])
def test_nothing_in_a_file_or_its_name_steers_the_terminal(check, tmp_path, letters, where):
    def rename(items):
        return items.rename(columns={"text": letters})

    def repeat(items):
        items.loc[[0, 1], "item_id"] = letters
        return items

    change = {"column": rename, "id": repeat, "folder": None}[where]
    name = "tables"
    if where == "folder":
        name = letters
        (tmp_path / "tables").rename(tmp_path / name)
    code, out, err = check(change, name=name)
    assert code == (0 if where == "folder" else 2)
    assert "\x1b" not in out + err
    assert "\x07" not in out + err
    assert "\\x1b" in out + err


def test_empty_name_is_refused(check):
    code, _, err = check(name="")
    assert code == 2
    assert err.startswith("entangle-lens: an empty argument was given after check")
