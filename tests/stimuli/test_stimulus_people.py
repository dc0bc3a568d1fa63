"""People's ratings are taken as the reference, or refused with table, row and column."""

from dataclasses import replace

import pandas as pd
import pytest

import entangle_lens as el
from entangle_lens.stimuli import check_stimuli, people_problems


def said(folder):
    return [str(problem) for problem in check_stimuli(folder)]


def test_people_are_optional_and_read_as_numbers(folder, write_people):
    assert el.load_stimuli(folder).human is None
    written = write_people()
    assert said(folder) == []
    assert el.load_stimuli(folder).human["mean"].tolist() == written["mean"].astype(float).tolist()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"item_id": ["mg_good_01_2"]}, "row 3, column item_id: 'mg_good_01_2 / moral' stands"),
        ({"item_id": ["nobody"]}, "row 2, column item_id: 'nobody' is not an item"),
        ({"value": ["moral", "joy"]}, "row 3, column value: unknown level 'joy'"),
        ({"mean": ["5", "high"]}, "row 3, column mean: 'high' is not a number"),
        (
            {"mean": ["1e9"]},
            "row 2, column mean: 1e9 is not a mean of ratings",
        ),
        ({"mean": ["-1001"]}, "row 2, column mean: -1001 is not a mean"),
        ({"se": [""]}, "row 2, column se: '' is not a number"),
        ({"se": ["0", "-1"]}, "row 3, column se: -1 is negative"),
        ({"n": ["0"]}, "row 2, column n: 0 is not a number of people"),
        ({"n": ["-5"]}, "row 2, column n: -5 is not a number of people"),
        ({"n": ["2.5"]}, "row 2, column n: 2.5 is not a number of people"),
    ],
)
def test_cell_that_no_people_can_give_is_refused(folder, write_people, changes, expected):
    write_people(**changes)
    problems = said(folder)
    assert len(problems) == 1
    assert problems[0].startswith(f"human.csv {expected}")


@pytest.mark.parametrize("n_scenarios", [1, 7])
def test_people_in_too_few_scenarios_are_refused(folder, write_people, n_scenarios):
    write_people(n_scenarios)
    problems = said(folder)
    number = "1 scenario" if n_scenarios == 1 else f"{n_scenarios} scenarios"
    assert f"in {number}, and needs 8" in problems[0]
    assert problems[0].startswith("human.csv: holds items of set moral_grammar that are rated")
    with pytest.raises(el.EntangleError, match=r"human\.csv"):
        el.load_stimuli(folder)


def test_people_whose_mean_never_varies_are_refused(folder, write_people):
    people = write_people()
    constant = ["5"] * (people["value"] == "moral").sum()
    write_people(mean=constant)
    (problem,) = said(folder)
    assert problem.startswith("human.csv: gives all items of set moral_grammar")
    assert problem.endswith("the same mean for 'moral'")


def test_people_who_rated_one_value_only_are_not_judged(folder, write_people):
    """The control: they are not the reference of any set."""
    write_people(value="moral", item_id="mg_good_01_1")
    assert any("stands already" in each for each in said(folder))
    people = write_people(1)
    people[people["value"] == "moral"].to_csv(folder / "human.csv", index=False)
    assert said(folder) == []


def test_study_that_leaves_too_few_scenarios_of_people_is_refused_when_it_is_set_up(mini_study):
    whole = mini_study(n_scenarios=None).stimuli
    items = whole.items["grammar"].table
    rated = items[items["scenario_id"].isin(items["scenario_id"].unique()[:12])]
    human = pd.concat(
        rated[["item_id"]].assign(value=value, mean=rated["level"])
        for value in ("moral", "grammar")
    )
    given = replace(whole, human=human)
    assert list(people_problems(given.items.values(), human)) == []
    mini_study(stimuli=given, n_scenarios=None)
    with pytest.raises(el.EntangleError, match=r"human\.csv .* needs 8"):
        mini_study(stimuli=given, n_scenarios=9)
