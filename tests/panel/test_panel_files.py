"""Files of all kinds give the table they hold, or one sentence that says what is wrong."""

import json
import sys

import numpy as np
import openpyxl
import pandas as pd
import pytest

import entangle_lens as el
from entangle_lens.panel.columns import ColumnChoice
from entangle_lens.panel.table import read_ratings

ITEMS = 8


@pytest.fixture
def small():
    return pd.DataFrame(
        {
            "item": [f"I said {number}, twice" for number in range(ITEMS)],
            "moral": np.arange(ITEMS) / 4,
            "grammar": np.arange(ITEMS)[::-1] / 2,
        }
    )


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(path, **choice):
    return read_ratings(path, "mine", ColumnChoice(**choice))


def refused(path, **choice):
    with pytest.raises(el.EntangleError) as caught:
        read(path, **choice)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(path, table, **choice):
    """Check that a file gives the same ratings as the DataFrame does."""
    columns = ["item_id", "moral", "secondary"]
    pd.testing.assert_frame_equal(read(path, **choice).table[columns], read(table).table[columns])


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".txt"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_delimited_text_of_any_separator_is_read(small, tmp_path, kind, separator, encoding):
    text = small.to_csv(index=False, sep=separator)
    same(write(tmp_path / f"a{kind}", text.encode(encoding)), small)


BEFORE = {
    "Excel's line": "sep=;\r\n",
    "Excel's line in quotes": '"sep=;"\n',
    "comments": "# rated in March; by us; twice\n#\n\n# and again\n",
    "both": "SEP=;\n# rated in March\n",
    "blank lines": "\n\n",
}


@pytest.mark.parametrize("what", BEFORE)
def test_lines_before_the_header_are_left_out_and_counted(small, tmp_path, what):
    body = small.to_csv(index=False, sep=";")
    same(write(tmp_path / "a.csv", BEFORE[what] + body), small)
    wrong = write(tmp_path / "b.csv", BEFORE[what] + body.replace("1.75", "high"))
    row = BEFORE[what].count("\n") + 1 + ITEMS
    assert f"row {row} 'high'" in refused(wrong)
    stray = write(tmp_path / "c.csv", BEFORE[what] + body.replace("I said 7", '"I said 7'))
    assert f"c.csv line {row}: a quotation mark opens a cell here and is never" in refused(stray)


def test_excels_line_settles_what_the_header_does_not(tmp_path):
    both = "item;x,moral,grammar;y;z\n" + "".join(f"a{n};1,2,{n};3;4\n" for n in range(ITEMS))
    assert "',' and ';' both separate its columns; write the right one" in refused(
        write(tmp_path / "a.csv", both)
    )
    for separator, names in (
        (",", "item;x, moral, grammar;y;z"),
        (";", "item, 'x,moral,grammar',"),
    ):
        path = write(tmp_path / "b.csv", f"sep={separator}\n{both}")
        assert f"one of: {names}" in refused(path)


def test_comma_in_a_header_of_semicolons_is_part_of_a_name(small, tmp_path):
    renamed = small.rename(columns={"item": "item, text"})
    path = write(tmp_path / "a.csv", renamed.to_csv(index=False, sep=";"))
    same_as = renamed.rename(columns={"item, text": "item"})
    same(path, same_as, item="item, text")
    assert "name it with item=..., one of: 'item, text', moral, grammar" in refused(path)


def test_column_called_number_sign_is_no_comment(small, tmp_path):
    numbered = small.assign(**{"#": range(ITEMS)})[["#", *small]]
    same(write(tmp_path / "a.csv", numbered.to_csv(index=False)), small)


def test_rows_of_another_width_are_refused_with_their_row(small, tmp_path):
    body = small.to_csv(index=False)
    assert "a.csv row 10: has 1 cell for 3 columns" in refused(
        write(tmp_path / "a.csv", body + "Source: our lab\n")
    )
    assert "row 10: has 4 cells for 3 columns; put a text that holds the separator" in refused(
        write(tmp_path / "a.csv", body + "I went, twice,1,2\n")
    )
    same(write(tmp_path / "a.csv", body.replace("\n", ",,\n") + ",,\n\n"), small)


def test_stray_quotation_mark_is_an_error_and_never_fewer_rows(make_ratings, tmp_path):
    """Python's own reader takes the rest of the table for one item that lacks its ratings."""
    lines = make_ratings().to_csv(index=False).splitlines()
    whole = write(tmp_path / "a.csv", "\n".join(lines))
    assert len(read(whole).table) == 68
    lines[40] = '"' + lines[40]
    assert refused(write(tmp_path / "a.csv", "\n".join(lines))) == (
        "a.csv line 41: a quotation mark opens a cell here and is never closed"
    )
    lines[50] = lines[50].replace(",", '",', 1)
    assert "a.csv line 41: the quotation mark that opens a cell here is closed 10 lines" in refused(
        write(tmp_path / "a.csv", "\n".join(lines))
    )


