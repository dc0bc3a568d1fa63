"""Ways to read a residual out along a direction: each against its plain formula."""

import dataclasses

import numpy as np
import pytest
import torch

from entangle_lens.directions import (
    CENTRED,
    READOUTS,
    Background,
    fit_difference_of_means,
    read_out,
    validate,
)

LAYERS = (3, 5)


@pytest.fixture
def drawn():
    """Poles that differ along one axis, on a mean and with one loud and one dead dimension."""
    generator = torch.Generator().manual_seed(0)

    def draw(n, truth=0.0):
        resid = torch.randn(n, 2, 12, generator=generator)
        resid[..., 0] *= 30
        resid[..., 1] = 0.25
        resid[..., 2] += truth
        return resid + 4

    return draw


@pytest.fixture
def fitted(drawn):
    background = Background.of(drawn(40))
    found = fit_difference_of_means("moral", "moral", LAYERS, drawn(30, 2.0), drawn(30))
    return dataclasses.replace(found, background=background)


def cosine(a, b):
    return a @ b / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b))


def test_every_readout_is_its_formula(fitted, drawn):
    resid = drawn(9, 1.0)
    found = read_out(fitted, resid)
    assert list(found) == list(READOUTS)
    for row in range(2):
        h = resid[:, row].double().numpy()
        mu, r = fitted.means[row].numpy(), fitted.vectors[row].numpy()
        sd, c = fitted.background.spread[row].numpy(), fitted.background.component[row].numpy()
        alive = sd > 0
        x, w = ((h - mu) / np.where(alive, sd, np.inf)), r / np.where(alive, sd, np.inf)
        freed, s = h - mu - np.outer((h - mu) @ c, c), r - (r @ c) * c
        expected = {
            "projection": (h - mu) @ r / np.linalg.norm(r),
            "cosine_centred": cosine(h - mu, r),
            "cosine": cosine(h, r),
            "standardised": x @ w / np.linalg.norm(w),
            "first_component_removed": freed @ s / np.linalg.norm(s),
        }
        for name, values in expected.items():
            np.testing.assert_allclose(found[name][row], values, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found[CENTRED], fitted.project(resid), atol=1e-12)


def test_background_is_spread_and_first_component_of_numpy(drawn):
    resid = drawn(20)
    found = Background.of(resid)
    for row in range(2):
        plain = resid[:, row].double().numpy()
        np.testing.assert_allclose(found.spread[row], plain.std(0, ddof=1), atol=1e-12)
        first = np.linalg.svd(plain - plain.mean(0))[2][0]
        assert abs(float(found.component[row] @ torch.tensor(first))) == pytest.approx(1)
    assert abs(float(found.component[0, 0])) > 0.9


def test_loud_and_dead_dimensions_drown_no_standardised_readout(fitted, drawn):
    """The planted axis is found better once the loud dimension counts no more than others."""
    judged = validate(fitted, drawn(60, 2.0), drawn(60))
    assert judged.readout_auc["standardised"].min() > 0.85
    assert judged.readout_auc["first_component_removed"].min() > 0.85
    assert judged.readout_auc["standardised"].min() > judged.auc.max() + 0.05
    np.testing.assert_array_equal(judged.auc, judged.readout_auc[CENTRED])


def test_a_shared_mean_turns_the_uncentred_cosine_and_no_other(fitted, drawn):
    resid = drawn(9)
    moved = dataclasses.replace(fitted, means=fitted.means + 7.0)
    one, other = read_out(fitted, resid), read_out(moved, resid + 7.0)
    for name in READOUTS:
        same = torch.allclose(one[name], other[name], atol=1e-5)
        assert same == (name != "cosine")


def test_without_a_background_only_readouts_that_need_none(fitted, drawn):
    bare = dataclasses.replace(fitted, background=None)
    found = read_out(bare, drawn(5))
    assert list(found) == ["projection", "cosine_centred", "cosine"]
    assert list(validate(bare, drawn(5, 2.0), drawn(5)).readout_auc) == list(found)
