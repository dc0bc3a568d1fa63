"""What a cell, or a row, of a rating table is: thousands, a code for missing, the column's mean."""

import numpy as np
import pandas as pd
import pytest

import entangle_lens as el

pytestmark = pytest.mark.usefixtures("few_resamples")

N_ITEMS = 12


def table(secondary, moral=None):
    n = len(secondary)
    moral = np.random.default_rng(4).integers(1, 8, size=n) if moral is None else moral
    return pd.DataFrame({"item": [f"i{k}" for k in range(n)], "moral": moral, "grammar": secondary})


def analysed(secondary, **more):
    found = el.analyse_ratings(table(secondary), **more)
    return found, found.findings.tables[0].table["secondary"].to_numpy()


def refused(secondary, **more):
    with pytest.raises(el.EntangleError) as caught:
        analysed(secondary, **more)
    return str(caught.value)


def filled(*cells):
    """Repeat cells until there are as many as items."""
    return [cells[number % len(cells)] for number in range(N_ITEMS)]


GROUPED = {
    "prices": (["25", "450", "7,500", "355,000"], [25, 450, 7_500, 355_000]),
    "millions": (["1,234,567", "2,345"], [1_234_567, 2_345]),
    "decimals behind": (["1,234.5", "2,345"], [1_234.5, 2_345]),
    "decimals elsewhere": (["0.5", "-2,345", "+1,234"], [0.5, -2_345, 1_234]),
    "with blanks": (["", "25", "7,500"], [np.nan, 25, 7_500]),
}


@pytest.mark.parametrize("what", GROUPED)
def test_commas_that_can_only_group_thousands_are_left_out(what):
    cells, expected = GROUPED[what]
    found, values = analysed(filled(*cells), allow_missing=True)
    np.testing.assert_array_equal(values, filled(*expected))
    r = table(filled(*expected))[["moral", "grammar"]].corr().iloc[0, 1]
    assert found.table()["r"][0] == pytest.approx(r, abs=1e-12)