def test_text_in_another_encoding_is_refused_with_its_line(small, tmp_path):
    small["item"] = small["item"].str.replace("twice", "café")
    path = write(tmp_path / "a.csv", small.to_csv(index=False).encode("latin-1"))
    assert "a.csv line 2: is not UTF-8 text" in refused(path)


@pytest.mark.parametrize("orient", ["records", "columns", "list", "lines"])
def test_json_of_records_columns_and_lines_is_read(small, tmp_path, orient):
    small.loc[3, "moral"] = np.nan
    if orient == "list":
        text = small.to_json(orient="columns")
        text = json.dumps({name: list(cells.values()) for name, cells in json.loads(text).items()})
    elif orient == "lines":
        text = small.to_json(orient="records", lines=True)
    else:
        text = small.to_json(orient=orient)
    same(write(tmp_path / "a.json", text), small)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "line 1 is not JSON"),
        ('[{"item": 1},\n{"item" 2}]', "line 2 is not JSON (Expecting ':' delimiter, letter 9)"),
        ("3", "holds neither a list of records"),
        ('{"item": [1, 2], "moral": [1]}', "nor columns of one length"),
        ('{"item": {"a": 1}, "moral": {"b": 1}}', "nor columns of one length"),
        ('{"columns": ["item"], "data": 3}', "nor columns of one length"),
        ('[{"item": 1}, 3]', "row 2 is not a JSON object"),
        ('[{"item": 1, "moral": 2, "moral": 3}]', "names 'moral' twice in one object"),
        ("[]", "no rows"),
        ("[" * 100_000, "nested too deeply"),
        (b'[{"item": "\xff"}]', "line 1: is not UTF-8 text"),
    ],
)
def test_json_of_another_form_is_refused(tmp_path, text, part):
    assert part in refused(write(tmp_path / "a.json", text))


def excel(path, *sheets, hidden=()):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"sheet {number}")
        for row in rows:
            sheet.append(row)
        if number in hidden:
            sheet.sheet_state = "hidden"
    book.save(path)
    return path


def grid(table):
    return [list(table.columns), *table.astype(object).to_numpy().tolist()]


def test_excel_file_is_read(small, tmp_path):
    same(excel(tmp_path / "a.xlsx", grid(small)), small)
    spaced = [[], ["item", "moral", "grammar", None], *grid(small)[1:], [], [None, None]]
    same(excel(tmp_path / "b.xlsx", spaced), small)
    small.loc[2, "grammar"] = np.nan
    same(excel(tmp_path / "c.xlsx", grid(small.replace({np.nan: None}))), small)
    same(excel(tmp_path / "d.xlsx", grid(small), [["x"]], [], hidden=[1]), small)


def test_excel_rows_are_counted_as_excel_shows_them(small, tmp_path):
    rows = grid(small)
    rows[4][1] = "high"
    assert "row 6 'high'" in refused(excel(tmp_path / "a.xlsx", [[], *rows]))


def test_excel_files_that_say_no_table_are_refused(small, tmp_path):
    assert "has 2 sheets with cells ('sheet 0', 'sheet 1'); save the sheet" in refused(
        excel(tmp_path / "a.xlsx", grid(small), grid(small))
    )
    formula = grid(small)
    formula[3][2] = "=1+1"
    assert "row 4: the formula '=1+1' was saved without its value" in refused(
        excel(tmp_path / "b.xlsx", formula)
    )
    beside = grid(small)
    beside[5].append("really?")
    assert "row 6: has a cell beside the 3 columns" in refused(excel(tmp_path / "c.xlsx", beside))
    assert "no rows" in refused(excel(tmp_path / "d.xlsx", []))
    assert "cannot be read as an Excel file" in refused(write(tmp_path / "e.xlsx", b"PK\x03\x04"))


def test_excel_file_that_unpacks_to_too_much_is_refused(small, tmp_path, monkeypatch):
    monkeypatch.setattr("entangle_lens.panel.excel._MAX_BYTES", 1_000)
    assert "GB when unpacked" in refused(excel(tmp_path / "a.xlsx", grid(small)))


def test_excel_file_without_openpyxl_says_how_to_go_on(small, tmp_path, monkeypatch):
    path = excel(tmp_path / "a.xlsx", grid(small))
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert refused(path) == (
        "'a.xlsx' is an Excel file, and openpyxl, which reads them, is not installed: install "
        '"entangle-lens[excel]", or save the sheet as CSV'
    )
