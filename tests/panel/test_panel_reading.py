"""From files and DataFrames to one row an item: columns, cells, single ratings."""

import json

import numpy as np
import pandas as pd
import pytest

import entangle_lens as el
from entangle_lens.panel.columns import ColumnChoice, meaning
from entangle_lens.panel.table import read_ratings


def read(source, **choice):
    return read_ratings(source, "mine", ColumnChoice(**choice))


@pytest.mark.parametrize("name", ["Moral", "morality", "MORAL MEAN", "moral-rating", "mean_moral"])
def test_usual_names_of_the_moral_column_are_found(make_ratings, name):
    table = make_ratings()
    found = read(table.rename(columns={"moral": name}))
    assert found.columns.moral == name
    np.testing.assert_array_equal(found.table["moral"], table["moral"])


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("Grammatical_mean", "grammar"),
        ("ECONOMIC", "economic"),
        ("econ_mean", "economic"),
        ("secondary", "secondary"),
    ],
)
def test_usual_names_of_the_secondary_column_are_found(make_ratings, name, word):
    found = read(make_ratings().rename(columns={"grammar": name}))
    assert (found.columns.secondary, found.columns.label) == (name, word)


def test_named_columns_win_over_usual_ones(make_ratings):
    table = make_ratings()
    table["mine"], table["other"] = table["grammar"] * 2, table["moral"] * 3
    found = read(table, moral="other", secondary="MINE").table
    np.testing.assert_array_equal(found["moral"], table["other"])
    np.testing.assert_array_equal(found["secondary"], table["mine"])
    assert meaning("mine") is None


def test_several_secondary_columns_ask_for_one(make_ratings):
    table = make_ratings().assign(economic=1.0)
    with pytest.raises(
        el.EntangleError, match=r"several fit; .* secondary=\.\.\.,.*grammar, economic"
    ):
        read(table)
    assert read(table, secondary="grammar").columns.secondary == "grammar"


@pytest.mark.parametrize("option", ["moral", "secondary", "item", "scenario"])
def test_column_that_is_not_there_is_named_with_those_that_are(make_ratings, option):
    with pytest.raises(el.EntangleError) as caught:
        read(make_ratings(), **{option: "nonsense"})
    for part in ("nonsense", f"({option}=...)", "item_id", "scenario_id", "moral", "grammar"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("drop", "part"), [("moral", "moral="), ("grammar", "secondary="), ("item_id", "item=")]
)
def test_table_without_a_usual_column_asks_for_it(make_ratings, drop, part):
    with pytest.raises(el.EntangleError, match=part):
        read(make_ratings().drop(columns=drop))


def test_moral_and_secondary_of_one_name_are_refused(make_ratings):
    with pytest.raises(el.EntangleError, match="both name 'moral'"):
        read(make_ratings(), secondary="moral")


def test_long_form_equals_wide_form(make_ratings, to_long):
    table = make_ratings()
    wide, long = read(table), read(to_long(table, se=0.1, n=20))
    columns = ["item_id", "scenario_id", "moral", "secondary"]
    pd.testing.assert_frame_equal(wide.table[columns], long.table[columns])
    assert (long.table[["moral_se", "secondary_se"]] == 0.1).all(axis=None)
    assert (long.table["moral_n"] == 20).all()
    dimension = to_long(table).rename(columns={"value": "dimension", "mean": "value"})
    pd.testing.assert_frame_equal(read(dimension).table[columns], wide.table[columns])


def test_long_form_with_three_values_asks_for_one_and_takes_it(make_ratings, to_long):
    table = make_ratings()
    extra = to_long(table).query("value == 'grammar'").assign(value="economic", mean=1.5)
    long = pd.concat([to_long(table), extra])
    with pytest.raises(el.EntangleError, match=r"secondary=\.\.\., one of: economic, grammar"):
        read(long)
    assert (read(long, secondary="economic").table["secondary"] == 1.5).all()
    with pytest.raises(el.EntangleError, match="no value in column 'value' is named 'joy'"):
        read(long, secondary="joy")


