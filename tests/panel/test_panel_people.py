"""People's table has column names of its own."""

import pandas as pd
import pytest

import entangle_lens as el

pytestmark = pytest.mark.usefixtures("few_resamples")

HUMAN = {"moral": "morals", "secondary": "grammaticality of it", "item": "nr", "scenario": "group"}


@pytest.mark.parametrize("form", ["wide", "long"])
def test_peoples_columns_are_named_apart_from_the_models(make_ratings, to_long, form):
    model, people = make_ratings(seed=1), make_ratings(seed=2)
    expected = el.analyse_ratings(model, human=people).table()
    names = dict(zip(("moral", "grammar", "item_id", "scenario_id"), HUMAN.values(), strict=True))
    columns = dict(HUMAN)
    if form == "long":
        people = to_long(people).replace(names).rename(columns={"value": "a", "mean": "b"})
        columns |= {"value_column": "a", "rating_column": "b"}
    people = people.rename(columns=names)
    found = el.analyse_ratings(model, human=people, human_columns=columns)
    pd.testing.assert_frame_equal(found.table(), expected)
    odd = model.set_axis(["i", "s", "m", "g"], axis=1)
    own = {"moral": "m", "secondary": "g", "item": "i", "scenario": "s"}
    found = el.analyse_ratings(odd, **own, human=people, human_columns=columns)
    pd.testing.assert_frame_equal(found.table(), expected)


def test_peoples_standard_errors_are_named_apart(make_ratings):
    people = make_ratings(seed=2).assign(e=0.3, f=0.2)
    found = el.analyse_ratings(make_ratings(), human=people, human_columns={"se": ("e", "f")})
    assert found.findings.people.reliability is not None
    assert found.findings.raters[0].reliability is None


def test_wrong_names_of_peoples_columns_are_refused(make_ratings):
    model, people = make_ratings(), make_ratings(seed=2)

    def refused(columns, human=people):
        with pytest.raises(el.EntangleError) as caught:
            el.analyse_ratings(model, human=human, human_columns=columns)
        return str(caught.value)

    assert "people: no column is named 'joy' (human_columns={'moral': ...})" in refused(
        {"moral": "joy"}
    )
    assert "names 'model'; the names are moral, secondary, item" in refused({"model": "m"})
    assert "moral is ('a', 'b'); the name of one column" in refused({"moral": ("a", "b")})
    assert "give them as human" in refused({"moral": "moral"}, None)
    unnamed = people.rename(columns={"item_id": "nr"})
    assert "name it with human_columns={'item': ...}, one of: nr" in refused(None, unnamed)
