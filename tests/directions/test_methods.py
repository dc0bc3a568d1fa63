"""Every method finds what was planted and nothing in noise, and is the formula it says."""

import dataclasses

import numpy as np
import pytest
import torch
from concept_erasure import optimal_linear_shrinkage

from entangle_lens.directions import METHODS, fit_direction, unit
from entangle_lens.directions.methods import shrunk
from entangle_lens.directions.poles import poles_along
from entangle_lens.errors import EntangleError


def others_for(method, draws):
    """Residuals of other texts, or directions of other values that share nothing with the truth."""
    other = torch.randn(40, draws.truth.shape[-1], generator=draws.generator)
    if method == "mean-centred":
        return other + draws.offsets[0]
    if method == "disentangled":
        along = unit(draws.truth)
        return other[:2].double() - (other[:2].double() @ along)[:, None] * along
    return None


def fitted(method, draws, n_pairs=100, n_contexts=1, n_resamples=0):
    return fit_direction(
        method,
        draws.pairs(n_pairs, n_contexts),
        draws.pairs(n_pairs, n_contexts),
        others=others_for(method, draws),
        rng=np.random.default_rng(0),
        n_resamples=n_resamples,
    )


@pytest.mark.parametrize("n_contexts", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_method_finds_a_planted_direction(method, n_contexts, world):
    draws = world(3.0)
    found = fitted(method, draws, n_contexts=n_contexts, n_pairs=250, n_resamples=20)
    assert found.unit @ unit(draws.truth) > 0.95
    assert found.quality.auc > 0.9
    assert found.quality.d_prime > 1.8
    assert found.quality.accuracy > 0.8
    assert found.quality.split_half_cosine > 0.8
    assert found.quality.cone_degrees < 25
    assert (found.method, found.value, found.question, found.layer) == (
        method,
        "moral",
        "grammar",
        3,
    )


@pytest.mark.parametrize("method", METHODS)
def test_method_finds_nothing_in_noise(method, world):
    draws = world(torch.zeros(16))
    found = fitted(method, draws, n_resamples=20)
    assert found.quality.auc == pytest.approx(0.5, abs=0.15)
    assert abs(found.quality.d_prime) < 0.5
    assert abs(found.quality.split_half_cosine) < 0.8
    assert found.quality.cone_degrees > 30


def test_whitening_sees_past_a_strong_nuisance_that_blinds_the_difference_of_means(world):
    noise = torch.eye(16)
    noise[0, 0] = 12.0
    truth = torch.zeros(16)
    truth[0], truth[1] = 4.0, 3.0
    draws = world(truth, noise)
    fit, select = draws.pairs(150), draws.pairs(150)
    plain, white = (
        fit_direction(method, fit, select, rng=np.random.default_rng(0), n_resamples=0)
        for method in ("difference of means", "whitened")
    )
    best = torch.linalg.solve(noise.double() ** 2 + torch.eye(16).double(), truth.double())
    assert white.unit @ unit(best) > 0.9 > plain.unit @ unit(best)
    assert white.quality.auc > 0.9
    assert plain.quality.auc < 0.75


def test_whitening_gains_nothing_where_the_noise_is_round(world):
    """The control: there is nothing to see past."""
    draws = world(3.0)
    fit, select = draws.pairs(150), draws.pairs(150)
    plain, white = (
        fit_direction(method, fit, select, rng=np.random.default_rng(0), n_resamples=0)
        for method in ("difference of means", "whitened")
    )
    assert white.quality.auc == pytest.approx(plain.quality.auc, abs=0.01)


@pytest.mark.parametrize(("n_pairs", "width"), [(30, 8), (10, 64)])
def test_whitened_direction_is_the_shrunk_inverse_covariance_times_the_difference(
    n_pairs, width, world
):
    """With more and with fewer prompts than dimensions, against full-width matrices."""
    draws = world(3.0, width=width, noise=torch.logspace(0, 1, width).diag())
    fit, select = draws.pairs(n_pairs), draws.pairs(10)
    high, low = fit.positive[0].double().numpy(), fit.negative[0].double().numpy()
    within = np.concatenate([high - high.mean(0), low - low.mean(0)])
    covariance = torch.from_numpy(within.T @ within / len(within))
    sigma = optimal_linear_shrinkage(covariance, 2 * n_pairs).numpy()
    found = fit_direction("whitened", fit, select, rng=np.random.default_rng(0), n_resamples=0)
    np.testing.assert_allclose(
        found.vector, np.linalg.solve(sigma, high.mean(0) - low.mean(0)), rtol=1e-6, atol=1e-9
    )


def test_lda_is_another_name_of_whitened(world):
    draws = world()
    fit, select = draws.pairs(20), draws.pairs(20)
    lda, white = (
        fit_direction(name, fit, select, rng=np.random.default_rng(0), n_resamples=0)
        for name in ("LDA", "whitened")
    )
    assert lda.vector.equal(white.vector)
    assert lda.method == white.method == "whitened"


def test_shrunk_covariance_lies_between_the_sample_and_the_round_one():
    generator = torch.Generator().manual_seed(0)
    rows = (
        torch.randn(50, 6, generator=generator).double() @ torch.logspace(0, 1, 6).diag().double()
    )
    sample = rows.T @ rows / 50
    torch.testing.assert_close(shrunk(sample, 50, 6), optimal_linear_shrinkage(sample, 50))
    torch.testing.assert_close(shrunk(sample, 10**9, 6), sample)
    round_one = sample.trace() / 6 * torch.eye(6).double()
    torch.testing.assert_close(shrunk(sample, 2, 6), round_one)
    torch.testing.assert_close(shrunk(3 * torch.eye(6).double(), 50, 6), 3 * torch.eye(6).double())
    assert shrunk(torch.zeros(3, 3).double(), 5, 3).abs().max() == 0


def test_mean_centred_direction_is_the_positive_mean_less_the_mean_of_all(world):
    draws = world()
    fit, select = draws.pairs(10, 2), draws.pairs(10, 2)
    others = torch.randn(7, 16, generator=draws.generator)
    found = fit_direction(
        "mean-centred", fit, select, others=others, rng=np.random.default_rng(0), n_resamples=0
    )
    rows = [*fit.positive.reshape(-1, 16), *fit.negative.reshape(-1, 16), *others]
    everything = sum(row.double() for row in rows) / len(rows)
    torch.testing.assert_close(found.vector, fit.positive.double().mean((0, 1)) - everything)


def test_pair_differences_are_not_centred_before_their_main_axis_is_taken(world):
    """Centred, the axis is that of the nuisance in the differences, and the value is lost."""
    noise = torch.eye(16)
    noise[0, 0] = 2.0
    truth = torch.zeros(16)
    truth[1] = 4.0
    fit = (draws := world(truth, noise)).pairs(100)
    found = fit_direction(
        "PCA of pair differences",
        fit,
        draws.pairs(100),
        rng=np.random.default_rng(0),
        n_resamples=0,
    )
    difference = (fit.positive - fit.negative)[0].double()
    centred = torch.linalg.svd(difference - difference.mean(0)).Vh[0]
    assert found.unit[1] > 0.95
    assert centred[1].abs() < 0.3
    moment = difference.T @ difference
    torch.testing.assert_close(
        moment @ found.unit, torch.linalg.eigvalsh(moment)[-1] * found.unit, rtol=1e-5, atol=1e-4
    )


def test_disentangled_method_is_orthogonal_to_the_others(world):
    draws = world()
    fit, select = draws.pairs(20), draws.pairs(20)
    others = torch.randn(2, 16, generator=draws.generator)
    found, plain = (
        fit_direction(method, fit, select, others=given, rng=np.random.default_rng(0))
        for method, given in (("disentangled", others), ("difference of means", None))
    )
    assert (others.double() @ found.vector).abs().max() < 1e-10
    assert (others.double() @ plain.vector).abs().max() > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_coordinates_of_the_span_change_nothing(method, world):
    """Against the same function on all of d_model, with fewer prompts than dimensions."""
    draws = world(3.0, width=50)
    fit, select, others = draws.pairs(8, 2), draws.pairs(8, 2), others_for(method, draws)
    found = fit_direction(
        method, fit, select, others=others, rng=np.random.default_rng(0), n_resamples=0
    )
    plain = METHODS[method](poles_along(torch.eye(50).double(), fit, others))
    torch.testing.assert_close(found.vector, plain, rtol=1e-6, atol=1e-7)
    assert found.mean.equal(found.mean.double())
    middle = (fit.positive.double().mean((0, 1)) + fit.negative.double().mean((0, 1))) / 2
    torch.testing.assert_close(found.mean, middle)


def test_directions_are_fitted_in_float64_around_a_large_offset(world):
    fit = (draws := world(offset=4096.0)).pairs(50)
    found = fit_direction(
        "difference of means", fit, draws.pairs(50), rng=np.random.default_rng(0), n_resamples=0
    )
    exact = fit.positive.double().mean((0, 1)) - fit.negative.double().mean((0, 1))
    assert (found.vector - exact).abs().max() < 1e-9


def test_provenance_is_carried_on(world):
    fit = (draws := world()).pairs(10, provenance={"model": "tiny"})
    select = dataclasses.replace(draws.pairs(10))
    found = fit_direction("whitened", fit, select, rng=np.random.default_rng(0), n_resamples=0)
    assert found.provenance == {"model": "tiny"}


def test_unknown_method_and_stray_others_are_refused(world):
    draws = world()
    fit, select, rng = draws.pairs(10), draws.pairs(10), np.random.default_rng(0)
    with pytest.raises(EntangleError, match=r"'lda' is not known; choose one of: difference.*LDA"):
        fit_direction("lda", fit, select, rng=rng)
    for method in ("disentangled", "mean-centred"):
        with pytest.raises(EntangleError, match=f"'{method}' needs others"):
            fit_direction(method, fit, select, rng=rng)
    with pytest.raises(EntangleError, match="span the whole difference of means"):
        fit_direction("disentangled", fit, select, others=torch.eye(16), rng=rng)
    with pytest.raises(EntangleError, match="'whitened' reads no others; they are for: mean-c"):
        fit_direction("whitened", fit, select, others=torch.ones(2, 16), rng=rng)