def test_single_ratings_are_averaged_with_n_and_se(make_ratings, to_singles):
    rows = to_singles(make_ratings(), n=6)
    rows.loc[[0, 5], "grammar"] = np.nan
    found = read(rows)
    groups = rows.groupby("item_id", sort=False)["grammar"]
    assert found.single == ("moral", "secondary")
    assert found.n_missing_single == 2
    np.testing.assert_allclose(found.table["secondary"], groups.mean(), rtol=1e-15)
    np.testing.assert_allclose(found.table["secondary_se"], groups.sem(), rtol=1e-12)
    np.testing.assert_array_equal(found.table["secondary_n"], groups.count())
    assert found.item_ids == list(rows["item_id"].unique())
    assert read(make_ratings()).single == ()


def test_single_ratings_in_long_form_are_averaged(make_ratings, to_singles, to_long):
    rows = to_singles(make_ratings(), n=5)
    wide, long = read(rows).table, read(to_long(rows)).table
    pd.testing.assert_frame_equal(wide.sort_index(axis=1), long.sort_index(axis=1))


def test_some_items_twice_are_duplicates(make_ratings, tmp_path):
    table = make_ratings()
    twice = pd.concat([table, table.iloc[[3]]])
    twice.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(el.EntangleError, match="duplicated items: 'i03' stands in rows 5, 70"):
        read(tmp_path / "t.csv")
    every = pd.concat([table, table.assign(moral=1.0)]).assign(a=0.1, b=0.1)
    assert read(every).single
    with pytest.raises(el.EntangleError, match=r"duplicated items: 'i00'.*one row per item"):
        read(every, se=("a", "b"))


def test_table_that_is_pasted_twice_is_no_single_ratings(make_ratings):
    table = make_ratings()
    with pytest.raises(el.EntangleError, match=r"'i00' stands in rows 2, 70; .*are copies"):
        read(pd.concat([table, table]))
    alike = pd.concat([table, table, table.assign(moral=1.0)])  # two raters may agree
    assert (read(alike).table["moral_n"] == 3).all()


@pytest.mark.parametrize(("n_once", "are_single"), [(0, True), (33, True), (34, False)])
def test_most_items_make_single_ratings(make_ratings, n_once, are_single):
    table = make_ratings()
    rows = pd.concat([table, table.assign(moral=1.0).iloc[n_once:]])
    if not are_single:
        with pytest.raises(el.EntangleError, match="34 of 68 items stand once"):
            read(rows)
        return
    found = read(rows)
    assert found.n_rated_once == n_once == found.table["moral_se"].isna().sum()


def test_item_with_two_scenarios_is_refused(make_ratings):
    rows = pd.concat([make_ratings(), make_ratings()]).reset_index(drop=True)
    rows.loc[70, "scenario_id"] = "elsewhere"
    with pytest.raises(el.EntangleError, match=r"'i02' has scenario_id 's0' in row 4 .* row 72"):
        read(rows)


def test_whole_numbers_as_text_are_the_same_ids(make_ratings, tmp_path):
    table = make_ratings()
    table["item_id"] = range(len(table))
    table.assign(item_id=table["item_id"].astype(float)).to_csv(tmp_path / "a.csv", index=False)
    assert read(tmp_path / "a.csv").item_ids == read(table).item_ids
    table["item_id"] = [f"{number}.0" for number in range(67)] + ["67.5"]
    assert read(table).item_ids[:2] == ["0.0", "1.0"]


def test_words_for_missing_are_names_of_items_and_scenarios(make_ratings, tmp_path):
    table = make_ratings()
    table["item_id"] = ["none", "NA", "null", "nan", *table["item_id"][4:]]
    table["scenario_id"] = table["scenario_id"].replace("s3", "None")
    table.to_csv(tmp_path / "a.csv", index=False)
    found = read(tmp_path / "a.csv").table
    assert found["item_id"].tolist() == table["item_id"].tolist()
    assert found["scenario_id"].tolist() == table["scenario_id"].tolist()


@pytest.mark.parametrize("column", ["item_id", "scenario_id", "text", "half"])
def test_half_letters_are_refused(make_ratings, tmp_path, column):
    records = make_ratings().assign(text="a b").to_dict("records")
    records[3]["\ud800" if column == "half" else column] = "a\ud800"
    path = write(tmp_path / "a.jsonl", "\n".join(json.dumps(each) for each in records))
    with pytest.raises(
        el.EntangleError, match=r"half of a UTF-16 pair|surrogates not allowed"
    ) as caught:
        read(path)
    assert column == "half" or f"{column!r}" in str(caught.value)
    str(caught.value).encode()


