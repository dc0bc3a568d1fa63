"""What a spreadsheet or an editor does to a table is read rightly or refused, never guessed."""

import pytest

import entangle_lens as el
from entangle_lens.stimuli import Problem, check_stimuli
from entangle_lens.stimuli.tables import TABLES


def said(folder):
    return [str(problem) for problem in check_stimuli(folder)]


def rewrite(folder, table, old, new):
    path = folder / f"{table}.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_problem_names_what_it_knows():
    assert str(Problem("items.csv", "is missing")) == "items.csv: is missing"
    assert str(Problem("items.csv", "is odd", 4)) == "items.csv row 4: is odd"
    assert str(Problem("items.csv", "is odd", 4, "text")) == "items.csv row 4, column text: is odd"


@pytest.mark.parametrize("cell", ["nan", "NaN", "NA", "null", "None", "  "])
def test_missing_value_is_empty_however_it_is_written(folder, cell):
    rewrite(folder, "neutral", "What is the difference between a comet and an asteroid?", cell)
    assert said(folder) == ["neutral.csv row 3, column text: is empty, and text was expected"]


MAY_BE_EMPTY = {"answer_prefix", "price", "log_price"}
COLUMNS = [(table, column) for table, form in TABLES.items() for column in form.columns]


@pytest.mark.parametrize(("table", "column"), [each for each in COLUMNS if each[0] != "human"])
def test_every_column_is_needed_and_no_cell_of_it_may_be_empty(folder, edit, table, column):
    def blank(frame):
        frame.loc[1, column] = ""

    edit(table, blank)
    place = f"{table}.csv row 3, column {column}:"
    assert [text.startswith(place) for text in said(folder)] == [True] * (
        column not in MAY_BE_EMPTY
    )
    edit(table, lambda frame: frame.drop(columns=column))
    (problem,) = said(folder)
    assert problem.startswith(f"{table}.csv: lacks column {column}; it has ")


def test_text_that_only_holds_such_a_word_is_text(folder):
    """The control: a sentence about none is no missing value."""
    rewrite(folder, "neutral", "What is the difference", "None of NaN: what is the difference")
    assert said(folder) == []
    assert el.load_stimuli(folder).neutral[1].startswith("None of NaN")


def test_row_that_is_cut_short_is_named(folder):
    rewrite(folder, "minimal_pairs", ",The keys to the cabin is on the hook.\n", "\n")
    assert said(folder) == [
        "minimal_pairs.csv row 2, column ungrammatical: is empty, and text was expected"
    ]


@pytest.mark.parametrize("table", ["neutral", "contrasts", "minimal_pairs", "items"])
def test_unquoted_comma_is_refused_and_no_text_is_cut(folder, table):
    """A sentence with a comma and no quotes has one cell more than the header has columns."""
    path = folder / f"{table}.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    row = next(k for k, line in enumerate(lines) if '"' in line and ", " in line) + 1
    lines[row - 1] = lines[row - 1].replace('"', "")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert any(text.startswith(f"{table}.csv row {row}") for text in said(folder))


def test_rows_are_counted_as_a_spreadsheet_counts_them(folder):
    """A blank line is a row too: the empty text stands in row 4."""
    line = "neu_02,What is the difference between a comet and an asteroid?"
    rewrite(folder, "neutral", line, "\nneu_02,")
    assert said(folder) == ["neutral.csv row 4, column text: is empty, and text was expected"]


def test_rows_are_counted_so_between_tables_too(folder):
    rewrite(folder, "items", "mg_good_01_2,", "\nmg_good_01_2,")
    rewrite(folder, "contrasts", "fit_mor_01,fit_moral_01", "\nfit_mor_01,good_01")
    rewrite(folder, "items", "come.,1,2,", "come.,-1,2,")
    split, moral = said(folder)
    assert split.startswith("contrasts.csv row 3, column scenario_id")
    assert moral.startswith("items.csv row 4, column moral")


def test_column_that_stands_twice_is_refused(folder):
    rewrite(folder, "neutral", "prompt_id,text", "prompt_id,text,text")
    assert any(text.startswith("neutral.csv") and "text" in text for text in said(folder))


def test_byte_order_mark_of_a_spreadsheet_is_no_part_of_the_header(folder):
    path = folder / "items.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert said(folder) == []


def test_windows_line_ends_change_nothing(folder):
    path = folder / "items.csv"
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert said(folder) == []
    assert (
        el.load_stimuli(folder)
        .items["grammar"]
        .table.equals(el.load_stimuli("goods").items["grammar"].table)
    )


def test_text_of_another_encoding_is_refused(folder):
    path = folder / "neutral.csv"
    path.write_bytes(path.read_text().replace("rainbow", "caf\xe9").encode("latin-1"))
    assert len(said(folder)) == 1
    assert said(folder)[0].startswith("neutral.csv line 2: is not UTF-8 text")


def test_other_separator_is_refused_with_what_was_read_and_what_is_needed(folder):
    path = folder / "neutral.csv"
    path.write_text(path.read_text().replace(",", ";"))
    (problem,) = said(folder)
    assert "it has prompt_id;text and needs prompt_id, text" in problem


