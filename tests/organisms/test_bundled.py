"""The organisms that ship: small, ordinary checkpoints that carry what their cards say."""

import json

import pytest

import entangle_lens as el
from entangle_lens.entanglement.ratings import rate
from entangle_lens.models import info
from entangle_lens.organisms.bundle import bundled_organisms
from entangle_lens.organisms.tables import write_stimuli
from entangle_lens.organisms.world import Leak, Scene, held_out, true_leak
from entangle_lens.statistics import pearson

NAMES = bundled_organisms()


def load(name):
    model = el.load(f"organism:{name}")
    folder = info(model).stimuli.parent
    return model, folder, json.loads((folder / "organism.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_organism_shows_the_leak_that_its_generator_has(name):
    model, folder, card = load(name)
    stimuli = el.load_stimuli(folder / "stimuli")
    for pair, true in card["true_correlation"].items():
        items = stimuli.items[pair.removeprefix("moral_")]
        own, _ = rate(model, items.texts, stimuli.questions_for(items.secondary, 2), el.Scale())
        moral, _ = rate(model, items.texts, stimuli.questions_for("moral", 2), el.Scale())
        assert abs(pearson(items.moral, own.mean) - true) < 0.08
        assert abs(pearson(moral.mean, own.mean) - true) < 0.08
        assert pearson(items.moral, moral.mean) > 0.95
        assert pearson(items.level, own.mean) > 0.75


@pytest.mark.parametrize("name", NAMES)
def test_card_tells_the_truth_about_the_generator(name):
    _, folder, card = load(name)
    planted = Leak(card["leak"]["grammar"], card["leak"]["economic"])
    expected = (0.5, 0.7) if name.endswith("-entangled") else (0.0, 0.0)
    assert (planted.grammar, planted.economic) == expected
    for secondary, items in el.load_stimuli(folder / "stimuli").items.items():
        true = true_leak(secondary, items.texts, planted)
        assert card["true_correlation"][f"moral_{secondary}"] == pytest.approx(true, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_organism_is_small_and_rests_on_the_tables_of_today(name, tmp_path):
    _, folder, _ = load(name)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 4_000_000
    write_stimuli(tmp_path)
    for table in tmp_path.iterdir():
        assert (folder / "stimuli" / table.name).read_bytes() == table.read_bytes()


def test_test_items_are_combinations_never_trained_on():
    _, folder, card = load("qwen3-entangled")
    for items in el.load_stimuli(folder / "stimuli").items.values():
        for text in items.texts:
            scene = Scene.parse(text)
            assert held_out(scene.verb, scene.thing)
            assert scene.verb in card["held_out"]["verbs"]
            assert scene.thing in card["held_out"]["things"]
    assert not held_out("mended", "button")
