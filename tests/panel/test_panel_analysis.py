"""Entanglement in rating tables: the number, its interval, its company, people beside it."""

from decimal import Decimal, localcontext

import numpy as np
import pandas as pd
import pytest

import entangle_lens as el
from entangle_lens.statistics import Clusters, correlation_estimate, mean_rating_reliability


def first(analysis):
    return analysis.findings.raters[0].entanglement


def exact_r(x, y):
    """Return Pearson's r in sixty digits."""
    with localcontext() as context:
        context.prec = 60
        x, y = ([Decimal(float(value)) for value in values] for values in (x, y))
        dx, dy = ([value - sum(values) / len(values) for value in values] for values in (x, y))
        product = sum(a * b for a, b in zip(dx, dy, strict=True))
        return float(product / (sum(a * a for a in dx) * sum(b * b for b in dy)).sqrt())


# pandas itself loses the twelfth decimal where the offset is a million times the spread.
SCALES = [(1, 0), (1e-6, 0), (1e9, -1e9), (1e-150, 0), (1, 1_000)]
FAR_OFF = [(1e-6, 3), (1, 1e9)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("factor", "offset"), [*SCALES, *FAR_OFF])
@pytest.mark.parametrize("form", ["wide", "long", "single"])
def test_r_is_that_of_pandas_to_twelve_decimals(
    make_ratings, to_long, to_singles, seed, factor, offset, form
):
    table = make_ratings(leak=0.3, seed=seed)
    if form == "single":
        table = to_singles(table, n=3)
    table["grammar"] = factor * table["grammar"] + offset
    means = table.groupby("item_id", sort=False)[["moral", "grammar"]].mean()
    found = first(el.analyse_ratings(to_long(table) if form == "long" else table))
    assert found.value == pytest.approx(exact_r(*means.to_numpy().T), abs=1e-14)
    if (factor, offset) not in FAR_OFF:
        assert found.value == pytest.approx(means.corr().loc["moral", "grammar"], abs=1e-12)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_r_of_extreme_scales_is_that_of_the_usual_scale(make_ratings, factor):
    table = make_ratings()
    scaled = table.assign(grammar=table["grammar"] * factor)
    usual, extreme = first(el.analyse_ratings(table)), first(el.analyse_ratings(scaled))
    assert extreme.value == pytest.approx(usual.value, abs=1e-12)
    assert extreme.low == pytest.approx(usual.low, abs=1e-9)


