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
