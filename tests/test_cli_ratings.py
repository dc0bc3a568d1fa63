"""``entangle-lens ratings``: what it prints, what it writes, what a mistake gets."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from entangle_lens import cli


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run ``entangle-lens ratings`` in an empty folder; return exit code, out, err."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["entangle-lens", "ratings", *map(str, args)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def ratings(leak=0.6, seed=0, n_scenarios=17):
    rng = np.random.default_rng(seed)
    moral = np.random.default_rng(99).normal(size=n_scenarios * 4)
    return pd.DataFrame(
        {
            "item_id": [f"i{number}" for number in range(n_scenarios * 4)],
            "scenario_id": np.repeat([f"s{number}" for number in range(n_scenarios)], 4),
            "moral": moral,
            "grammar": leak * moral + rng.normal(size=n_scenarios * 4),
        }
    )


def save(name, table):
    table.to_csv(name, index=False)


def test_one_table_is_printed_with_interval_and_scenarios(command):
    save("m.csv", ratings())
    code, out, err = command("m.csv")
    assert (code, err) == (0, "")
    r = ratings()[["moral", "grammar"]].corr().iloc[0, 1]
    assert f"{r:.2f} [" in out
    header, row = next(
        (a.split(), b.split())
        for a, b in zip(out.splitlines(), out.splitlines()[1:], strict=False)
        if a.startswith("model")
    )
    assert header[-3:] == ["items", "scenarios", "missing"]
    assert row[-3:] == ["68", "17", "0"]
    assert "resamples whole scenarios" in out
    assert "report:" not in out


def test_csv_parquet_and_jsonl_give_the_same_answer(command):
    table = ratings()
    save("m.csv", table)
    table.to_parquet("m.parquet")
    table.to_json("m.jsonl", orient="records", lines=True, double_precision=15)
    outs = [command(f"m.{kind}")[1] for kind in ("csv", "parquet", "jsonl")]
    assert outs[0] == outs[1] == outs[2]


def test_columns_are_chosen_by_option(command):
    save("m.csv", ratings().set_axis(["a", "b", "c", "d"], axis=1).assign(e=0.1, f=0.2))
    options = ["--item", "a", "--scenario", "b", "--moral", "c", "--secondary", "d"]
    code, out, _ = command("m.csv", *options, "--se", "e", "--se", "f")
    assert code == 0
    assert "r(c, d)" in out
    assert "corrected r" in out
    assert "17" in out


def test_many_tables_against_people_make_a_report(command, tmp_path):
    for seed in range(3):
        save(f"model{seed}.csv", ratings(leak=0.5 * seed, seed=seed))
    save("people.csv", ratings(leak=0, seed=9))
    files = [f"model{seed}.csv" for seed in range(3)]
    code, out, err = command(*files, "--human", "people.csv", "--out", "mine")
    assert code == 0, err
    assert out.rstrip().endswith("report: mine/report.html")
    for part in ("model0", "model2", "people: people", "p (BH)", "Steiger p", "Benjamini-Hochberg"):
        assert part in out
    assert (tmp_path / "mine/tables/models.parquet").exists()
    code, out, err = command(*files, "--out", "mine")
    assert code == 2
    assert "holds another run" in err


def test_long_tables_take_values_by_name(command):
    long = ratings().melt(["item_id", "scenario_id"], var_name="value", value_name="rating")
    save("m.csv", long.replace("grammar", "beauty"))
    code, out, _ = command("m.csv", "--secondary", "beauty")
    assert code == 0
    assert "r(moral, beauty)" in out


def spoilt(**changes):
    return ratings().astype(object).assign(**changes)


def with_cell(column, row, cell):
    table = ratings().astype(object)
    table.loc[row, column] = cell
    return table


BAD = {
    "no such file": (None, ["none.csv"], ["none.csv"]),
    "kind": (None, [__file__], ["no known kind", ".parquet"]),
    "column": (ratings(), ["m.csv", "--moral", "joy"], ["'joy'", "item_id, scenario_id, moral"]),
    "text": (with_cell("moral", 3, "high"), ["m.csv"], ["'moral'", "row 5 'high'"]),
    "infinite": (with_cell("grammar", 0, "inf"), ["m.csv"], ["'grammar'", "row 2 'inf'"]),
    "line break": (with_cell("moral", 3, "a\nb"), ["m.csv"], ["row 5 'a\\nb'"]),
    "constant": (spoilt(moral=5), ["m.csv"], ["constant (5), so there is no correlation"]),
    "few scenarios": (ratings(n_scenarios=7), ["m.csv"], ["7 scenarios", "at least 8"]),
    "duplicates": (
        pd.concat([ratings(), ratings().iloc[[1]]]),
        ["m.csv"],
        ["duplicated items: 'i1' stands in rows 3, 70"],
    ),
    "missing": (
        spoilt(grammar=[""] * 20 + [1, 2] * 24),
        ["m.csv"],
        ["20 of 68", "--allow-missing"],
    ),
    "ambiguous": (spoilt(economic=1), ["m.csv"], ["--secondary", "grammar, economic"]),
    "empty": (ratings().iloc[:0], ["m.csv"], ["no rows"]),
    "twice": (ratings(), ["m.csv", "m.csv"], ["given twice"]),
    "human": (ratings(), ["m.csv", "--human", "none.csv"], ["none.csv"]),
    "one se": (spoilt(e=1), ["m.csv", "--se", "e"], ["give two"]),
    "both scenarios": (
        ratings(),
        ["m.csv", "--scenario", "scenario_id", "--scenario-from-text"],
        ["say one of them"],
    ),
    "no texts": (ratings(), ["m.csv", "--scenario-from-text"], ["found no texts", "--text"]),
    "long name": (None, ["x" * 5_000 + ".csv"], ["cannot be read: File name too long"]),
    "bytes": (None, ["\udcff.csv"], ["no UTF-8"]),
    "seed": (ratings(), ["m.csv", "--seed", "-1"], ["-1"]),
    "option": (ratings(), ["m.csv", "--morals", "x"], ["--morals"]),
    "no file given": (None, [], ["FILE"]),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_gets_one_line_and_exit_code_two(command, tmp_path, what):
    table, args, parts = BAD[what]
    if table is not None:
        save("m.csv", table)
    code, out, err = command(*args, "--out", "mine")
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("entangle-lens: ")
    for part in parts:
        assert part in err
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("out", "part"),
    [
        ("m.csv/in/it", "is a file"),
        ("x" * 5_000, "File name too long"),
        ("x" * 250, "File name too long"),
        ("locked/new", "no permission to write in"),
    ],
)
def test_folder_that_cannot_be_written_is_found_before_any_work(command, monkeypatch, out, part):
    save("m.csv", ratings())
    if "locked" in out:
        monkeypatch.setattr("os.access", lambda *args, **more: False)
    code, printed, err = command("m.csv", "--out", out)
    assert (code, printed) == (2, "")
    assert len(err.splitlines()) == 1
    assert part in err


def test_links_in_a_circle_are_no_file(command):
    Path("a.csv").symlink_to("a.csv")
    code, _, err = command("a.csv")
    assert code == 2
    assert "'a.csv' is not a file" in err


def test_half_letters_in_ids_are_refused_before_any_work(command):
    records = [json.dumps(each) for each in ratings().to_dict("records")]
    Path("m.jsonl").write_text("\n".join(records).replace('"i3"', '"i\\ud800"'))
    code, printed, err = command("m.jsonl", "--out", "mine")
    assert (code, printed) == (2, "")
    assert "'item_id' holds no whole text" in err


def test_tables_of_other_items_name_what_lacks_where(command):
    save("a.csv", ratings())
    save("b.csv", ratings().drop(index=[4]))
    code, _, err = command("a.csv", "b.csv")
    assert code == 2
    assert "b lacks 1 of the 68 items of a ('i4')" in err


def test_allow_missing_goes_on_and_counts(command):
    save("m.csv", BAD["missing"][0])
    code, out, _ = command("m.csv", "--allow-missing")
    assert code == 0
    row = next(line for line in out.splitlines() if line.startswith("m "))
    assert row.split()[-1] == "20"


def test_constant_table_among_others_is_a_row(command):
    save("a.csv", ratings())
    save("b.csv", spoilt(moral=5))
    code, out, _ = command("a.csv", "b.csv")
    assert code == 0
    assert "no correlation: moral ratings constant" in out


def test_help_explains_every_option(command):
    _, out, err = command("--help")
    assert err == ""
    for part in ("Example: ", "8 scenarios", "report.html", "Exit code 2"):
        assert part in " ".join(out.split())
    options = ("moral", "secondary", "item", "scenario", "text", "se", "human", "out")
    for option in (*options, "allow-missing"):
        line = next(line for line in out.splitlines() if line.strip().startswith(f"--{option} "))
        assert len(line.split()) > 3


def test_ratings_cost_no_torch(tmp_path):
    save(tmp_path / "m.csv", ratings())
    code = (
        "import sys; from entangle_lens.cli import main\n"
        f"sys.argv = ['x', 'ratings', {str(tmp_path / 'm.csv')!r}, '--out', "
        f"{str(tmp_path / 'out')!r}]\n"
        "try: main()\nexcept SystemExit as stop: assert not stop.code\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
