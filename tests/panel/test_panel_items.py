"""Which items and which models a table holds, and what several tables share."""

import unicodedata

import numpy as np
import pandas as pd
import pytest

import entangle_lens as el

pytestmark = pytest.mark.usefixtures("few_resamples")


def refused(*args, **more):
    with pytest.raises(el.EntangleError) as caught:
        el.analyse_ratings(*args, **more)
    return str(caught.value)


def r_of(table):
    return pytest.approx(table[["moral", "grammar"]].corr().iloc[0, 1], abs=1e-12)


@pytest.fixture
def numbered(make_ratings, texts_of):
    """Give a table whose ids are row numbers, with texts."""

    def make(seed=0, order=1):
        frame = make_ratings(seed=seed)
        frame = frame.assign(text=texts_of(frame))[::order].reset_index(drop=True)
        return frame.assign(item_id=range(1, 69))

    return make


@pytest.mark.parametrize("as_people", [False, True])
def test_id_whose_texts_differ_between_tables_is_refused_with_both(numbered, as_people):
    same, other = numbered(1), numbered(2, order=-1)
    tables = {"ratings": same} if as_people else {"a": same, "b": other}
    message = refused(tables, human=other if as_people else None)
    first, there = ("ratings", "people") if as_people else ("a", "b")
    assert f"item '1' has two texts: {same['text'][0]!r} in {first}" in message
    assert f"{other['text'][0]!r} in {there}" in message
    if as_people:
        assert el.analyse_ratings(same, human=numbered(2)).table()["n_common"].tolist() == [68]
    else:
        assert len(el.analyse_ratings({"a": same, "b": numbered(2)}).table()) == 2


def test_first_such_id_is_named_and_the_texts_are_cut_where_they_differ(numbered):
    one, other = numbered(), numbered()
    one["text"] = "It was said " * 20 + one["text"]
    other["text"] = one["text"].where(one["item_id"] < 9, one["text"] + " twice")
    message = refused({"a": one, "b": other})
    assert "item '9' has two texts: ...'" in message
    assert f"{one['text'][8][-20:]}' in a and ...'" in message
    assert " twice' in b" in message
    assert len(message) < 400


def test_id_whose_texts_differ_inside_a_table_is_refused_with_both(numbered):
    rows = pd.concat([numbered(seed) for seed in range(3)], ignore_index=True)
    assert el.analyse_ratings(rows).findings.tables[0].single
    rows.loc[70, "text"] = "I slept"
    message = refused(rows)
    text = rows["text"][2]
    assert (
        f"item '3' has two texts: {text!r} in row 4 of ratings and 'I slept' in row 72" in message
    )


def test_text_that_some_rows_leave_out_is_no_second_text(numbered):
    rows = pd.concat([numbered(seed) for seed in range(2)], ignore_index=True)
    whole = el.analyse_ratings(rows)
    rows.loc[[0, 70], "text"] = ""
    again = el.analyse_ratings(rows)
    assert again.findings.tables[0].texts() == whole.findings.tables[0].texts()


VARIANTS = {
    "apostrophes or quotation marks": ('I\'ll say "no"', "I\u2019ll say \u201cno\u201d"),
    "dashes": ("well-known - now", "well\u2011known \u2013 now"),
    "blanks": ("I said  so", "I\u00a0said so"),
    "the Unicode form of letters": ("caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")),
    "apostrophes or quotation marks and dashes": ("it's - so", "it\u2019s \u2014 so"),
}


def variants(frame, pair, column="item_id"):
    """Return two tables whose items differ in one pair of ways to write them."""
    return [frame.assign(**{column: [f"{text}, number {n}" for n in range(68)]}) for text in pair]


@pytest.mark.parametrize("kind", VARIANTS)
def test_items_that_differ_in_typography_only_are_said_to(make_ratings, kind):
    one, other = variants(make_ratings(), VARIANTS[kind])
    message = refused({"a": one, "b": other})
    assert "b lacks 68 of the 68 items of a" in message
    assert f"68 of them differ from items there only in {kind}: " in message
    assert message.endswith("; write them alike")
    message = refused(one, human=other)
    assert "people and ratings have no item in common: " in message
    assert f"68 differ only in {kind}: " in message


