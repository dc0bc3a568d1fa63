"""A user's own folder: what is wrong is said with table, row and column."""

import pandas as pd
import pytest

import entangle_lens as el
from entangle_lens.stimuli import check_stimuli


def spoil(folder, table, row, column, value):
    path = folder / f"{table}.csv"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[row - 2, column] = value
    frame.to_csv(path, index=False)


@pytest.mark.parametrize(
    ("table", "row", "column", "value", "said"),
    [
        ("items", 5, "text", "", "is empty"),
        ("items", 5, "text", "   ", "is empty"),
        ("items", 3, "item_id", "mg_good_01_1", "mg_good_01_1"),
        ("items", 7, "moral", "2", "the levels are"),
        ("items", 7, "moral", "nan", "the levels are"),
        ("items", 7, "corruption", "0", "the levels are"),
        ("items", 9, "split", "fit", "split"),
        ("items", 9, "split", "dev", "unknown level"),
        ("items", 9, "set", "moral_joy", "unknown level"),
        ("items", 200, "price", "cheap", "is not a number"),
        ("items", 200, "price", "nan", "is not a price above 0"),
        ("items", 200, "log_price", "9", "log10"),
        ("contrasts", 4, "positive", "", "is empty"),
        ("contrasts", 4, "split", "test", "unknown level"),
        ("contrasts", 4, "value", "joy", "unknown level"),
        ("contrasts", 60, "scenario_id", "good_01", "belongs to one split"),
        ("questions", 2, "instruction", "Rate it.", "{low}"),
        ("questions", 3, "polarity", "sideways", "unknown level"),
        ("controls", 3, "number", "", "is not a number"),
        ("controls", 3, "number", "1_000", "'1_000' is not a number"),
        ("controls", 3, "number", "\u0663", "is not a number"),
        ("controls", 3, "number", "1e999", "is not a number"),
        ("neutral", 3, "text", "", "is empty"),
        ("minimal_pairs", 3, "grammatical", "", "is empty"),
        ("phrases", 3, "pole", "middle", "unknown level"),
        ("covariates", 3, "log_frequency", "often", "is not a number"),
        ("covariates", 3, "log_frequency", "", "is not a number"),
        ("covariates", 3, "item_id", "nobody", "is not an item of items.csv"),
    ],
)
def test_bad_cell_is_named_by_table_row_and_column(folder, table, row, column, value, said):
    spoil(folder, table, row, column, value)
    problems = [str(each) for each in check_stimuli(folder)]
    named = [
        text for text in problems if text.startswith(f"{table}.csv row {row}, column {column}:")
    ]
    assert named, problems
    assert any(said in text for text in named)
    with pytest.raises(el.EntangleError, match=rf"{table}\.csv row"):
        el.load_stimuli(folder)


def test_covariates_are_numbers_of_each_item_and_none_may_lack_them(folder):
    path = folder / "covariates.csv"
    frame = pd.read_csv(path).sample(frac=1, random_state=0).assign(surprise=range(288))
    frame.to_csv(path, index=False)
    items = el.load_stimuli(folder).items["grammar"].table
    right = frame.set_index("item_id").loc[items["item_id"]]
    assert items["covariate_log_frequency"].tolist() == right["log_frequency"].tolist()
    assert items["covariate_surprise"].tolist() == right["surprise"].tolist()
    frame.iloc[2:].to_csv(path, index=False)
    with pytest.raises(el.EntangleError, match=r"covariates.csv: has no row for 2 items .*'m"):
        el.load_stimuli(folder)
    path.unlink()
    assert "covariate_surprise" not in el.load_stimuli(folder).items["grammar"].table


def test_untouched_folder_is_sound(folder):
    assert check_stimuli(folder) == []
    assert (
        el.load_stimuli(folder).items["grammar"].texts
        == el.load_stimuli("goods").items["grammar"].texts
    )


@pytest.mark.parametrize("table", ["items", "contrasts", "questions"])
def test_missing_table_is_named(folder, table):
    (folder / f"{table}.csv").unlink()
    assert any(f"{table}.csv: is missing" in str(each) for each in check_stimuli(folder))


@pytest.mark.parametrize("table", ["phrases", "controls", "neutral", "minimal_pairs"])
def test_optional_table_may_be_missing(folder, table):
    (folder / f"{table}.csv").unlink()
    assert check_stimuli(folder) == []


def test_missing_column_is_named(folder):
    frame = pd.read_csv(folder / "items.csv").drop(columns=["scenario_id"])
    frame.to_csv(folder / "items.csv", index=False)
    assert any(
        "scenario_id" in str(each) and "items.csv" in str(each) for each in check_stimuli(folder)
    )


def test_all_problems_are_listed_not_only_the_first(folder):
    spoil(folder, "items", 5, "text", "")
    spoil(folder, "neutral", 3, "text", "")
    assert len(check_stimuli(folder)) == 2
    with pytest.raises(el.EntangleError, match="and 1 more"):
        el.load_stimuli(folder)


def test_too_few_scenarios_are_refused(folder):
    items = pd.read_csv(folder / "items.csv")
    few = items[items["scenario_id"].isin(["good_01", "bad_01", "neutral_01"])]
    few.to_csv(folder / "items.csv", index=False)
    assert any("3 scenarios and needs 8" in str(each) for each in check_stimuli(folder))


@pytest.mark.parametrize(
    ("text", "ratings"), [("1:9", range(1, 10)), ("-10:10", range(-10, 11)), ("0:3", range(4))]
)
def test_scale_is_read(text, ratings):
    scale = el.Scale.parse(text)
    assert list(scale.ratings) == list(ratings)
    assert list(scale.options) == [str(rating) for rating in ratings]


@pytest.mark.parametrize("text", ["9:1", "5:5", "1-9", "one:nine", "1:", ""])
def test_scale_that_cannot_be_is_refused(text):
    with pytest.raises(el.EntangleError, match="LOW"):
        el.Scale.parse(text)
