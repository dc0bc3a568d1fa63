"""A folder whose cells are sound and whose design is not: each fault is named."""

import pandas as pd
import pytest

import entangle_lens as el
from entangle_lens.stimuli import check_stimuli


def said(folder):
    return [str(problem) for problem in check_stimuli(folder)]


def spreadsheet_row(table, column, value, nth=0):
    return table.index[table[column] == value][nth] + 2


def test_pairs_of_one_scenario_in_fit_and_select_are_refused(folder, edit):
    rows = {}

    def cross(contrasts):
        rows["fit"] = spreadsheet_row(contrasts, "split", "fit")
        rows["select"] = spreadsheet_row(contrasts, "split", "select")
        shared = contrasts.loc[rows["fit"] - 2, "scenario_id"]
        contrasts.loc[rows["select"] - 2, "scenario_id"] = shared

    edit("contrasts", cross)
    (problem,) = said(folder)
    assert problem.startswith(f"contrasts.csv row {rows['select']}, column scenario_id: scenario")
    assert f"split 'select' here and in split 'fit' in contrasts.csv row {rows['fit']}" in problem
    with pytest.raises(el.EntangleError, match="belongs to one split"):
        el.load_stimuli(folder)


def test_item_whose_scenario_was_fitted_on_is_refused(folder, edit):
    edit("contrasts", lambda pairs: pairs.replace({"scenario_id": {"fit_moral_01": "good_01"}}))
    (problem,) = said(folder)
    assert problem.startswith("contrasts.csv row 2, column scenario_id")
    assert "in split 'test' in items.csv row 2" in problem


def test_scenario_moved_whole_to_another_split_is_sound(folder, edit):
    """The control: it is the crossing that is refused, not the move."""

    def move(contrasts):
        contrasts.loc[contrasts["scenario_id"] == "fit_moral_01", "split"] = "select"

    edit("contrasts", move)
    assert said(folder) == []


def test_scenario_with_two_moral_levels_is_refused(folder, edit):
    edit("items", lambda items: items.assign(moral=["1", "-1", *items["moral"][2:]]))
    assert said(folder) == [
        "items.csv row 3, column moral: scenario 'good_01' has moral level 1 in an earlier row"
    ]


@pytest.mark.parametrize("price", ["", "0", "-5", "1e400"])
def test_price_that_has_no_logarithm_is_refused(folder, edit, price):
    rows = []

    def spoil(items):
        rows.append(spreadsheet_row(items, "set", "moral_economic", nth=5))
        items.loc[rows[0] - 2, "price"] = price

    edit("items", spoil)
    (problem,) = said(folder)
    assert problem.startswith(f"items.csv row {rows[0]}, column price: ")


def test_price_is_not_asked_of_grammar_items(folder):
    items = pd.read_csv(folder / "items.csv")
    assert items.loc[items["set"] == "moral_grammar", "price"].isna().all()
    assert said(folder) == []


@pytest.mark.parametrize(
    ("column", "level", "secondary", "named"),
    [
        ("moral", "1", "grammar", "moral_grammar has one moral level"),
        ("corruption", "1", "grammar", "moral_grammar has one grammar level"),
        ("price", "50", "economic", "moral_economic has one economic level"),
    ],
)
def test_factor_with_one_level_is_refused(folder, edit, column, level, secondary, named):
    def keep(items):
        return items[(items["set"] != f"moral_{secondary}") | (items[column] == level)]

    edit("items", keep)
    assert any(named in problem for problem in said(folder))


@pytest.mark.parametrize("split", ["fit", "select"])
@pytest.mark.parametrize("value", ["moral", "grammar", "economic"])
def test_value_with_too_few_pairs_is_refused(folder, edit, value, split):
    def keep(n_pairs):
        def kept(contrasts):
            chosen = (contrasts["value"] == value) & (contrasts["split"] == split)
            return contrasts[~chosen | (chosen.cumsum() <= n_pairs)]

        return kept

    edit("contrasts", keep(8))
    assert said(folder) == []
    edit("contrasts", keep(7))
    assert said(folder) == [
        f"contrasts.csv: value {value!r} has 7 pairs in split {split!r}; needs 8"
    ]


def test_question_asked_twice_is_refused(folder, edit):
    edit("questions", lambda questions: pd.concat([questions, questions[:1]]))
    (problem,) = said(folder)
    assert problem.startswith("questions.csv row 62, column value")
    assert "'moral / 1 / ascending' stands already in row 2" in problem


@pytest.mark.parametrize("value", ["moral", "economic", "animal_size"])
def test_value_and_control_without_a_question_are_refused(folder, edit, value):
    edit("questions", lambda questions: questions[questions["value"] != value])
    assert said(folder) == [f"questions.csv, column value: no question asks for {value!r}"]


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("From {low} up.", "must name the ends"),
        ("From {low} to {high}, {name}.", "must name the ends"),
        ("From {low} to {high}, { mean.", "stray brace"),
        ("From {low:s} to {high}.", "without a format"),
        ("From {low!x} to {high}.", "without a format"),
        ("From {low:zzz} to {high}.", "without a format"),
        ("From {low} to {high:>999999999}.", "without a format"),
        ("From {low} to {high:{low}}.", "without a format"),
        ("From {low.real} to {high}.", "must name the ends"),
        ("From {low[0]} to {high}.", "must name the ends"),
        ("From {low} to {high}{}.", "must name the ends"),
        ("From {low} to {0}{high}.", "must name the ends"),
    ],
)
def test_instruction_that_cannot_be_filled_in_is_refused(folder, edit, instruction, expected):
    edit("questions", lambda t: t.assign(instruction=[instruction, *t["instruction"][1:]]))
    (problem,) = said(folder)
    assert problem.startswith("questions.csv row 2, column instruction")
    assert expected in problem


@pytest.mark.parametrize(
    ("table", "column"),
    [("contrasts", "pair_id"), ("controls", "control_id"), ("neutral", "prompt_id")],
)
def test_id_that_stands_twice_is_refused(folder, edit, table, column):
    def repeat(frame):
        frame.loc[3, column] = frame.loc[1, column]

    edit(table, repeat)
    (problem,) = said(folder)
    assert problem.startswith(f"{table}.csv row 5, column {column}")
    assert "stands already in row 3" in problem


def test_phrases_that_tell_nothing_apart_are_refused(folder, edit):
    def alike(phrases):
        phrases.loc[phrases["value"] == "moral", "phrase"] = "good"

    edit("phrases", alike)
    expected = (
        "phrases.csv: has the same high and low phrases for 'moral', which tell nothing apart"
    )
    assert said(folder) == [expected]


def test_control_whose_number_never_varies_is_refused(folder, edit):
    names = pd.read_csv(folder / "controls.csv")["set"].unique()
    edit("controls", lambda table: table.assign(number="3"))
    assert said(folder) == [
        f"controls.csv: set {name!r} has one number, and needs two that differ" for name in names
    ]


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ([("moral", "low")], "phrases.csv: has no low phrases for 'moral'; it needs both"),
        (
            [("grammar", "low"), ("grammar", "high")],
            "phrases.csv: has no high and no low phrases for 'grammar'; it needs both",
        ),
    ],
)
def test_phrases_without_a_pole_are_refused(folder, edit, lost, expected):
    def keep(phrases):
        return phrases[
            [each not in lost for each in zip(phrases["value"], phrases["pole"], strict=True)]
        ]

    edit("phrases", keep)
    assert said(folder) == [expected]