def test_interval_and_p_are_those_of_the_statistics_room(make_ratings):
    table = make_ratings()
    clusters = Clusters.of(table["scenario_id"].tolist())
    expected = correlation_estimate(
        table["moral"].to_numpy(), table["grammar"].to_numpy(), clusters, np.random.default_rng(3)
    )
    found = first(el.analyse_ratings(table, seed=3))
    assert found.value == pytest.approx(expected.value, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.p == pytest.approx(expected.p, abs=1e-9)
    assert (found.n_items, found.n_scenarios) == (68, 17)


def width(analysis):
    return first(analysis).high - first(analysis).low


def test_shuffled_scenarios_change_the_interval_and_not_r(make_ratings):
    table = make_ratings(shared=1.0)
    shuffled = table.assign(
        scenario_id=np.random.default_rng(1).permutation(table["scenario_id"].to_numpy())
    )
    own, other = el.analyse_ratings(table), el.analyse_ratings(shuffled)
    assert first(own).value == first(other).value
    assert width(own) > 1.2 * width(other)


def test_items_that_repeat_a_scenario_have_a_wider_interval_than_independent_ones(make_ratings):
    scenario = make_ratings().iloc[::4]
    copies = pd.concat([scenario.assign(item_id=scenario["item_id"] + str(n)) for n in range(4)])
    known = el.analyse_ratings(copies)
    blind = el.analyse_ratings(copies.drop(columns="scenario_id"))
    assert first(known).value == first(blind).value
    assert width(known) > 1.5 * width(blind)
    assert first(known).p >= first(blind).p


CONDITION = (
    "one rating has one level per scenario and the other shares .1, .3 or .5 of its variance",
    "8, 16 or 21 %",
    "where both ratings vary within scenarios and share as much, 6, 8 or 14 %",
)


def test_without_scenarios_it_says_so_and_how_optimistic(make_ratings):
    table = make_ratings()
    blind = el.analyse_ratings(table.drop(columns="scenario_id"))
    for part in ("no scenario column", "treated as independent", "unknown", *CONDITION):
        assert part in str(blind)
        assert part not in str(el.analyse_ratings(table))
    assert blind.table()["scenarios_from"].tolist() == ["nowhere"]


@pytest.mark.parametrize("column", ["text", "sentence", "item_text", "stimulus", "item_id"])
def test_scenarios_are_guessed_from_texts_and_shown(make_ratings, texts_of, column):
    table = make_ratings(shared=1.0)
    truth = el.analyse_ratings(table)
    blind = table.drop(columns="scenario_id").assign(**{column: texts_of(table)})
    guessed = el.analyse_ratings(blind, scenario_from_text=True)
    assert first(guessed) == first(truth)
    assert first(guessed) != first(el.analyse_ratings(blind))
    assert len(guessed.findings.scenarios.table()) == 17
    for part in ("17 groups", "17 of 4", "'I stole the bicycle near a harbour'", "17 guessed"):
        assert part in str(guessed)


def test_texts_are_in_the_column_that_is_named(make_ratings, texts_of):
    blind = make_ratings().drop(columns="scenario_id")
    usual = el.analyse_ratings(blind.assign(text=texts_of(blind)), scenario_from_text=True)
    named = el.analyse_ratings(
        blind.assign(story=texts_of(blind), text="x"), text="story", scenario_from_text=True
    )
    assert first(named) == first(usual)
    with pytest.raises(el.EntangleError, match=r"no column is named 'joy' \(text=\.\.\.\)"):
        el.analyse_ratings(blind, text="joy")


@pytest.mark.parametrize("text", [{}, {"text": ""}, {"text": np.nan}, {"item_id": None}])
def test_ids_and_blanks_are_no_texts(make_ratings, text):
    blind = make_ratings().drop(columns="scenario_id")
    if "item_id" in text:
        text = {"item_id": [f"item {number}" for number in range(len(blind))]}
    with pytest.raises(
        el.EntangleError, match=r"found no texts.*text=\.\.\., one of: item_id, moral"
    ):
        el.analyse_ratings(blind.assign(**text), scenario_from_text=True)


def test_guessed_groups_of_one_item_are_called_independent(make_ratings):
    blind = make_ratings().drop(columns="scenario_id")
    blind["text"] = [" ".join(f"{word}{n}" for word in "abc") for n in range(len(blind))]
    said = str(el.analyse_ratings(blind, scenario_from_text=True))
    for part in ("68 of 1", "Every scenario has 1 item, so items are treated as independent"):
        assert part in said
    assert "no scenario column" not in said


def test_scenario_column_that_is_left_aside_is_named(make_ratings, texts_of):
    table = make_ratings().assign(text=texts_of(make_ratings()))
    left = "The scenario column 'scenario_id' was left aside for the guessed groups."
    assert left in str(el.analyse_ratings(table, scenario_from_text=True))
    assert left not in str(el.analyse_ratings(table))
    blind = table.drop(columns="scenario_id")
    assert "left aside" not in str(el.analyse_ratings(blind, scenario_from_text=True))


def test_scenarios_named_and_guessed_at_once_are_refused(make_ratings):
    with pytest.raises(el.EntangleError, match="say one of them"):
        el.analyse_ratings(make_ratings(), scenario="scenario_id", scenario_from_text=True)


def test_fewer_than_eight_scenarios_are_refused(make_ratings):
    few = make_ratings(n_scenarios=7)
    with pytest.raises(el.EntangleError, match=r"7 scenarios were given.*at least 8.*level$"):
        el.analyse_ratings(few)
    with pytest.raises(el.EntangleError, match="1 scenario was given"):
        el.analyse_ratings(few.assign(scenario_id="s"))
    with pytest.raises(el.EntangleError, match="7 items were given"):
        el.analyse_ratings(few.drop(columns="scenario_id").iloc[:7])
    with pytest.raises(el.EntangleError, match="1 item was given"):
        el.analyse_ratings(few.drop(columns="scenario_id").iloc[:1])
    assert first(el.analyse_ratings(make_ratings(n_scenarios=8))).n_scenarios == 8


def test_rater_with_too_few_items_is_a_row_among_others(make_ratings):
    good = make_ratings().drop(columns="scenario_id")
    poor = good.assign(grammar=[1.0, 2.0, *[np.nan] * 66])
    reasons = el.analyse_ratings({"a": good, "b": poor}, allow_missing=True).table()["reason"]
    assert reasons[1] == "no correlation: 2 items are too few"


def test_too_few_common_with_people_is_a_reason(make_ratings):
    people = make_ratings(seed=3).iloc[:32]
    model = make_ratings()
    model.loc[:3, "grammar"] = np.nan
    found = el.analyse_ratings(model, human=people)
    assert "too few items or scenarios in common" in str(found)


def test_missing_ratings_are_left_out_counted_and_limited(make_ratings):
    table = make_ratings()
    table.loc[:5, "grammar"] = np.nan
    found = el.analyse_ratings(table)
    assert found.table()[["n_items", "n_missing"]].values.tolist() == [[62, 6]]
    assert first(found).value == pytest.approx(table[["moral", "grammar"]].corr().iloc[0, 1])
    table.loc[:6, "grammar"] = np.nan
    with pytest.raises(
        el.EntangleError, match=r"7 of 68 items lack.*'i00'.*needs allow_missing=True"
    ):
        el.analyse_ratings(table)
    assert el.analyse_ratings(table, allow_missing=True).table()["n_missing"][0] == 7
    with pytest.raises(el.EntangleError, match="0 scenarios"):
        el.analyse_ratings(table.assign(grammar=np.nan), allow_missing=True)


def test_constant_ratings_are_an_error_alone_and_a_row_among_others(make_ratings):
    good, flat = make_ratings(), make_ratings().assign(moral=5)
    with pytest.raises(el.EntangleError, match=r"moral ratings are constant \(5\), so there is no"):
        el.analyse_ratings(flat)
    flat_grammar = good.assign(grammar=0.1)
    table = el.analyse_ratings({"a": good, "b": flat, "c": flat_grammar}).table()
    assert table["reason"].tolist() == [
        "",
        "no correlation: moral ratings constant",
        "no correlation: grammar ratings constant",
    ]
    assert table["r"].isna().tolist() == [False, True, True]
    assert table["p_corrected"][0] == table["p"][0]


def test_models_are_analysed_alike_alone_and_together(make_ratings):
    tables = {f"m{seed}": make_ratings(leak=0.2 * seed, seed=seed) for seed in range(4)}
    together = el.analyse_ratings(tables).table()
    for row, (name, table) in enumerate(tables.items()):
        alone = el.analyse_ratings({name: table}).table()
        columns = ["model", "r", "low", "high", "p"]
        pd.testing.assert_frame_equal(
            alone[columns], together[columns].iloc[[row]].reset_index(drop=True)
        )
    ordered = together.sort_values("p")
    by_hand = np.minimum.accumulate((ordered["p"] * 4 / np.arange(1, 5))[::-1])[::-1]
    np.testing.assert_allclose(ordered["p_corrected"], np.minimum(by_hand, 1))


def test_order_of_rows_does_not_matter_for_r(make_ratings):
    table = make_ratings()
    mixed = table.sample(frac=1, random_state=2)
    both = el.analyse_ratings([table, mixed]).table()
    assert both["r"][0] == pytest.approx(both["r"][1], abs=1e-14)


def test_tables_of_other_items_are_refused(make_ratings):
    a, b = make_ratings(), make_ratings().drop(index=[2, 5])
    with pytest.raises(el.EntangleError, match=r"b lacks 2 .* of a \('i02', 'i05'\).*an empty"):
        el.analyse_ratings({"a": a, "b": b})
    with pytest.raises(el.EntangleError, match="a lacks 2 of the 68 items of b"):
        el.analyse_ratings({"a": b, "b": a})
    with pytest.raises(el.EntangleError, match="a rates 'grammar' and b 'economic'"):
        el.analyse_ratings({"a": a, "b": a.rename(columns={"grammar": "economic"})})
    moved = a.assign(scenario_id=["s16", *a["scenario_id"][1:]])
    with pytest.raises(el.EntangleError, match="b: item 'i00' is in scenario 's16' here and in"):
        el.analyse_ratings({"a": a, "b": moved})


def test_scenarios_of_one_table_serve_the_others(make_ratings):
    a, b = make_ratings(seed=1), make_ratings(seed=2)
    both = el.analyse_ratings({"a": a, "b": b}).table()
    lent = el.analyse_ratings({"a": a.drop(columns="scenario_id"), "b": b}).table()
    pd.testing.assert_frame_equal(both, lent)


def test_standard_errors_give_reliability_and_a_corrected_r(make_ratings):
    table = make_ratings().assign(m_se=0.5, g_se=0.3)
    found = el.analyse_ratings(table, se=("m_se", "g_se")).table().iloc[0]
    for role, column, se in (("moral", "moral", 0.5), ("secondary", "grammar", 0.3)):
        expected = mean_rating_reliability(table[column].to_numpy(), np.full(68, se))
        assert found[f"{role}_reliability"] == pytest.approx(expected)
    product = found["moral_reliability"] * found["secondary_reliability"]
    assert found["r_corrected"] == pytest.approx(found["r"] / np.sqrt(product))
    assert "r_corrected" not in el.analyse_ratings(table).table()


def test_single_ratings_are_corrected_towards_the_truth(make_ratings, to_singles):
    table = make_ratings(leak=0.4, noise=0.3)
    truth = table[["moral", "grammar"]].corr().iloc[0, 1]
    found = el.analyse_ratings(to_singles(table, n=8, noise=1.5))
    row = found.table().iloc[0]
    assert abs(row["r_corrected"] - truth) < 0.5 * abs(row["r"] - truth)
    assert "single ones, averaged for each item" in str(found)
    assert "single ones" not in str(el.analyse_ratings(table))
    assert "only one rating" not in str(found)
    thin = to_singles(table, n=8).drop_duplicates("item_id")
    most = to_singles(table, n=8)
    most = pd.concat([most[most["item_id"] > "i05"], thin[thin["item_id"] <= "i05"]])
    assert "6 of 68 items have only one rating" in str(el.analyse_ratings(most))


@pytest.mark.usefixtures("few_resamples")
def test_reliability_of_some_items_only_is_said_with_their_number(make_ratings, to_singles):
    table = make_ratings().assign(m_se=0.5, g_se=0.3)
    whole = el.analyse_ratings(table, se=("m_se", "g_se"))
    assert "standard error" not in "".join(whole.findings.notes)
    table.loc[[3, 4, 8], "g_se"] = np.nan
    found = el.analyse_ratings(table, se=("m_se", "g_se"))
    assert (
        "ratings: the reliability of the secondary ratings is that of the 65 of 68 items that have "
        "a standard error, and r that of all." in str(found)
    )
    assert "reliability of the moral" not in str(found)
    known = table.dropna()
    expected = mean_rating_reliability(known["grammar"].to_numpy(), known["g_se"].to_numpy())
    row = found.table().iloc[0]
    assert row["secondary_reliability"] == pytest.approx(expected)
    assert row[["moral_reliability_items", "secondary_reliability_items"]].tolist() == [68, 65]
    found = el.analyse_ratings(table.assign(g_se=np.nan), se=("m_se", "g_se"))
    assert "the secondary ratings have no standard errors and count as free of noise" in str(found)


@pytest.mark.usefixtures("few_resamples")
def test_corrected_r_beyond_one_is_said_in_words(make_ratings):
    table = make_ratings(leak=1.0, noise=0.3).assign(m_se=0.6, g_se=0.6)
    found = el.analyse_ratings(table, se=("m_se", "g_se"))
    corrected = found.table()["r_corrected"][0]
    assert corrected > 1
    assert f"the corrected r is {corrected:.2f}, and no correlation is beyond 1" in str(found)
    assert f"{corrected:.2f}, beyond 1" in str(found)
    table["m_se"] = table["g_se"] = 0.1
    assert "beyond 1" not in str(el.analyse_ratings(table, se=("m_se", "g_se")))


def test_ratings_that_are_all_noise_are_not_corrected(make_ratings):
    table = make_ratings().assign(m_se=9.0, g_se=0.3)
    found = el.analyse_ratings(table, se=("m_se", "g_se"))
    assert np.isnan(found.table()["r_corrected"][0])
    assert "differ by no more than their noise" in str(found)


def test_planted_difference_from_people_is_found(make_ratings, to_long):
    people = to_long(make_ratings(leak=0.0, seed=7).drop(columns="scenario_id"), se=0.1, n=30)
    models = {"leaky": make_ratings(leak=1.2, seed=1), "alike": make_ratings(leak=0.0, seed=2)}
    found = el.analyse_ratings(models, human=people)
    table = found.table().set_index("model")
    assert table.loc["leaky", "difference_p_corrected"] < 0.01
    assert table.loc["leaky", "steiger_p_corrected"] < 0.01
    assert table.loc["leaky", "difference_low"] > 0
    assert table.loc["alike", "difference_p"] > 0.05
    assert table.loc["alike", "difference_low"] < 0 < table.loc["alike", "difference_high"]
    gap = table["model_r_common"] - table["people_r"]
    np.testing.assert_allclose(table["difference"], gap, atol=1e-12)
    assert "Steiger: ZPF test, which treats items as independent" in str(found)
    assert "people" not in str(el.analyse_ratings(models))


def test_difference_from_people_keeps_its_level_where_there_is_none(make_ratings):
    """Sixty models that share people's leak: about one in twenty is called different."""
    people = make_ratings(leak=0.4, seed=1_000, shared=0.5)
    models = {f"m{seed}": make_ratings(leak=0.4, seed=seed, shared=0.5) for seed in range(60)}
    found = el.analyse_ratings(models, human=people).table()
    assert found["difference_p_corrected"].min() > 0.05 or (found["difference_p"] < 0.05).sum() <= 9


def test_p_against_people_agrees_with_its_interval(make_ratings):
    people = make_ratings(leak=0.1, seed=3)
    models = {f"m{seed}": make_ratings(leak=0.1 * seed, seed=seed) for seed in range(12)}
    found = el.analyse_ratings(models, human=people).table()
    outside = (found["difference_low"] > 0) | (found["difference_high"] < 0)
    assert (outside == (found["difference_p"] < 0.05)).all()
    assert outside.any()
    assert not outside.all()


def test_people_compared_with_themselves_do_not_differ(make_ratings):
    row = el.analyse_ratings(make_ratings(), human=make_ratings()).table().iloc[0]
    assert row["difference"] == 0
    assert row["difference_p"] == 1
    assert np.isnan(row["steiger_p"])


def test_people_are_compared_on_the_common_items(make_ratings):
    model, people = make_ratings(seed=1), make_ratings(seed=2)
    people.loc[3, "grammar"] = np.nan
    people = people.drop(index=range(8, 28))
    found = el.analyse_ratings(model, human=people)
    row = found.table().iloc[0]
    common = model["item_id"].isin(people["item_id"][people["grammar"].notna()])
    assert row["n_common"] == common.sum() == 47
    assert row["n_items"] == 68
    expected = model[common][["moral", "grammar"]].corr().iloc[0, 1]
    assert row["model_r_common"] == pytest.approx(expected, abs=1e-12)
    assert "both ratings of 47 of 68 items" in str(found)
    assert "which no model rated" not in str(found)
    found = el.analyse_ratings(model.iloc[:60], human=people)
    assert "people: 8 more items, which no model rated, were left out" in str(found)


def test_people_rate_the_value_that_the_models_rate(make_ratings, to_long):
    """``grammar_mean`` of a model is people's ``grammar``, never their ``economic``."""
    model = make_ratings().rename(columns={"grammar": "grammar_mean"})
    long = to_long(make_ratings(seed=4))
    economic = long.query("value == 'grammar'").assign(value="economic", mean=3.0)
    people = pd.concat([long, economic])
    found = el.analyse_ratings(model, secondary="grammar_mean", human=people)
    assert found.findings.people_table.columns.secondary == "grammar"
    with pytest.raises(
        el.EntangleError, match="no value in column 'value' is named 'grammar_mean'"
    ):
        el.analyse_ratings(model, human=people.query("value != 'grammar'"))


def test_people_of_no_use_are_refused(make_ratings):
    people = make_ratings(seed=3)
    elsewhere = people.assign(item_id=people["item_id"] + "x")
    with pytest.raises(el.EntangleError, match="no item in common"):
        el.analyse_ratings(make_ratings(), human=elsewhere)
    with pytest.raises(el.EntangleError, match="people: the grammar ratings are constant"):
        el.analyse_ratings(make_ratings(), human=people.assign(grammar=1))
    with pytest.raises(el.EntangleError, match=r"people.*: 7 scenarios"):
        el.analyse_ratings(make_ratings(), human=people.iloc[:28])


def test_same_seed_gives_the_same_numbers(make_ratings):
    one, same, other = (el.analyse_ratings(make_ratings(), seed=seed) for seed in (1, 1, 2))
    assert first(one) == first(same)
    assert first(one).low != first(other).low
    with pytest.raises(el.EntangleError, match="seed -1"):
        el.analyse_ratings(make_ratings(), seed=-1)


def test_no_table_and_two_of_a_name_are_refused(make_ratings, tmp_path):
    with pytest.raises(el.EntangleError, match="no table"):
        el.analyse_ratings([])
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        make_ratings().to_csv(tmp_path / folder / "r.csv", index=False)
    paths = [tmp_path / "x/r.csv", tmp_path / "y/r.csv"]
    assert el.analyse_ratings(paths).table()["model"].tolist() == ["x/r.csv", "y/r.csv"]
    with pytest.raises(el.EntangleError, match="given twice"):
        el.analyse_ratings([paths[0], paths[0]])
