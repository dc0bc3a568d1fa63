"""The same text twice is found, whatever its id, and named with both."""

import pandas as pd
import pytest

from entangle_lens.stimuli import check_stimuli


def said(folder):
    return [str(problem) for problem in check_stimuli(folder)]


def copy_cells(table, source, target, columns):
    """Give row ``target`` the cells of row ``source``, both as a spreadsheet counts."""
    table.loc[target - 2, columns] = table.loc[source - 2, columns].to_numpy()


@pytest.mark.parametrize("other_row", [3, 20])
@pytest.mark.parametrize("change", [str, str.upper, lambda text: f" {text.replace(' ', '  ')}"])
def test_same_item_under_two_ids_is_refused_in_its_scenario_and_in_another(
    folder, edit, other_row, change
):
    def repeat(items):
        copy_cells(items, 2, other_row, ["text"])
        items.loc[other_row - 2, "text"] = change(items.loc[other_row - 2, "text"])

    edit("items", repeat)
    other = pd.read_csv(folder / "items.csv").loc[other_row - 2, "item_id"]
    assert said(folder) == [
        f"items.csv row {other_row}, column text: item {other!r} has the text of item "
        "'mg_good_01_1' in row 2, letter case and blanks left aside; leave one of them out"
    ]


def test_text_of_one_set_may_stand_in_the_other_set_too(folder):
    """The control: the two sets are measured apart, and the bundled ones share texts."""
    items = pd.read_csv(folder / "items.csv")
    assert items["text"].duplicated().sum() == 36
    assert said(folder) == []


def test_pair_of_two_equal_texts_is_refused(folder, edit):
    edit("contrasts", lambda pairs: pairs.assign(negative=[pairs.positive[0], *pairs.negative[1:]]))
    (problem,) = said(folder)
    assert problem.startswith(
        "contrasts.csv row 2, column negative: pair 'fit_mor_01' has the same"
    )


def test_minimal_pair_of_two_equal_texts_is_refused(folder, edit):
    edit(
        "minimal_pairs", lambda t: t.assign(ungrammatical=[t.grammatical[0], *t.ungrammatical[1:]])
    )
    (problem,) = said(folder)
    assert problem.startswith("minimal_pairs.csv row 2, column ungrammatical: pair ")


def test_pair_that_differs_in_letter_case_is_a_pair(folder, edit):
    """The control: grammar may be a matter of letter case."""
    edit("contrasts", lambda t: t.assign(negative=[t.positive[0].upper(), *t.negative[1:]]))
    assert said(folder) == []


@pytest.mark.parametrize("split", ["fit", "select"])
def test_pair_that_stands_twice_is_refused_with_both_ids_and_splits(folder, edit, split):
    rows = []

    def repeat(pairs):
        chosen = pairs[(pairs["value"] == "moral") & (pairs["split"] == split)]
        rows.append(chosen.index[1] + 2)
        copy_cells(pairs, 2, rows[0], ["positive", "negative"])

    edit("contrasts", repeat)
    (problem,) = said(folder)
    assert problem.startswith(f"contrasts.csv row {rows[0]}, column positive: pair ")
    assert "has the texts of pair 'fit_mor_01' in row 2" in problem
    assert ("(splits fit and select)" in problem) == (split == "select")


@pytest.mark.parametrize("side", ["positive", "negative"])
def test_test_item_in_a_pair_is_refused(folder, edit, side):
    text = pd.read_csv(folder / "items.csv")["text"][0]
    edit("contrasts", lambda pairs: pairs.assign(**{side: [text.upper(), *pairs[side][1:]]}))
    (problem,) = said(folder)
    assert problem.startswith(f"contrasts.csv row 2, column {side}: pair 'fit_mor_01' holds")
    assert "'mg_good_01_1'" in problem or "'me_good_01" in problem