def test_csv_parquet_jsonl_and_frame_read_the_same(make_ratings, tmp_path):
    table = make_ratings()
    table["item_id"] = range(100, 100 + len(table))  # numbers as ids
    table.loc[4, "grammar"] = np.nan
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "b.parquet")
    table.to_json(tmp_path / "c.jsonl", orient="records", lines=True, double_precision=15)
    exact = read(table).table
    assert exact["item_id"][0] == "100"
    pd.testing.assert_frame_equal(read(tmp_path / "a.csv").table, exact, check_exact=True)
    pd.testing.assert_frame_equal(read(tmp_path / "b.parquet").table, exact, check_exact=True)
    pd.testing.assert_frame_equal(read(tmp_path / "c.jsonl").table, exact, rtol=1e-14)
    pd.testing.assert_frame_equal(read(table.set_index("item_id")).table, exact)
    pd.testing.assert_frame_equal(read(table.astype({"item_id": float})).table, exact)
    pd.testing.assert_frame_equal(read(table.convert_dtypes()).table, exact)


@pytest.mark.parametrize("cell", ["", "NA", "n/a", "NaN", "null", " None "])
def test_empty_cells_are_missing(make_ratings, tmp_path, cell):
    table = make_ratings().astype(object)
    table.loc[[2, 9], "grammar"] = cell
    table.to_csv(tmp_path / "t.csv", index=False)
    for source in (tmp_path / "t.csv", table):
        found = read(source)
        assert found.n_missing == 2
        assert list(np.flatnonzero(~found.complete)) == [2, 9]


@pytest.mark.parametrize("cell", ["seven", "1,5", "1_000", "7/10", "inf", "-Infinity", "1e999"])
def test_cells_that_are_no_number_are_named_with_their_rows(make_ratings, tmp_path, cell):
    table = make_ratings().astype(object)
    table.loc[[1, 4, 6, 8], "grammar"] = cell
    table.to_csv(tmp_path / "t.csv", index=False)
    table.astype(str).to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        with pytest.raises(el.EntangleError) as caught:
            read(tmp_path / name)
        for part in ("'grammar'", f"row 3 {cell!r}", "row 6", "row 8", "and 1 more"):
            assert part in str(caught.value)


@pytest.mark.parametrize("cell", [True, float("inf"), [1], {"a": 1}, 10**400])
def test_python_values_that_are_no_number_are_refused(make_ratings, cell):
    table = make_ratings().astype(object)
    table.at[1, "moral"] = cell
    with pytest.raises(el.EntangleError, match="'moral' does not hold a finite number in row 3"):
        read(table)


def test_negative_standard_error_is_refused(make_ratings):
    table = make_ratings().assign(a=0.1, b=0.1)
    table.loc[2, "b"] = -0.1
    with pytest.raises(
        el.EntangleError, match="'b' does not hold a finite number from 0 on in row 4"
    ):
        read(table, se=("a", "b"))
    with pytest.raises(el.EntangleError, match="give two"):
        read(table, se=("a",))


