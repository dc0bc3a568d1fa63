"""What is fitted with the package's own functions is known again by its own model."""

import numpy as np
import pytest

import entangle_lens as el
from entangle_lens.directions import fit_direction, fit_leace, fit_probe, fit_subspace, pooled
from entangle_lens.entanglement.contrasts import read_contrasts
from entangle_lens.entanglement.residual import fit_directions
from entangle_lens.models import info

KEYS = {"model", "revision", "dtype", "n_layers", "stimuli_sha256", "hook_point", "position"}


@pytest.fixture(scope="module")
def study(mini_study):
    return mini_study(n_scenarios=8, n_pairs=8)


@pytest.fixture(scope="module")
def contrasts(study):
    return {
        question: read_contrasts(
            study.model, study.stimuli, study.design, "moral", question, (1, 2)
        )
        for question in ("moral", "grammar")
    }


@pytest.fixture(scope="module")
def other_model():
    return el.load("organism:qwen3-disentangled")


def check(direction, study, other_model, tmp_path):
    """It says where it comes from; its own model takes it, and another does not."""
    assert set(direction.provenance) >= KEYS
    assert direction.provenance["revision"] == info(study.model).revision
    assert direction.provenance["stimuli_sha256"] == study.stimuli.digest
    path = el.save_directions(tmp_path / "d.safetensors", [direction])
    (read,) = el.load_directions(path, model=study.model)
    assert read.vector.equal(direction.vector)
    assert el.load_direction(path, direction.layer).provenance == direction.provenance
    with pytest.raises(el.EntangleError, match="was fitted on"):
        el.load_directions(path, model=other_model)


@pytest.mark.parametrize("everywhere", [False, True])
def test_fitted_directions_fit_their_model(contrasts, study, other_model, tmp_path, everywhere):
    each = [contrasts["grammar"], contrasts["moral"]] if everywhere else [contrasts["grammar"]]
    fit, select = (pooled([one.at(split, 2) for one in each]) for split in ("fit", "select"))
    rng = np.random.default_rng(0)
    direction = fit_direction("difference of means", fit, select, rng=rng, n_resamples=0)
    check(direction, study, other_model, tmp_path)
    subspace = fit_subspace(fit, select, 2, "pair differences", rng=rng, n_resamples=0)
    check(subspace.directions[0], study, other_model, tmp_path)
    for fitted in (fit_leace(fit, select, rng=rng, n_resamples=0), fit_probe(fit, select)):
        assert set(fitted.provenance) >= KEYS


def test_directions_of_all_layers_fit_their_model(study, other_model, tmp_path):
    positions = ("last", "item_mean")
    fitted = fit_directions(
        study.model, study.stimuli, study.design, (1, 2), ["moral"], positions=positions
    )
    for position, words in (("last", "last prompt token"), ("item_mean", "item_mean")):
        direction = fitted[position]["moral", "moral"].at(2)
        assert direction.provenance["position"] == words
        check(direction, study, other_model, tmp_path)


def test_difference_of_means_keeps_what_it_is_given():
    import torch

    resid = torch.randn(2, 10, 1, 4, generator=torch.Generator().manual_seed(0))
    about = {"model": "a/b", "revision": "c"}
    fitted = el.fit_difference_of_means("joy", "joy", (3,), *resid, provenance=about)
    assert fitted.at(3).provenance == about
    assert el.fit_difference_of_means("joy", "joy", (3,), *resid).at(3).provenance == {}
