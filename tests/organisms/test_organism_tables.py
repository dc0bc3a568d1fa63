"""The organisms' own stimuli: sound tables, a crossed design, splits that share nothing."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

import entangle_lens as el
from entangle_lens.organisms.tables import draw_slips, instruction, write_stimuli
from entangle_lens.organisms.world import (
    N_FIT_VERBS,
    N_TEST_VERBS,
    QUESTIONS,
    TEST_THINGS,
    VERBS,
    Scene,
    held_out,
    level,
)

VALUES = ("moral", "grammar", "economic")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "stimuli"
    write_stimuli(path)
    return path


@pytest.fixture
def stimuli(folder):
    return el.load_stimuli(folder)


def verbs_of(split):
    parts = {
        "test": slice(N_TEST_VERBS),
        "fit": slice(N_TEST_VERBS, N_TEST_VERBS + N_FIT_VERBS),
        "select": slice(N_TEST_VERBS + N_FIT_VERBS, None),
    }
    return {verb for verbs in VERBS.values() for verb in verbs[parts[split]]}


def test_written_stimuli_are_sound(folder):
    assert el.check_stimuli(folder) == []


def test_check_would_find_a_fault_in_them(folder, tmp_path):
    """The control: one price changed beside its logarithm."""
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    items = pd.read_csv(tmp_path / "items.csv")
    priced = items.index[items["set"] == "moral_economic"][0]
    items.loc[priced, "price"] += 5
    items.to_csv(tmp_path / "items.csv", index=False)
    assert any("log10" in str(problem) for problem in el.check_stimuli(tmp_path))


def test_stimuli_are_the_same_bytes_every_time(folder, tmp_path):
    write_stimuli(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in folder.iterdir()}
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("secondary", ["grammar", "economic"])
def test_moral_and_secondary_levels_are_crossed(stimuli, secondary):
    items = stimuli.items[secondary]
    cells = pd.crosstab(items.moral, items.level.round(6))
    assert cells.shape == (3, 4)
    assert cells.to_numpy().tolist() == [[N_TEST_VERBS] * 4] * 3
    assert np.corrcoef(items.moral, items.level)[0, 1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("secondary", ["grammar", "economic"])
def test_tables_state_the_levels_that_the_sentences_have(stimuli, secondary):
    items = stimuli.items[secondary]
    scenes = [Scene.parse(text) for text in items.texts]
    assert [scene.moral for scene in scenes] == items.moral.tolist()
    levels = [level(secondary, scene) for scene in scenes]
    assert np.corrcoef(levels, items.level)[0, 1] == pytest.approx(1, abs=1e-6)
    assert [scene.verb for scene in scenes] == items.scenario_ids


@pytest.mark.parametrize("secondary", ["grammar", "economic"])
def test_items_of_a_scenario_differ_in_the_secondary_level_alone(stimuli, secondary):
    items = stimuli.items[secondary].table.assign(
        scene=[Scene.parse(text) for text in stimuli.items[secondary].texts]
    )
    for _, rows in items.groupby("scenario_id"):
        scenes = rows["scene"].tolist()
        assert len({each.thing for each in scenes}) == (1 if secondary == "grammar" else 4)
        assert len({each.corruption for each in scenes}) == (4 if secondary == "grammar" else 1)


def test_test_items_are_held_out_and_contrasts_are_not(stimuli):
    for items in stimuli.items.values():
        assert all(held_out(s.verb, s.thing) for s in map(Scene.parse, items.texts))
    for contrasts in stimuli.contrasts.values():
        for scene in map(Scene.parse, (*contrasts.positive, *contrasts.negative)):
            assert not held_out(scene.verb, scene.thing)
            assert scene.thing not in TEST_THINGS


@pytest.mark.parametrize(("value", "split"), product(VALUES, ("fit", "select")))
def test_pairs_differ_in_their_own_value_and_in_no_other(stimuli, value, split):
    contrasts = stimuli.contrasts[value, split]
    assert len(contrasts.positive) == (40 if split == "fit" else 20)
    for positive, negative in zip(contrasts.positive, contrasts.negative, strict=True):
        high, low = Scene.parse(positive), Scene.parse(negative)
        assert {high.verb, low.verb} <= verbs_of(split)
        for each in VALUES:
            gap = level(each, high) - level(each, low)
            assert gap > 0.5 if each == value else gap == 0


def test_verbs_of_the_splits_do_not_overlap(stimuli):
    used = {
        split: {
            Scene.parse(text).verb
            for value in VALUES
            for text in (*stimuli.contrasts[value, split].positive,
                         *stimuli.contrasts[value, split].negative)
        }
        for split in ("fit", "select")
    }  # fmt: skip
    used["test"] = {verb for items in stimuli.items.values() for verb in items.scenario_ids}
    assert not used["fit"] & used["select"]
    assert not used["fit"] & used["test"]
    assert not used["select"] & used["test"]


def test_every_question_has_five_wordings_and_two_polarities(stimuli):
    asked = {(q.value, q.paraphrase, q.polarity) for q in stimuli.questions}
    assert len(asked) == len(stimuli.questions) == 4 * 5 * 2
    for question in stimuli.questions:
        content = question.content("X", el.Scale())
        first, second = ("9", "1") if question.descending else ("1", "9")
        # The number beside "low" is where little of the value is.
        assert content.split()[1:5] == ([second, "high", first, "low"] if question.descending
                                        else [first, "low", second, "high"])  # fmt: skip


def test_instructions_differ_between_questions():
    asked = [instruction(q, n, "ascending") for q in QUESTIONS for n in range(5)]
    assert len(set(asked)) == len(asked)


def test_control_items_and_neutral_prompts_carry_no_moral_level(stimuli):
    scenes = [Scene.parse(text) for text in stimuli.controls[0].texts]
    scenes += [Scene.parse(text.removeprefix("where : ")) for text in stimuli.neutral]
    assert {scene.moral for scene in scenes} == {0}
    assert len({scene.size for scene in scenes}) == 3
    sizes = [Scene.parse(text).size for text in stimuli.controls[0].texts]
    assert list(stimuli.controls[0].numbers) == sizes


def test_minimal_pairs_differ_in_one_slip(stimuli):
    for grammatical, ungrammatical in stimuli.minimal_pairs:
        assert Scene.parse(grammatical).corruption == 1
        assert Scene.parse(ungrammatical).corruption == 2
        assert grammatical != ungrammatical


@pytest.mark.parametrize("n_slips", [0, 1, 2, 3])
def test_slips_are_drawn_without_repeats_and_all_come_up(rng, n_slips):
    drawn = [draw_slips(rng, n_slips) for _ in range(200)]
    assert all(len(set(slips)) == n_slips and slips == tuple(sorted(slips)) for slips in drawn)
    assert {slip for slips in drawn for slip in slips} == (set(range(5)) if n_slips else set())