@pytest.mark.parametrize(
    ("keep", "expected"), [(0, "lacks column item_id"), (1, "items.csv: has no rows")]
)
def test_table_without_rows_is_refused(folder, keep, expected):
    path = folder / "items.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:keep]))
    assert len(said(folder)) == 1
    assert expected in said(folder)[0]


def test_column_that_nobody_asked_for_is_left_alone(folder, edit):
    edit("items", lambda items: items.assign(note="mine"))
    assert said(folder) == []


def test_unknown_name_is_refused_with_the_bundled_names(tmp_path):
    with pytest.raises(el.EntangleError, match=r"'gods' is neither a folder.*names are goods"):
        el.load_stimuli("gods")
    with pytest.raises(el.EntangleError, match="neither a folder"):
        check_stimuli(tmp_path / "nowhere")


def test_empty_cells_behind_the_last_column_are_left_alone(folder):
    path = folder / "neutral.csv"
    path.write_text("\n".join(f"{line},," for line in path.read_text().splitlines()) + "\n")
    assert said(folder) == []


TABLE_NAMES = [name for name in TABLES if name != "human"]


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_stray_quotation_mark_is_refused_with_its_line_in_every_table(folder, table):
    path = folder / f"{table}.csv"
    header, first, *rest = path.read_text(encoding="utf-8").splitlines()
    cells = first.split(",")
    cells[1] = f'"{cells[1]}'
    path.write_text("\n".join([header, ",".join(cells), *rest]) + "\n", encoding="utf-8")
    problems = said(folder)
    assert problems[0].startswith(f"{table}.csv line 2: ")
    assert "quotation mark" in problems[0]
    with pytest.raises(el.EntangleError, match=rf"{table}\.csv line 2"):
        el.load_stimuli(folder)


def test_cell_beyond_the_limit_is_refused_with_its_line(folder):
    rewrite(folder, "neutral", "What is the difference", "a" * 140_000)
    assert said(folder) == [
        "neutral.csv line 3: a cell of more than 131,072 letters begins here; a quotation mark may "
        "be open that should be closed"
    ]


def test_long_cell_is_cut_in_the_sentence_about_it(folder, edit):
    edit("controls", lambda table: table.assign(number=["9" * 100_000 + "x", *table.number[1:]]))
    (problem,) = said(folder)
    assert len(problem) < 150
    assert problem.endswith("...' is not a number")


def test_zero_byte_is_refused_with_its_line(folder):
    rewrite(folder, "neutral", "What is the difference", "What is\0the difference")
    assert said(folder)[0].startswith("neutral.csv line 3: holds a zero byte")


CONTROLS = [("items", "text", each) for each in ("\x1b", "\x07", "\x08", "\x7f", "\x9b")]
PLACES = [
    ("items", "item_id"),
    ("contrasts", "positive"),
    ("questions", "instruction"),
    ("questions", "answer_prefix"),
    ("neutral", "text"),
]


@pytest.mark.parametrize(
    ("table", "column", "character"), [*CONTROLS, *((*place, "\x1b") for place in PLACES)]
)
def test_control_character_is_refused_with_its_cell_and_shown_as_escape(
    folder, edit, table, column, character
):
    def put(frame):
        frame.loc[0, column] = f"a{character}{frame.loc[0, column]}"

    edit(table, put)
    problems = said(folder)
    assert (
        f"{table}.csv row 2, column {column}: holds the control character {character!r}"
        in (problems[0])
    )
    assert character not in "".join(problems)


def test_line_breaks_and_tabs_inside_a_text_are_text(folder, edit):
    """The control."""
    edit("neutral", lambda table: table.assign(text=["one\ttwo\nthree", *table.text[1:]]))
    assert said(folder) == []
    assert el.load_stimuli(folder).neutral[0] == "one\ttwo\nthree"


@pytest.mark.parametrize("cell", ["\x1b[2Jvil", "\x1b]0;pwn\x07"])
def test_header_that_would_steer_a_terminal_is_shown_as_escapes(folder, cell):
    rewrite(folder, "neutral", "prompt_id,text", f"prompt_id,{cell}")
    (problem,) = said(folder)
    assert "lacks column text" in problem
    assert "\x1b" not in problem
    assert "\\x1b" in problem


@pytest.mark.parametrize("name", ["", "  ", "x" * 300, "a\0b"])
def test_name_that_is_no_folder_is_refused(name):
    with pytest.raises(el.EntangleError, match="neither a folder nor a bundled name"):
        el.load_stimuli(name)


def test_stimuli_of_another_type_are_refused(without_type_checks):
    with pytest.raises(el.EntangleError, match="of type int"):
        el.load_stimuli(3)


def test_problems_are_counted_in_plain_english(folder):
    rewrite(folder, "neutral", "prompt_id,text", "prompt_id,words")
    rewrite(folder, "controls", "control_id", "number")
    with pytest.raises(el.EntangleError, match=r"\(and 1 more problem\)"):
        el.load_stimuli(folder)
    rewrite(folder, "phrases", "pole", "side")
    with pytest.raises(el.EntangleError, match=r"\(and 2 more problems\)"):
        el.load_stimuli(folder)
