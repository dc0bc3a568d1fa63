"""Delimited text into rows: nothing is swallowed by a quotation mark, every error has its line."""

import csv
import io

import pytest

from entangle_lens.csv_text import CsvError, csv_rows, decoded
from entangle_lens.errors import EntangleError

HEADER = "item,moral,grammar"
ROWS = [f"item {number},{number},{number / 2}" for number in range(20)]


def table(rows=ROWS, end="\n"):
    return end.join([HEADER, *rows]) + end


def cells(text, **more):
    return [row.cells for row in csv_rows(text, "t.csv", **more)]


def refused(text, **more):
    with pytest.raises(CsvError) as caught:
        csv_rows(text, "t.csv", **more)
    assert isinstance(caught.value, EntangleError)
    assert str(caught.value) == f"t.csv line {caught.value.line}: {caught.value.reason}"
    return caught.value


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rows_are_those_of_pythons_reader_where_no_mark_is_astray(end, separator):
    values = [["item", "moral"], ['she said "no", he', "1"], ["two\nlines", ""], ["x;y\tz", " 2"]]
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(
        values
    )
    assert cells(file.getvalue(), separator=separator) == values


def test_row_numbers_count_rows_and_lines_count_lines():
    rows = csv_rows('a,b\n"1\n\n",2\n\n3,4', "t.csv")
    assert [(row.number, row.line) for row in rows] == [(1, 1), (2, 2), (4, 6)]
    rows = csv_rows("a,b\n1,2\n", "t.csv", first_line=3)
    assert [(row.number, row.line) for row in rows] == [(3, 3), (4, 4)]


@pytest.mark.parametrize("line", [2, 9, 21])
def test_mark_that_opens_a_row_and_is_never_closed_is_named_with_its_line(line):
    rows = list(ROWS)
    rows[line - 2] = '"' + rows[line - 2]
    error = refused(table(rows))
    assert error.line == line
    assert "never closed" in error.reason
    assert refused(table(rows), first_line=3).line == line + 2


def test_mark_that_is_closed_by_the_next_quoted_cell_is_named_with_both_lines():
    rows = list(ROWS)
    rows[3], rows[11] = '"' + rows[3], '"one, two",1,2'
    error = refused(table(rows))
    assert error.line == 5
    assert "closed in line 13, and text follows" in error.reason
    assert "closed in the same line" in refused(table(['"a"b,1,2'])).reason


@pytest.mark.parametrize("end", [4, 5, 12])
def test_two_stray_marks_that_take_rows_into_one_cell_are_refused(end):
    """Python's reader accepts these, and the rows are gone."""
    rows = list(ROWS)
    rows[3] = '"' + rows[3]
    rows[end] = rows[end].replace(",", '",', 1)
    assert len(list(csv.reader(io.StringIO(table(rows)), strict=True))) == 21 - (end - 3)
    error = refused(table(rows))
    assert error.line == 5
    assert f"closed {end - 3} lines below, after lines that are rows themselves" in error.reason


@pytest.mark.parametrize(
    "row",
    [
        '"I went, then ran, far\nhome",1,2',
        '"one\ntwo\nthree",1,2',
        '"one, 2\ntwo, 3\nthree",1,2',
        'a,1,"2\n"',
    ],
)
def test_cells_of_several_lines_are_kept(row):
    (found,) = list(csv.reader(io.StringIO(row)))
    assert cells(table([*ROWS, row]))[-1] == found
    assert len(cells(table([*ROWS, row, *ROWS]))) == 42


def test_blank_before_a_quoted_cell_is_refused():
    error = refused(table(['a, "b, c",2']))
    assert (error.line, "remove the blank" in error.reason) == (2, True)
    assert cells(table(['" ""a""",1,2', 'say "a" there,1,2']))[1:] == [
        [' "a"', "1", "2"],
        ['say "a" there', "1", "2"],
    ]


def test_cell_beyond_the_limit_is_named_with_its_line():
    error = refused(table(["a,1,2", '"b' + "x" * 200_000]))
    assert error.line == 3
    assert "131,072 letters begins here" in error.reason


def test_tabs_without_quoting_are_read_as_they_stand():
    text = 'item\tmoral\n"Citizens" can go\t1\n"I went\t2\n'
    assert cells(text, separator="\t")[1:] == [['"Citizens" can go', "1"], ['"I went', "2"]]
    assert cells('item\tmoral\n"a ""b"""\t1\n', separator="\t")[1] == ['a "b"', "1"]
    assert refused(text + "too short\n", separator="\t").line == 2


def test_bytes_are_decoded_by_their_mark_or_refused_with_the_line():
    text = "item,moral\ncafé,1\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert decoded(text.encode(encoding), "t.csv") == text
    with pytest.raises(CsvError, match=r"t.csv line 2: is not UTF-8 text .*; save") as caught:
        decoded(text.encode("latin-1"), "t.csv")
    assert caught.value.line == 2
    with pytest.raises(CsvError, match="line 1: holds a zero byte"):
        decoded("item,moral".encode("utf-16-le"), "t.csv")


def test_error_shows_no_control_characters():
    with pytest.raises(CsvError) as caught:
        csv_rows('a,b,c\n"1,2,3\n', "\x1b[2Jt.csv")
    assert "\x1b" not in str(caught.value)