def test_letters_that_differ_are_named_by_their_numbers(make_ratings):
    one, other = variants(make_ratings(), ("I'll go", "I\u2019ll go"))
    assert '"I\'ll go, number 0" (U+0027) and' in refused({"a": one, "b": other})
    assert "(U+2019)" in refused({"a": one, "b": other})


def test_items_that_differ_in_words_are_not_said_to_differ_in_typography(make_ratings):
    one = make_ratings()
    other = one.assign(item_id=one["item_id"].str.replace("i0", "I 0"))
    assert "differ" not in refused({"a": one, "b": other})
    assert "common_items=True" in refused({"a": one, "b": other})


def test_people_whose_items_are_left_out_for_their_typography_are_said_to(make_ratings):
    model, people = variants(make_ratings(), ("I'll go", "I\u2019ll go"))
    people.loc[6:, "item_id"] = model["item_id"][6:]
    said = str(el.analyse_ratings(model, human=people))
    assert "people has both ratings of 62 of 68 items" in said
    assert "6 of the items left out differ from a model's only in apostrophes or" in said


def test_texts_of_one_id_that_differ_in_typography_only_count_as_the_same(make_ratings):
    one, other = variants(make_ratings(), ("I'll go", "I\u2019ll go"), "text")
    both = el.analyse_ratings({"a": one, "b": other})
    assert "The texts of 68 items differ between tables only in apostrophes or" in str(both)
    plain = el.analyse_ratings({"a": one, "b": one})
    pd.testing.assert_frame_equal(both.table(), plain.table())
    assert "differ between tables" not in str(plain)


def test_items_that_share_a_text_are_counted_and_said(numbered):
    repeated = numbered()
    repeated.loc[1, "text"] = repeated["text"][0]
    repeated.loc[9, "text"] = repeated["text"][8].replace(" ", "\u00a0")
    said = str(el.analyse_ratings(repeated))
    assert "ratings: 4 items share their text with another item ('I stole the bicycle" in said
    assert "share their text" not in str(el.analyse_ratings(numbered()))


def stacked(make_ratings, **more):
    tables = {f"model-{name}": make_ratings(leak, n) for n, (name, leak) in enumerate(MODELS)}
    return tables, pd.concat(
        [table.assign(**{"model": name, **more}) for name, table in tables.items()],
        ignore_index=True,
    )


MODELS = (("a", 0.9), ("b", 0.2), ("c", -0.6))


@pytest.mark.parametrize("column", ["model", "Model", "model_name", "llm", "who"])
@pytest.mark.parametrize("form", ["frame", "file", "shuffled"])
def test_each_model_of_a_stacked_table_is_analysed_alone(make_ratings, tmp_path, column, form):
    tables, rows = stacked(make_ratings)
    rows = rows.rename(columns={"model": column})
    if form == "shuffled":
        rows = rows.sample(frac=1, random_state=3)
    rows.to_csv(tmp_path / "all.csv", index=False)
    source = tmp_path / "all.csv" if form == "file" else rows
    named = {"model": "who"} if column == "who" else {}
    found = el.analyse_ratings(source, **named).table().set_index("model")
    assert set(found.index) == set(tables)
    for name, table in tables.items():
        assert found.loc[name, "r"] == r_of(table)
    if form != "shuffled":
        apart = el.analyse_ratings(tables).table().set_index("model")
        pd.testing.assert_frame_equal(found, apart)


def test_stacked_rows_of_item_and_value_and_single_ratings_are_split_too(make_ratings, to_long):
    tables, rows = stacked(make_ratings)
    long = pd.concat([to_long(table).assign(model=name) for name, table in tables.items()])
    apart = el.analyse_ratings(tables).table()
    pd.testing.assert_frame_equal(el.analyse_ratings(long).table(), apart)
    twice = pd.concat([rows, rows.assign(grammar=rows["grammar"] + 1)])
    found = el.analyse_ratings(twice)
    np.testing.assert_allclose(found.table()["r"], apart["r"], atol=1e-12)
    assert all(table.single for table in found.findings.tables)