AMBIGUOUS = {
    "three digits each": ["1,234", "2,345"],
    "all with zeros": ["7,500", "355,000"],
    "whole numbers without zeros": ["1", "7", "1,234", "2,345"],
    "a number above a thousand without": ["25", "1500", "7,500"],
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_commas_that_may_be_decimal_too_are_refused_with_both_readings(what):
    cells = AMBIGUOUS[what]
    first = next(cell for cell in cells if "," in cell)
    message = refused(filled(*cells))
    whole, decimal = first.replace(",", ""), f"{float(first.replace(',', '.')):g}"
    assert f"{first!r} is {whole} if the comma groups thousands and {decimal} if" in message
    assert message.endswith(f"write {whole} or {decimal}")
    assert "'grammar'" in message


@pytest.mark.parametrize("cells", [["0,39", "1,5"], ["0,390", "1,500"], ["2", "7,5", "7,500"]])
def test_commas_that_group_nothing_are_called_decimal(cells):
    assert refused(filled(*cells)).endswith("write a decimal point, not a decimal comma")


def test_points_that_group_thousands_are_refused_and_decimal_points_are_not():
    message = refused(filled("25", "450", "7.500", "355.000"))
    assert "'7.500' is 7500 if the point groups thousands and 7.5 if it is" in message
    for cells in (["25", "7.5", "355"], ["7.500", "355.000"], ["25", "7.125", "355.375"]):
        np.testing.assert_array_equal(analysed(filled(*cells))[1], filled(*map(float, cells)))
    frame = [25.0, 450.0, 7.5, 355.0]
    np.testing.assert_array_equal(analysed(filled(*frame))[1], filled(*frame))


RATINGS = [1.0, 2, 3, 4, 5, 6, 7, 2, 3, 5, 6, 4]


def with_codes(*codes, scale=1.0):
    """Put codes in place of the first ratings."""
    return [*codes, *(scale * rating for rating in RATINGS[len(codes) :])]


SUSPECTED = {
    "-99": with_codes(-99, -99, scale=-1),
    "99": with_codes(99),
    "999": with_codes(999, 999, scale=14.0),
    "-1": with_codes(-1),
    "-9": with_codes(-9),
    "-999": with_codes(-999, scale=14.0),
    "98": with_codes(98),
    "9999": with_codes(9999, scale=20.0),
}


@pytest.mark.parametrize("code", SUSPECTED)
def test_code_for_a_missing_rating_is_refused_with_both_ways_out(code):
    ratings = SUSPECTED[code]
    count = ratings.count(float(code))
    message = refused(ratings)
    assert f"'grammar' holds {code} {'once' if count == 1 else f'{count} times'} (row 2" in message
    assert message.endswith(
        f"declare it with missing_codes=({code},), or keep it as a rating with missing_codes=()"
    )
    kept, values = analysed(ratings, missing_codes=())
    np.testing.assert_array_equal(values, ratings)
    found, values = analysed(ratings, missing_codes=(float(code),), allow_missing=True)
    expected = pd.Series(ratings).where(pd.Series(ratings) != float(code))
    np.testing.assert_array_equal(values, expected)
    r = table(expected)[["moral", "grammar"]].corr().iloc[0, 1]
    assert found.table()[["r", "n_missing"]].to_numpy().tolist() == [[pytest.approx(r), count]]
    assert f"{count} rating" in str(found)
    assert "code for missing" not in str(kept)


RATED = {
    "a scale to 7 with a 9": with_codes(9, 9),
    "a scale to 100": [99, 98, 97, 88, 77, 66, 12, 40, 100, 5, 63, 71],
    "levels": [-1, 0, 1] * 4,
    "a scale from -9 to 9": [-9, 9, -8, 8, 5, 3, 1, 0, -2, -5, 6, 7],
    "prices": [999, 450, 1_200, 25, 99, 300, 9_999, 7_500, 20, 60, 80, 500],
    "means with a -1": [-1, 1.5, 2.25, 3, 4.5, 3.25, 2, 1, 6, 5, 4, 2.5],
    "far but no code": with_codes(1_000, -100),
    "one value and a code in one digit": [5] * 11 + [9],
}


@pytest.mark.parametrize("what", RATED)
def test_ratings_that_may_be_meant_are_no_codes(what):
    np.testing.assert_array_equal(analysed(RATED[what])[1], RATED[what])


def test_several_codes_are_named_together_and_another_is_said():
    ratings = [99, -99, -99, *RATINGS[3:]]
    assert "declare it with missing_codes=(-99, 99), or" in refused(ratings)
    found, values = analysed(ratings, missing_codes=-99, allow_missing=True)
    assert values[0] == 99
    assert "99 stands once, far outside the other ratings, and counts as a rating" in str(found)


def test_codes_may_be_words_and_stand_in_standard_errors_and_single_ratings(make_ratings):
    frame = make_ratings().astype(object).assign(a=0.1, b=0.1)
    frame.loc[[3, 9], "grammar"], frame.loc[[3, 9], "b"] = "refused", -9
    with pytest.raises(el.EntangleError, match="row 5 'refused'"):
        el.analyse_ratings(frame)
    found = el.analyse_ratings(frame, missing_codes=["refused", -9], se=("a", "b"))
    assert found.table()["n_missing"].tolist() == [2]
    assert "2 ratings that hold a code for missing (-9, refused) were left out" in str(found)
    rows = pd.concat([make_ratings(seed=seed) for seed in range(3)])
    rows.iloc[5, 3] = -99
    with pytest.raises(el.EntangleError, match=r"'grammar' holds -99 once \(row 7\)"):
        el.analyse_ratings(rows)
    assert el.analyse_ratings(rows, missing_codes=-99).findings.tables[0].n_missing_single == 1


def test_code_that_no_table_holds_is_said(make_ratings):
    assert "but no rating is -99." in str(el.analyse_ratings(make_ratings(), missing_codes=-99))
    assert "no rating is" not in str(el.analyse_ratings(make_ratings(), missing_codes=()))


FOOT = {
    "Mean": lambda x: x.mean(),
    "AVERAGE:": lambda x: x.mean(),
    "Grand mean": lambda x: x.mean(),
    "Total": lambda x: x.sum(),
    "SD": lambda x: x.std(),
    "std. dev.": lambda x: x.std(),
    "Median": lambda x: x.median(),
    "Max": lambda x: x.max(),
    "N": lambda x: x.count(),
}


@pytest.mark.parametrize("decimals", [4, 2, None])
@pytest.mark.parametrize("name", FOOT)
def test_foot_row_that_holds_a_statistic_is_refused_and_named(tmp_path, name, decimals):
    items = table(np.random.default_rng(1).normal(size=N_ITEMS).round(6), np.arange(12.0) ** 2)
    values = {column: FOOT[name](items[column]) for column in ("moral", "grammar")}
    if decimals is not None:
        values = {column: round(value, decimals) for column, value in values.items()}
    foot = pd.concat([items, pd.DataFrame([{"item": name, **values}])])
    foot.to_csv(tmp_path / "a.csv", index=False)
    for source in (foot, tmp_path / "a.csv"):
        with pytest.raises(el.EntangleError, match=rf" row 14: '{name}' holds the .*delete the"):
            el.analyse_ratings(source)
    assert el.analyse_ratings(items).table()["n_items"].tolist() == [12]


def test_several_foot_rows_are_found_each_without_the_others():
    items = table(np.random.default_rng(1).normal(size=N_ITEMS), np.arange(12.0) ** 2)
    rows = [{"item": "SD", **items[["moral", "grammar"]].std()}]
    rows = [{"item": "Mean", **items[["moral", "grammar"]].mean()}, *rows]
    with pytest.raises(el.EntangleError, match="row 14: 'Mean' holds the mean"):
        el.analyse_ratings(pd.concat([items, pd.DataFrame(rows)]))
    with pytest.raises(el.EntangleError, match="row 14: 'SD' holds the standard deviation"):
        el.analyse_ratings(pd.concat([items, pd.DataFrame(rows[1:])]))


def test_foot_rows_of_a_table_of_items_and_values_are_refused(make_ratings, to_long):
    frame = make_ratings()
    foot = {"item_id": "Mean", "scenario_id": "-", **frame[["moral", "grammar"]].mean()}
    with pytest.raises(el.EntangleError, match="'Mean' holds the mean of the other rows"):
        el.analyse_ratings(to_long(pd.concat([frame, pd.DataFrame([foot])])))


def test_item_that_is_only_called_a_statistic_stays_an_item():
    words = table(np.random.default_rng(1).integers(1, 8, size=N_ITEMS))
    words["item"] = ["mean", "average", "total", *words["item"][3:]]
    assert el.analyse_ratings(words).table()["n_items"].tolist() == [12]
    assert "counts as an item" not in str(el.analyse_ratings(words))
    last = words.iloc[::-1]
    assert "the last row, 'mean', counts as an item" in str(el.analyse_ratings(last))