def test_empty_ids_are_refused_with_their_rows(make_ratings):
    table = make_ratings()
    table.loc[[0, 3], "item_id"] = None
    with pytest.raises(el.EntangleError, match="'item_id' is empty in row 2, row 5"):
        read(table)


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        (
            "a.xls",
            "x",
            "is not of a known kind; the kinds are .csv, .tsv, .txt, .json, .jsonl, .par",
        ),
        ("a.xlsx", "x", "cannot be read as an Excel file: File is not a zip file"),
        ("a.csv", "", "no rows"),
        ("a.csv", "item_id,moral,grammar\n", "no rows"),
        ("a.csv", "item_id,moral,moral\n1,2,3\n", "'moral' stands twice"),
        ("a.csv", "item_id,moral,grammar\n1,2,3,4\n", "row 2: has 4 cells for 3 columns"),
        ("a.csv", b"item_id,moral,grammar\n\xff\xfe,2,3\n", "not UTF-8"),
        ("a.csv", "item_id,moral,grammar\n1,2,3\n4,5\n", "row 3: has 2 cells for 3 columns"),
        ("a.csv", "item_id;moral;grammar\n1;2,5;3\n", "'2,5'; write a decimal point, not a"),
        ("a.csv", "item_id,moral,grammar\n1,2," + "9" * 200_000, "line 2: a cell of more than"),
        ("a.parquet", "no parquet", "cannot be read"),
        ("a.parquet", "", "cannot be read"),
        ("a.jsonl", "", "no rows"),
        ("a.jsonl", '{"item_id": 1}\n{"item_id": \n', "row 2 is not JSON"),
        ("a.jsonl", '{"item_id": 1}\n\n[1, 2]\n', "row 3 is not a JSON object"),
        ("a.jsonl", "[" * 100_000, "nested too deeply"),
        ("a.jsonl", '{"item_id": ' + "1" * 5_000 + "}", "cannot be read"),
        ("a.jsonl", b'{"item_id": "\xff"}\n', "not UTF-8"),
    ],
)
def test_file_that_is_no_table_is_refused_in_one_line(tmp_path, name, content, part):
    with pytest.raises(el.EntangleError) as caught:
        read(write(tmp_path / name, content))
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_decimal_comma_is_recognised(make_ratings, tmp_path):
    table = make_ratings().astype(object)
    table.loc[1, "grammar"] = "0,39"
    with pytest.raises(el.EntangleError, match=r"row 3 '0,39'; write a decimal point"):
        read(table)
    table.loc[1, "grammar"] = "high"
    with pytest.raises(el.EntangleError, match=r"row 3 'high'$"):
        read(table)


def test_columns_of_value_and_rating_are_named(make_ratings, to_long):
    table = make_ratings()
    long = to_long(table).rename(columns={"value": "trait", "mean": "points"})
    named = {"value_column": "trait", "rating_column": "points"}
    columns = ["item_id", "scenario_id", "moral", "secondary"]
    pd.testing.assert_frame_equal(read(long, **named).table[columns], read(table).table[columns])
    found = read(long.assign(moral=1.0, value="x", rating=3.0), **named)
    pd.testing.assert_frame_equal(found.table[columns], read(table).table[columns])
    half = long.rename(columns={"points": "score"})
    pd.testing.assert_frame_equal(
        read(half, value_column="trait").table[columns], read(table).table[columns]
    )
    with pytest.raises(el.EntangleError, match=r"its rating; name it with rating_column=\.\.\."):
        read(long, value_column="trait")
    with pytest.raises(el.EntangleError, match=r"no column is named 'x' \(value_column=\.\.\.\)"):
        read(long, value_column="x")


def test_second_value_that_is_not_there_is_no_empty_list(make_ratings, to_long):
    with pytest.raises(
        el.EntangleError, match=r"there is no other value in column 'value' for secondary="
    ):
        read(to_long(make_ratings()).query("value == 'moral'"))
    with pytest.raises(el.EntangleError, match=r"there is no other column for secondary="):
        read(make_ratings().drop(columns="grammar"))


def test_long_ids_are_cut_in_messages(make_ratings):
    table = make_ratings()
    table["item_id"] = ["x" * 5_000 + item for item in table["item_id"]]
    for wrong in (pd.concat([table, table.iloc[:1]]), table.assign(grammar=np.nan)):
        with pytest.raises(el.EntangleError) as caught:
            read(wrong).check_missing()
        assert len(str(caught.value)) < 400


def test_path_that_cannot_be_looked_at_is_refused(tmp_path, monkeypatch):
    with pytest.raises(el.EntangleError, match="cannot be read: File name too long") as caught:
        read(tmp_path / f"{'x' * 5_000}.csv")
    assert len(str(caught.value)) < 200

    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.is_file", forbidden)
    with pytest.raises(el.EntangleError, match="cannot be read: Permission denied"):
        read(tmp_path / "a.csv")


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(el.EntangleError, match="is not a file"):
        read(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(el.EntangleError, match="is a folder"):
        read(tmp_path / "folder.csv")


def test_jsonl_counts_lines_and_lacking_keys_are_missing(make_ratings, tmp_path):
    records = make_ratings().to_dict("records")
    del records[3]["grammar"]
    lines = [json.dumps(each) for each in records]
    path = write(tmp_path / "a.jsonl", "\n\n".join(lines))
    assert read(path).n_missing == 1
    records[5]["moral"] = "high"
    path = write(tmp_path / "b.jsonl", "\n".join(json.dumps(each) for each in records))
    with pytest.raises(el.EntangleError, match="row 6 'high'"):
        read(path)