def test_column_of_one_model_names_nothing_and_splits_nothing(make_ratings):
    alone = make_ratings().assign(model="gpt")
    assert el.analyse_ratings(alone).table()["model"].tolist() == ["ratings"]
    assert el.analyse_ratings({"mine": alone}).table()["model"].tolist() == ["mine"]


def test_models_that_two_sources_name_are_told_apart(make_ratings):
    _, rows = stacked(make_ratings)
    found = el.analyse_ratings({"x": rows, "y": rows[rows["model"] != "model-a"]}).table()
    assert found["model"].tolist() == [
        "model-a",
        "x: model-b",
        "x: model-c",
        "y: model-b",
        "y: model-c",
    ]


def test_faults_in_a_stacked_table_name_the_model_and_the_row(make_ratings):
    _, rows = stacked(make_ratings)
    rows = rows.astype(object)
    rows.loc[70, "grammar"] = "high"
    assert "model-b: column 'grammar' does not hold a finite number in row 72 'high'" in refused(
        rows
    )
    _, rows = stacked(make_ratings)
    assert "model-b lacks 1 of the 68 items of model-a ('i02')" in refused(rows.drop(index=70))
    rows.loc[3, "model"] = None
    assert "column 'model' is empty in row 5" in refused(rows)
    assert "no column is named 'nobody' (model=...)" in refused(rows, model="nobody")


def test_people_of_several_models_are_refused(make_ratings):
    _, rows = stacked(make_ratings)
    message = refused(make_ratings(), human=rows)
    assert "people: column 'model' names 3 models (model-a, model-b, model-c), and one" in message


def test_only_the_items_that_all_have_rated_are_kept_and_the_others_counted(make_ratings):
    a, b, people = (make_ratings(seed=seed) for seed in range(3))
    a = a.drop(index=range(4))
    b.loc[[4, 5], "grammar"] = np.nan
    people = people.drop(index=[6])
    found = el.analyse_ratings({"a": a, "b": b}, human=people, common_items=True)
    table = found.table().set_index("model")
    common = [f"i{n:02d}" for n in range(7, 68)]
    for name, frame in (("a", a), ("b", b)):
        assert table.loc[name, "r"] == r_of(frame[frame["item_id"].isin(common)])
    assert table["n_items"].tolist() == table["n_common"].tolist() == [61, 61]
    assert table["n_missing"].tolist() == [0, 0]
    assert found.findings.people.entanglement.value == r_of(people[people["item_id"].isin(common)])
    assert (
        "Only the 61 items that all 3 tables have both ratings of were kept, of 68; left out were "
        "a: 3 of 64; b: 7 of 68; people: 6 of 67." in str(found)
    )


def test_common_items_change_nothing_where_all_have_rated_all(make_ratings):
    tables = {"a": make_ratings(seed=1), "b": make_ratings(seed=2)}
    found = el.analyse_ratings(tables, common_items=True)
    pd.testing.assert_frame_equal(found.table(), el.analyse_ratings(tables).table())
    assert "left out were a: 0 of 68; b: 0 of 68" in str(found)


def test_no_or_too_few_common_items_are_refused(make_ratings):
    frame = make_ratings()
    apart = frame.assign(item_id=frame["item_id"] + "x")
    assert "no item has both ratings in all 2 tables (a, b)" in refused(
        {"a": frame, "b": apart}, common_items=True
    )
    assert "7 scenarios were given" in refused(
        {"a": frame, "b": frame.iloc[:28]}, common_items=True
    )
    one, other = variants(frame, ("I'll go", "I\u2019ll go"))
    assert "only in apostrophes or quotation marks" in refused([one, other], common_items=True)


def test_scenarios_of_one_item_each_are_called_independent(make_ratings):
    frame = make_ratings()
    alone = el.analyse_ratings(frame.assign(scenario_id=frame["item_id"]))
    assert "Every scenario has 1 item, so items are treated as independent draws" in str(alone)
    assert "8, 16 or 21 % false positives" in str(alone)
    frame.loc[0, "scenario_id"] = "alone"
    assert "independent draws" not in str(el.analyse_ratings(frame))
