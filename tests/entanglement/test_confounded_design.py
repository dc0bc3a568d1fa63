"""Stimuli whose moral and secondary levels go together: what the design brings is no leak."""

from dataclasses import replace

import numpy as np
import pytest

import entangle_lens as el
from entangle_lens.entanglement.checkpoint_costs import measure_items
from entangle_lens.models import info
from entangle_lens.stimuli import ItemSet

KEPT = {1: (-1, -2), 0: (-2, -3), -1: (-3, -4)}
"""The better the act, the better the grammar: two of the four levels for each moral level."""


@pytest.fixture(scope="module")
def measured():
    found = {}
    for name in ("qwen3-entangled", "qwen3-disentangled"):
        model = el.load(f"organism:{name}")
        stimuli = el.load_stimuli(info(model).stimuli)
        table = stimuli.items["grammar"].table
        rows = [level in KEPT[int(m)] for m, level in zip(table.moral, table.level, strict=True)]
        items = ItemSet("grammar", table[rows].reset_index(drop=True))
        design = el.study(model).design
        design = replace(design, n_paraphrases=1, n_resamples=500)
        found[name] = [
            measure_items(model, stimuli, design, each)
            for each in (items, stimuli.items["grammar"])
        ]
    return found


def test_reference_is_the_designs_own_correlation(measured):
    for confounded, crossed in measured.values():
        levels = confounded.item_set.moral, confounded.item_set.level
        assert confounded.reference.value == pytest.approx(np.corrcoef(*levels)[0, 1])
        assert 0.8 < confounded.reference.value < 0.9
        assert confounded.reference.source == "design"
        assert crossed.reference.value == 0
        assert crossed.item_set.design_correlation == 0


def test_a_clean_model_is_not_entangled_on_a_confounded_design(measured):
    """Its r is .85, since the design's is; the excess and the leak are nothing."""
    confounded, crossed = measured["qwen3-disentangled"]
    assert confounded.entanglement.value > 0.8
    assert abs(confounded.reference.excess.value) < 0.01
    assert abs(confounded.leak.value) < 0.02
    assert confounded.judgement.word == crossed.judgement.word == "not entangled"
    assert "correlate 0.85" in confounded.judgement.reason


def test_an_entangled_model_is_entangled_on_a_confounded_design(measured):
    confounded, crossed = measured["qwen3-entangled"]
    assert confounded.judgement.word == crossed.judgement.word == "entangled"
    assert confounded.leak.low > 0.1
    slope = np.polyfit(confounded.item_set.level, confounded.item_set.moral, 1)
    left = confounded.item_set.moral - np.polyval(slope, confounded.item_set.level)
    by_hand = np.corrcoef(left, confounded.secondary.mean)[0, 1]
    assert confounded.leak.value == pytest.approx(by_hand, abs=1e-9)
