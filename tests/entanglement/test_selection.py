"""Layers are chosen by validity on held-out scenarios, and none where none is valid."""

import numpy as np
import pytest
import torch

from entangle_lens.directions import LayerDirections
from entangle_lens.entanglement.selection import most_valid_layer, valid_layers


def directions(auc, cosine=None, d_prime=None):
    n = len(auc)
    return LayerDirections(
        "moral",
        "grammar",
        tuple(range(n)),
        torch.ones(n, 4, dtype=torch.float64),
        torch.zeros(n, 4, dtype=torch.float64),
        split_half_cosine=np.array(cosine or [0.9] * n),
        auc=np.array(auc),
        d_prime=np.array(d_prime or [1.0] * n),
    )


def test_valid_layers_need_auc_and_stability_and_leave_out_the_last_fifth():
    fitted = directions([0.5, 0.85, 0.99, 0.99, 0.99], [0.9, 0.9, 0.2, 0.9, 0.9])
    assert valid_layers(fitted, 5).tolist() == [False, True, False, True, False]


def test_most_valid_layer_is_the_one_with_the_highest_auc():
    assert most_valid_layer([directions([0.81, 0.95, 0.85, 0.82, 0.99])], 5) == 1


def test_most_valid_layer_among_equal_aucs_is_the_best_separated():
    fitted = directions([0.985, 1.0, 0.99, 0.5, 0.5], d_prime=[3.0, 1.0, 2.0, 9.0, 9.0])
    assert most_valid_layer([fitted], 5) == 0


def test_most_valid_layer_asks_all_directions():
    one, other = directions([0.99, 0.9, 0.5, 0.5, 0.5]), directions([0.6, 0.85, 0.99, 0.5, 0.5])
    assert most_valid_layer([one, other], 5) == 1


@pytest.mark.parametrize("auc", [[0.7] * 5, [0.5, 0.5, 0.5, 0.5, 0.99]])
def test_most_valid_layer_is_none_where_no_layer_is_valid(auc):
    assert most_valid_layer([directions(auc)], 5) is None
