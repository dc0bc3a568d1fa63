"""The logistic probe: the minimum it claims, and the probability it gives."""

import numpy as np
import pytest
import torch

from entangle_lens.directions import fit_direction, fit_probe


def gradient(fit, weight, bias):
    """Take the gradient of |w|^2 / 2 + sum log(1 + exp(-y (w.x + b))), prompt by prompt."""
    of_weight, of_bias = weight.clone(), torch.zeros(()).double()
    for resid, label in ((fit.positive, 1.0), (fit.negative, -1.0)):
        for row in resid.reshape(-1, len(weight)).double():
            pull = label * torch.sigmoid(-label * (row @ weight + bias))
            of_weight -= pull * row
            of_bias -= pull
    return torch.cat([of_weight, of_bias[None]])


@pytest.mark.parametrize(
    ("n_pairs", "width", "scale"), [(40, 8, 1.0), (6, 40, 1.0), (30, 20, 300.0)]
)
def test_probe_is_where_the_gradient_vanishes(n_pairs, width, scale, world):
    """With more and fewer prompts than dimensions, and with dimensions of unlike size."""
    noise = torch.logspace(0, np.log10(scale), width).diag()
    draws = world(3.0, noise=noise, width=width, offset=2.0)
    fit = draws.pairs(n_pairs, 2)
    probe = fit_probe(fit, draws.pairs(10, 2))
    at_zero = gradient(fit, torch.zeros(width).double(), 0.0)
    assert gradient(fit, probe.weight, probe.bias).norm() < 1e-7 * at_zero.norm()
    assert gradient(fit, 1.01 * probe.weight, probe.bias).norm() > 1e-4 * at_zero.norm()


def test_probability_is_the_sigmoid_and_grows_towards_the_positive_pole(world):
    draws = world(5.0, offset=5.0)
    fit, select = draws.pairs(100), draws.pairs(100)
    probe = fit_probe(fit, select)
    high, low = probe.probability(select.positive[0]), probe.probability(select.negative[0])
    logit = float(select.positive[0, 4].double() @ probe.weight) + probe.bias
    assert float(high[4]) == pytest.approx(1 / (1 + np.exp(-logit)))
    assert float(probe.logit(select.positive[0, 4])) == pytest.approx(logit)
    assert high.mean() > 0.8 > 0.2 > low.mean()
    right = (sum(high > 0.5) + sum(low <= 0.5)) / 200
    assert probe.accuracy == pytest.approx(float(right))
    assert probe.accuracy > 0.85


def test_probe_of_noise_is_right_half_of_the_time(world):
    draws = world(torch.zeros(16))
    assert fit_probe(draws.pairs(100), draws.pairs(100)).accuracy == pytest.approx(0.5, abs=0.12)


def test_probe_is_unmoved_by_where_the_residuals_lie(world):
    """The bias is not penalised, so it takes up an offset whole."""
    near, far = (world(3.0, offset=0.0), world(3.0, offset=50.0))
    one, two = (fit_probe(draws.pairs(40), draws.pairs(40)) for draws in (near, far))
    torch.testing.assert_close(one.weight, two.weight, rtol=1e-3, atol=1e-4)
    assert abs(one.bias - two.bias) > 1


def test_probe_weight_is_the_vector_of_the_direction(world):
    draws = world()
    fit, select = draws.pairs(20), draws.pairs(20)
    direction = fit_direction(
        "logistic probe", fit, select, rng=np.random.default_rng(0), n_resamples=0
    )
    assert fit_probe(fit, select).weight.equal(direction.vector)
