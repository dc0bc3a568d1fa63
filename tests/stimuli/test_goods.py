"""The bundled stimuli: crossed, split by scenario, with all their controls."""

import numpy as np
import pandas as pd
import pytest

import entangle_lens as el
from entangle_lens.stimuli import check_stimuli

GOODS = el.load_stimuli("goods")


def factors(secondary):
    items = GOODS.items[secondary]
    return items.moral, items.level, items.table


def test_goods_are_sound():
    assert check_stimuli("goods") == []


@pytest.mark.parametrize("secondary", ["grammar", "economic"])
def test_design_is_fully_crossed(secondary):
    """Every scenario at every level once, a third of the scenarios on each moral level, r = 0."""
    moral, level, table = factors(secondary)
    assert abs(np.corrcoef(moral, level)[0, 1]) < 1e-12
    scenarios = table.groupby("scenario_id")
    assert len(scenarios) >= 36
    assert (scenarios.size() == 4).all()
    assert (scenarios["level"].nunique() == 4).all()
    assert (scenarios["moral"].nunique() == 1).all()
    assert scenarios["moral"].first().value_counts().tolist() == [len(scenarios) // 3] * 3
    assert pd.crosstab(moral, level).nunique().eq(1).all()


@pytest.mark.parametrize("secondary", ["grammar", "economic"])
def test_design_that_lost_a_scenario_is_not_crossed(secondary):
    """The control: the correlation does move when a design is not balanced."""
    moral, level, _ = factors(secondary)
    kept = ~((moral == 1) & (level == level.max()))
    assert abs(np.corrcoef(moral[kept], level[kept])[0, 1]) > 0.05


def test_prices_span_five_orders_of_magnitude():
    level = GOODS.items["economic"].level
    assert level.max() - level.min() >= 5


def test_moral_levels_are_matched_in_length():
    for secondary in ("grammar", "economic"):
        table = GOODS.items[secondary].table
        words = table["text"].str.split().str.len()
        by_level = words.groupby(table["moral"]).mean()
        assert by_level.max() - by_level.min() < 0.5


def test_no_scenario_crosses_a_split():
    from entangle_lens.stimuli.folder import _DATA

    tables = [pd.read_csv(_DATA / f"goods/{name}.csv") for name in ("items", "contrasts")]
    scenarios = pd.concat(tables)[["scenario_id", "split"]]
    assert scenarios.groupby("scenario_id")["split"].nunique().eq(1).all()
    assert set(scenarios["split"]) == {"test", "fit", "select"}
    texts = {
        split: set(
            pd.concat([rows.get(c, pd.Series()) for c in ("text", "positive", "negative")]).dropna()
        )
        for split, rows in pd.concat(tables).groupby("split")
    }
    assert not texts["fit"] & texts["select"]
    assert not texts["test"] & (texts["fit"] | texts["select"])


@pytest.mark.parametrize("value", ["moral", "grammar", "economic"])
def test_every_value_has_forty_pairs_to_fit_on_and_more_to_select_with(value):
    assert len(GOODS.contrasts[value, "fit"]) >= 40
    assert len(GOODS.contrasts[value, "select"]) >= 8


def test_controls_are_there():
    assert ("valence", "fit") in GOODS.contrasts
    assert len(GOODS.controls) >= 2
    assert all(len(set(each.numbers)) > 10 for each in GOODS.controls)
    assert len(GOODS.neutral) >= 30
    assert all(good != bad for good, bad in GOODS.minimal_pairs)
    assert len(GOODS.minimal_pairs) >= 50


@pytest.mark.parametrize("value", ["moral", "grammar", "economic"])
def test_questions_have_five_wordings_in_both_polarities(value):
    asked = GOODS.questions_for(value)
    wordings = {(each.paraphrase, each.polarity) for each in asked}
    assert len({paraphrase for paraphrase, _ in wordings}) >= 5
    assert len(wordings) == 2 * len({paraphrase for paraphrase, _ in wordings})
    assert all("{low}" in each.instruction and "{high}" in each.instruction for each in asked)


def test_question_puts_the_instruction_first_and_the_item_after_it():
    content = GOODS.questions_for("moral")[0].content("I fed the cat.", el.Scale())
    assert content.endswith("I fed the cat.")
    assert "from 1 to 9" in content


def test_digest_changes_with_any_cell(tmp_path):
    import shutil

    from entangle_lens.stimuli.folder import _DATA

    shutil.copytree(_DATA / "goods", tmp_path / "mine")
    assert el.load_stimuli(tmp_path / "mine").digest == GOODS.digest
    neutral = tmp_path / "mine/neutral.csv"
    neutral.write_text(neutral.read_text().replace("rainbow", "glacier", 1))
    assert el.load_stimuli(tmp_path / "mine").digest != GOODS.digest
