"""A multiverse of run folders that somebody has edited: one sentence, before any work."""

import json
import sys
from itertools import product

import numpy as np
import pandas as pd
import pytest

import entangle_lens as el
from entangle_lens import cli
from entangle_lens.results import multiverse as rooms

ITEMS = [f"i{number}" for number in range(24)]
PROMPTS = list(product(["a", "b"], ["ascending", "descending"]))
LAYERS = (0, 1)
HALF = '"model": "\\ud800"'


def run_tables():
    """Tables as a study writes them, of one pair, two layers and numbers drawn at random."""
    rng = np.random.default_rng(0)
    n = len(ITEMS)
    items = {
        "item_id": ITEMS,
        "scenario_id": np.repeat([f"s{number}" for number in range(n // 2)], 2),
        "text": [f"i mended the lamp {'again ' * (number % 5)}." for number in range(n)],
        "tokens": np.arange(n) % 7 + 5,
        "moral": np.tile([-1.0, 0.0, 1.0], n // 3),
        "level": np.tile([-2.0, -1.0], n // 2),
        "covariate_frequency": rng.normal(size=n),
    }
    asked = pd.DataFrame(
        [
            {"item_id": item, "value": value, "paraphrase": one, "polarity": other}
            for value in ("moral", "grammar")
            for one, other in PROMPTS
            for item in ITEMS
        ]
    )
    read = asked.merge(pd.DataFrame({"position": ["last"] * 2, "layer": LAYERS}), how="cross")
    readouts = pd.DataFrame(
        {"position": "last", "readout": "projection", "layer": LAYERS, "auc": 0.95}
    ).assign(selected=[True, False])
    tables = {
        "items": pd.DataFrame(items),
        "ratings": asked.assign(rating=rng.normal(5, 1, len(asked))),
        "projections": read.assign(projection=rng.normal(size=len(read))),
        "readouts": readouts,
    }
    return {name: table.assign(pair="moral_grammar") for name, table in tables.items()}


@pytest.fixture
def run(tmp_path):
    """A run folder: tables, manifest, and a summary that says what the tables give."""
    folder = tmp_path / "run"
    (folder / "tables").mkdir(parents=True)
    tables = run_tables()
    for name, table in tables.items():
        table.to_parquet(folder / f"tables/{name}.parquet")
    means = tables["ratings"].groupby(["value", "item_id"])["rating"].mean()
    r = float(np.corrcoef(means["moral"], means["grammar"])[0, 1])
    summary = {"behaviour": {"moral_grammar": {"r": r}}}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "manifest.json").write_text(json.dumps({"model": "m", "stimuli": {}}))
    return folder


def edit(run, table, change):
    path = run / f"tables/{table}.parquet"
    change(pd.read_parquet(path)).to_parquet(path)


def test_control_an_unedited_folder_has_a_multiverse(run, monkeypatch):
    few = rooms.explore
    monkeypatch.setattr(rooms, "explore", lambda *args: few(*args, n_resamples=0, n_permutations=9))
    found = el.multiverse(run)
    assert len(found.summary()) == 2
    assert "covariate" in found.table()


TABLES = {
    "text is null": ("items", lambda t: t.assign(text=[None, *t["text"][1:]]), "'text'"),
    "text is a number": ("items", lambda t: t.assign(text=1.0), "'text'"),
    "tokens are text": ("items", lambda t: t.assign(tokens="many"), "'tokens'"),
    "tokens are lacking": ("items", lambda t: t.assign(tokens=np.nan), "'tokens'"),
    "covariate is text": ("items", lambda t: t.assign(covariate_frequency="x"), "covariate_freq"),
    "covariate is infinite": ("items", lambda t: t.assign(covariate_frequency=np.inf), "numbers"),
    "an item twice": ("items", lambda t: pd.concat([t, t[:1]]), "'i0' of moral_grammar twice"),
    "auc is text": ("readouts", lambda t: t.assign(auc="high"), "'auc'"),
    "layer is lacking": ("readouts", lambda t: t.assign(layer=np.nan), "'layer'"),
    "selected is text": ("readouts", lambda t: t.assign(selected="no"), "'selected'"),
    "readouts are cut": ("readouts", lambda t: t[:0], "every readout"),
    "readouts are unknown": ("readouts", lambda t: t.assign(readout="x"), "every readout"),
    "a readout is cut": (
        "readouts",
        lambda t: pd.concat([t, t[:1].assign(readout="cosine")]),
        "every readout of moral_grammar at every layer once",
    ),
    "another position": ("readouts", lambda t: t.assign(position="first"), "every readout"),
    "ratings are text": ("ratings", lambda t: t.assign(rating="five"), "'rating'"),
    "values are numbers": ("ratings", lambda t: t.assign(value=1), "'value'"),
    "ratings are cut": ("ratings", lambda t: t[1:], "lack some moral ratings"),
    "pairs are lists": ("items", lambda t: t.assign(pair=[["a"]] * len(t)), "'pair'"),
}


@pytest.mark.parametrize("what", TABLES)
def test_edited_tables_are_one_sentence(run, what):
    table, change, part = TABLES[what]
    edit(run, table, change)
    with pytest.raises(el.EntangleError, match=part):
        el.multiverse(run)


JSON = {
    "manifest nested": ("manifest.json", '{"stimuli":' + "[" * 10**5, "manifest.json"),
    "manifest not a number": ("manifest.json", '{"stimuli": NaN}', "NaN is not a number in JSON"),
    "manifest half a letter": ("manifest.json", f'{{"stimuli": 1, {HALF}}}', "text is broken"),
    "manifest a list": ("manifest.json", "[]", "does not hold what"),
    "manifest not UTF-8": ("manifest.json", b"\xff", "broken"),
    "no stimuli": ("manifest.json", "{}", "is not a folder that"),
    "summary nested": ("summary.json", '{"behaviour":' + "[" * 10**5, "summary.json"),
    "behaviour a list": ("summary.json", '{"behaviour": []}', "no correlation of ratings"),
    "behaviour a text": ("summary.json", '{"behaviour": "x"}', "no correlation of ratings"),
    "pair a number": ("summary.json", '{"behaviour": {"moral_grammar": 1}}', "a number was"),
    "r a text": ("summary.json", '{"behaviour": {"moral_grammar": {"r": "x"}}}', "r = 'x'"),
    "r true": ("summary.json", '{"behaviour": {"moral_grammar": {"r": true}}}', "r = True"),
}


@pytest.mark.parametrize("what", JSON)
def test_edited_files_are_one_sentence_before_any_work(run, what, monkeypatch):
    file, text, part = JSON[what]
    (run / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    monkeypatch.setattr(rooms, "explore", lambda *_: pytest.fail("work was done"))
    with pytest.raises(el.EntangleError, match=part) as refused:
        el.multiverse(run)
    str(refused.value).encode()


def call(*args, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["entangle-lens", "multiverse", *map(str, args)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0, capsys.readouterr()


@pytest.mark.parametrize(
    ("out", "part"),
    [("file", "is a file"), ("file/in", "Not a directory"), ("x" * 256, "too long"), ("", "empty")],
)
def test_place_that_cannot_be_written_is_found_before_the_work(
    run, tmp_path, out, part, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(rooms, "multiverse", lambda *_, **__: pytest.fail("work was done"))
    code, shown = call(run, "--out", out, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, shown.out) == (2, "")
    assert part in shown.err
    assert shown.err.count("\n") == 1


def test_read_only_run_folder_is_found_before_the_work(run, monkeypatch, capsys):
    """The default place is in the run folder."""
    real = type(run).mkdir

    def read_only(self, *args, **more):
        if run in self.parents:
            raise OSError(30, "Read-only file system")
        return real(self, *args, **more)

    monkeypatch.setattr(type(run), "mkdir", read_only)
    monkeypatch.setattr(rooms, "multiverse", lambda *_, **__: pytest.fail("work was done"))
    code, shown = call(run, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, shown.out) == (2, "")
    assert "Read-only file system" in shown.err
