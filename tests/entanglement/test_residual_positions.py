"""Where in a prompt the residual stream is measured, and what a study keeps of it."""

import json

import numpy as np
import pytest
import torch

import entangle_lens as el
from entangle_lens.directions import CENTRED
from entangle_lens.entanglement import residual
from entangle_lens.entanglement.design import Design
from entangle_lens.entanglement.residual import fit_directions, known_positions
from entangle_lens.models import info
from entangle_lens.running import ONE_EACH, PromptGroup, capture, rating_prompts
from entangle_lens.stimuli import load_stimuli

DESIGN = Design(n_paraphrases=1)


@pytest.fixture(scope="module")
def organism():
    model = el.load()
    return model, load_stimuli(info(model).stimuli)


def test_items_are_found_with_a_tokenizer_that_gives_offsets_only(organism, monkeypatch):
    assert known_positions(*organism, DESIGN) == ONE_EACH

    def without_offsets(*given):
        return PromptGroup(rating_prompts(*given).tokens)

    monkeypatch.setattr(residual, "rating_prompts", without_offsets)
    assert known_positions(*organism, DESIGN) == ("last",)


def test_directions_are_fitted_at_the_position_that_is_read(organism):
    """Against capturing every position by itself, and each value where its question is asked."""
    model, stimuli = organism
    fitted = fit_directions(model, stimuli, DESIGN, [2], ["moral", "grammar"], positions=ONE_EACH)
    assert set(fitted["last"]) > set(fitted["item_mean"]) == {
        ("moral", "moral"), ("grammar", "grammar"),
    }  # fmt: skip
    pairs = stimuli.contrasts["grammar", "fit"]
    for position in ONE_EACH:
        means = []
        for texts in (pairs.positive, pairs.negative):
            read = [
                capture(
                    model,
                    rating_prompts(model, list(texts), question, DESIGN.scale),
                    layers=[2],
                    position=position,
                ).values.double()
                for question in stimuli.questions_for("grammar", 1)
            ]
            means.append(torch.stack(read).mean((0, 1)))
        found = fitted[position]["grammar", "grammar"]
        torch.testing.assert_close(found.vectors, means[0] - means[1], atol=1e-4, rtol=0)
    assert (found.vectors - fitted["last"]["grammar", "grammar"].vectors).abs().max() > 0.1


def test_a_study_measures_every_position_and_keeps_it(entangled_study, run_folder):
    summary = json.loads((run_folder / "summary.json").read_text())["residual"]
    report = (run_folder / "report.html").read_text()
    for pair, finding in entangled_study.findings.pairs.items():
        assert tuple(finding.residuals) == ONE_EACH
        assert finding.residual is finding.residuals["last"]
        for position, measure in finding.residuals.items():
            x, y = (each[CENTRED].mean(0) for each in (measure.moral_readouts,
                                                       measure.secondary_readouts))  # fmt: skip
            expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(x, y, strict=True)]
            np.testing.assert_allclose(measure.correlation, expected, atol=1e-9)
            kept = summary[pair]["positions"][position]
            assert kept["layer"] == measure.layer
            if measure.entanglement is not None:
                assert kept["r"] == pytest.approx(measure.entanglement.value)
                assert str(measure.entanglement) in report
        assert not np.allclose(
            finding.residuals["item_mean"].correlation, finding.residual.correlation
        )
    assert "mean over the item" in report
