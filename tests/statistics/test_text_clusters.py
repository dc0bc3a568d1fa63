"""Scenarios guessed from texts: against the shipped items, whose scenarios are known."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import entangle_lens as el
from entangle_lens.statistics import Clusters, cluster_texts

DATA = Path(el.__file__).parent / "data"
TABLES = {
    "goods": DATA / "stimuli" / "goods" / "items.csv",
    "organism": DATA / "organisms" / "qwen3-entangled" / "stimuli" / "items.csv",
}


def read(table, item_set=None):
    rows = list(csv.DictReader(TABLES[table].open()))
    rows = [row for row in rows if item_set in (None, row["set"])]
    return [row["text"] for row in rows], [row["scenario_id"] for row in rows]


def adjusted_rand(one, other):
    """Return the agreement of two groupings beyond chance (Hubert & Arabie 1985), 1 if the same."""
    codes = [np.unique(each, return_inverse=True)[1] for each in (one, other)]
    table = np.zeros((codes[0].max() + 1, codes[1].max() + 1))
    np.add.at(table, tuple(codes), 1)

    def pairs(counts):
        return (counts * (counts - 1) / 2).sum()

    rows, columns, every = pairs(table.sum(1)), pairs(table.sum(0)), pairs(np.array(len(one)))
    chance = rows * columns / every
    return (pairs(table) - chance) / ((rows + columns) / 2 - chance)


@pytest.mark.parametrize(
    ("table", "item_set", "least"),
    [
        ("goods", "moral_economic", 1.0),
        ("goods", "moral_grammar", 0.92),
        ("goods", None, 0.91),
        ("organism", "moral_economic", 1.0),
        ("organism", "moral_grammar", 1.0),
        ("organism", None, 1.0),
    ],
)
def test_scenarios_of_the_shipped_items_are_found(table, item_set, least):
    texts, scenarios = read(table, item_set)
    assert adjusted_rand(cluster_texts(texts), scenarios) >= least
    shuffled = np.random.default_rng(0).permutation(scenarios)
    assert adjusted_rand(cluster_texts(texts), shuffled) < 0.05


def test_order_of_texts_does_not_matter():
    texts, _ = read("goods", "moral_grammar")
    order = np.random.default_rng(1).permutation(len(texts))
    plain = cluster_texts(texts)
    moved = cluster_texts([texts[k] for k in order])
    assert adjusted_rand([plain[k] for k in order], moved) == 1


def test_corruption_case_and_punctuation_do_not_part_a_scenario():
    texts = [
        "I carried the groceries of an old neighbour upstairs.",
        "I CARRIES the groceries of a old neighbour, upstairs!",
        "groceries old neighbour upstairs of the carrying I",
        "She lied to the judge about the accident.",
        "She lie to the judge about the accident",
        "to the judge she lied about the accidents",
        "Nothing of this kind happened yesterday",
    ]
    found = cluster_texts(texts)
    assert len(set(found[:3])) == len(set(found[3:6])) == 1
    assert len(set(found)) == 3


def test_threshold_joins_and_parts():
    texts, scenarios = read("goods", "moral_economic")
    counts = [len(set(cluster_texts(texts, threshold))) for threshold in (0.05, 0.55, 1.0)]
    assert counts[0] < 18
    assert counts[1] == len(set(scenarios)) == 36
    assert counts[2] == len(texts)


def test_names_are_the_words_that_a_scenario_shares_and_no_two_are_the_same():
    texts, scenarios = read("organism", "moral_economic")
    names = dict(zip(cluster_texts(texts), scenarios, strict=True))
    assert names["mended farmer market"] == "mended"
    assert len(names) == 24
    assert all(set(name.split()) <= set(" ".join(texts).split()) for name in names)
    alike = ["one two three"] * 2 + ["three one two"] * 2
    assert len(set(cluster_texts([*alike, "one", "two", "three"], 1.0))) == 4


def test_same_words_in_another_process_give_the_same_ids():
    texts, _ = read("goods", "moral_grammar")
    code = (
        "import sys, json; from entangle_lens.statistics import cluster_texts;"
        "print(json.dumps(cluster_texts(json.load(sys.stdin))))"
    )
    import json

    other = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(texts),
        env={"PYTHONHASHSEED": "7", "PATH": ""},
        cwd=DATA.parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(other.stdout) == cluster_texts(texts)


def test_copies_share_an_id_and_empty_texts_do_not():
    assert len(set(cluster_texts(["a b", "a b", "a b"]))) == 1
    found = cluster_texts(["", "", "one two", "three four", "one two"])
    assert found == ["no words", "no words #2", "one two", "three four", "one two"]
    assert cluster_texts([]) == []
    assert cluster_texts(["only one text"]) == ["only one text"]


def test_ids_make_clusters():
    texts, _ = read("goods", "moral_economic")
    assert Clusters.of(cluster_texts(texts)).n_clusters == 36


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan")])
def test_threshold_that_is_no_similarity_is_an_error(threshold):
    with pytest.raises(el.EntangleError, match="the threshold is"):
        cluster_texts(["a", "b"], threshold)
