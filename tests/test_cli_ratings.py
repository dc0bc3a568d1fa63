"""``entangle-lens ratings``: what it prints, what it writes, what a mistake gets."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import entangle_lens as el
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


@pytest.mark.parametrize("name", ["m.tsv", "m.txt", "m.json", "m.xlsx"])
def test_other_kinds_of_file_give_the_same_answer(command, name):
    table = ratings()
    save("m.csv", table)
    if name == "m.xlsx":
        table.to_excel(name, index=False)
    elif name == "m.json":
        table.to_json(name, double_precision=15)
    else:
        table.to_csv(name, sep="\t", index=False)
    assert command(name)[1] == command("m.csv")[1] != ""


def test_stacked_models_are_rows_of_their_own(command):
    tables = {name: ratings(leak=leak, seed=leak) for name, leak in (("a", 0), ("b", 1), ("c", 2))}
    save("m.csv", pd.concat([table.assign(model=name) for name, table in tables.items()]))
    code, out, _ = command("m.csv")
    assert code == 0
    for name, table in tables.items():
        row = next(line for line in out.splitlines() if line.startswith(f"{name} "))
        r = table[["moral", "grammar"]].corr().iloc[0, 1]
        assert row.split()[1] == f"{r:.2f}"
    save("m.csv", ratings().assign(who=["x", "y"] * 34))
    code, _, err = command("m.csv", "--model", "who")
    assert code == 2
    assert "y lacks 34 of the 34 items of x" in err


@pytest.mark.parametrize("option", [["--missing-code", "-99"], ["--missing-code", "-99.0"]])
def test_missing_codes_are_declared_or_kept(command, option):
    save("m.csv", with_cell("grammar", 3, -99))
    code, out, err = command("m.csv")
    assert (code, out) == (2, "")
    assert "declare it with --missing-code -99, or keep it as a rating with --missing-code" in err
    assert "none" in err
    assert "67 " in command("m.csv", *option)[1]
    code, out, _ = command("m.csv", "--missing-code", "none")
    assert (code, "68 " in out) == (0, True)
    two = with_cell("grammar", 3, -99)
    two.loc[5, "grammar"] = 99
    save("m.csv", two)
    assert "with --missing-code -99 --missing-code 99, or" in command("m.csv")[2]


def test_peoples_columns_have_options_of_their_own(command):
    save("m.csv", ratings())
    save("p.csv", ratings(seed=5))
    expected = command("m.csv", "--human", "p.csv")[1]
    save("p.csv", ratings(seed=5).set_axis(["a", "b", "c", "d"], axis=1))
    options = ["--human-item", "a", "--human-scenario", "b", "--human-moral", "c"]
    options += ["--human-secondary", "d"]
    assert command("m.csv", "--human", "p.csv", *options)[1] == expected
    code, _, err = command("m.csv", "--human", "p.csv", *options[2:])
    assert code == 2
    assert "name it with --human-item, one of: a, b, c, d" in err
    long = ratings(seed=5).melt(["item_id", "scenario_id"], var_name="trait", value_name="points")
    save("p.csv", long)
    options = ["--human-value-column", "trait", "--human-rating-column", "points"]
    assert command("m.csv", "--human", "p.csv", *options)[1] == expected
    save("m.csv", ratings().melt(["item_id", "scenario_id"], var_name="w", value_name="y"))
    named = ["--value-column", "w", "--rating-column", "y"]
    assert command("m.csv", *named, "--human", "p.csv", *options)[1] == expected


def test_common_items_are_kept_and_the_others_counted(command):
    save("a.csv", ratings())
    save("b.csv", ratings(seed=1).iloc[6:])
    code, _, err = command("a.csv", "b.csv")
    assert code == 2
    assert "or compare what all have rated with --common-items" in err
    code, out, _ = command("a.csv", "b.csv", "--common-items")
    assert code == 0
    assert "Only the 62 items that all 2 tables have both ratings of were kept, of 68" in out


def test_notes_name_options_on_the_command_line_and_arguments_in_python(command):
    table = ratings().drop(columns="scenario_id")
    save("m.csv", table)
    out = command("m.csv")[1]
    assert "Name the column with --scenario, or have it guessed" in out
    assert "from the texts with --scenario-from-text." in out
    said = str(el.analyse_ratings(table))
    assert "Name the column with scenario=..., or have it guessed" in said
    assert "--" not in said


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


MEANS = {"scenario_id": "-", **ratings()[["moral", "grammar"]].mean()}
BAD = {
    "no such file": (None, ["none.csv"], ["none.csv"]),
    "kind": (None, [__file__], ["not of a known kind", ".parquet"]),
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
    "stray quote": (None, ["q.csv"], ["q.csv line 4", "never closed"]),
    "foot row": (
        pd.concat([ratings(), pd.DataFrame([{"item_id": "Mean", **MEANS}])]),
        ["m.csv"],
        ["row 70", "'Mean' holds the mean"],
    ),
    "human column without people": (ratings(), ["m.csv", "--human-moral", "x"], ["as human"]),
    "no texts": (ratings(), ["m.csv", "--scenario-from-text"], ["found no texts", "--text"]),
    "long name": (None, ["x" * 5_000 + ".csv"], ["cannot be read: File name too long"]),
    "bytes": (None, ["\udcff.csv"], ["not UTF-8"]),
    "seed": (ratings(), ["m.csv", "--seed", "-1"], ["-1"]),
    "option": (ratings(), ["m.csv", "--morals", "x"], ["--morals"]),
    "no file given": (None, [], ["FILE"]),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_gets_one_line_and_exit_code_two(command, tmp_path, what):
    table, args, parts = BAD[what]
    if table is not None:
        save("m.csv", table)
    Path("q.csv").write_text('item,moral,grammar\na,1,2\nb,2,3\n"c,3,4\nd,4,5\n')
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
        ("m.csv/in/it", "Not a directory"),
        ("x" * 5_000, "File name too long"),
        ("x" * 256, "File name too long"),
        ("locked/new", "Permission denied"),
    ],
)
def test_folder_that_cannot_be_written_is_found_before_any_work(command, monkeypatch, out, part):
    save("m.csv", ratings())

    def refuse(*args, **more):
        raise PermissionError(13, "Permission denied")

    if "locked" in out:
        monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(el, "analyse_ratings", None)
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
    assert "'item_id' holds broken text" in err


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
    options = ("moral", "secondary", "item", "scenario", "text", "se", "human", "out", "model")
    options += ("value-column", "human-moral", "missing-code", "common-items")
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
