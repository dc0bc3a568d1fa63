"""Moments summed up in batches, against NumPy on everything at once."""

import numpy as np
import pytest
import torch

from entangle_lens.running.moments import RunningMoments


def summed(rows, sizes):
    moments = RunningMoments(covariance=True)
    for batch in torch.from_numpy(rows).split(sizes):
        moments.add(batch)
    return moments.result()


@pytest.mark.parametrize("sizes", [[100], [1] * 100, [99, 1], [40, 0, 60]])
def test_moments_do_not_depend_on_the_batches(rng, sizes):
    rows = rng.standard_normal((100, 2, 5))
    found = summed(rows, sizes)
    assert found.count == 100
    np.testing.assert_allclose(found.mean, rows.mean(0), atol=1e-12)
    for layer in range(2):
        np.testing.assert_allclose(found.covariance[layer], np.cov(rows[:, layer].T), atol=1e-12)


def test_moments_hold_far_from_zero_where_sums_of_squares_do_not(rng):
    rows = 1e7 + rng.standard_normal((4000, 1, 3))
    found = summed(rows, [50] * 80)
    right = np.cov(rows[:, 0].T)
    np.testing.assert_allclose(found.covariance[0], right, rtol=1e-6, atol=1e-6)
    squares = (rows[:, 0].T @ rows[:, 0] - 4000 * np.outer(*2 * [rows[:, 0].mean(0)])) / 3999
    assert np.abs(squares - right).max() > 1e-3


def test_float32_activations_far_from_zero_need_the_merge_of_means(rng):
    """The control: sums, and sums of squares, in float32 are wrong by more than the variance."""
    rows = torch.from_numpy((3e3 + rng.standard_normal((4000, 1, 3))).astype(np.float32))
    moments, total, squares = RunningMoments(covariance=True), torch.zeros(3), torch.zeros(3)
    for batch in rows.split(50):
        moments.add(batch)
        total, squares = total + batch[:, 0].sum(0), squares + batch[:, 0].square().sum(0)
    found, right = moments.result(), rows[:, 0].double().numpy()
    np.testing.assert_allclose(found.mean[0], right.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance[0], np.cov(right.T), atol=1e-9)
    naive = squares / 4000 - (total / 4000).square()
    assert (naive - torch.from_numpy(right.var(0))).abs().max() > 0.5


def test_order_and_layers_of_batches_do_not_mix(rng):
    rows = rng.standard_normal((60, 2, 4)) + np.array([[[5.0], [-5.0]]])
    found = summed(rows, [7] * 8 + [4])
    turned = summed(rows[::-1].copy(), [7] * 8 + [4])
    np.testing.assert_allclose(found.covariance, turned.covariance, atol=1e-12)
    assert (found.mean[0] > 4).all()
    assert (found.mean[1] < -4).all()


def test_covariance_is_the_one_of_a_sample(rng):
    """Divided by count - 1: by count it would be a twentieth less here."""
    rows = rng.standard_normal((20, 1, 3))
    found = summed(rows, [20]).covariance[0]
    biased = np.cov(rows[:, 0].T, ddof=0)
    np.testing.assert_allclose(found, biased * 20 / 19, atol=1e-12)
    assert np.abs(found.numpy() - biased).max() > 1e-2


@pytest.mark.parametrize("n_rows", [10, 1000])
def test_memory_does_not_grow_with_the_rows(rng, n_rows):
    moments = RunningMoments(covariance=True)
    for batch in torch.from_numpy(rng.standard_normal((n_rows, 2, 5))).split(10):
        moments.add(batch)
    tensors = [each for each in vars(moments).values() if isinstance(each, torch.Tensor)]
    assert sum(each.untyped_storage().nbytes() for each in tensors) == 8 * 2 * (5 + 5 * 5)
    assert all(isinstance(each, torch.Tensor | int | bool) for each in vars(moments).values())


def test_low_precision_is_summed_in_float64():
    rows = torch.full((3000, 1, 1), 0.1, dtype=torch.bfloat16)
    moments = RunningMoments(covariance=False)
    total = torch.zeros((), dtype=torch.bfloat16)
    for batch in rows.split(7):
        moments.add(batch)
        total = total + batch.sum()
    assert float(moments.result().mean) == pytest.approx(float(rows[0].double()), rel=1e-12)
    assert float(total / 3000) != pytest.approx(0.1, rel=0.1)


def test_nothing_added_is_an_error():
    with pytest.raises(ValueError, match="no activation"):
        RunningMoments(covariance=True).result()
