"""Benjamini-Hochberg: against the definition, statsmodels, and in simulation."""

import numpy as np
import pytest

import entangle_lens as el
from entangle_lens.statistics import benjamini_hochberg


def slow(p):
    """Return for each p the least of m p_j / rank_j over all p_j that are no smaller."""
    m, ranks = len(p), [sum(other <= each for other in p) for each in p]
    steps = [m * each / rank for each, rank in zip(p, ranks, strict=True)]
    return [
        min(1, *(step for step, other in zip(steps, p, strict=True) if other >= each)) for each in p
    ]


@pytest.mark.parametrize("m", [1, 2, 31, 200])
def test_adjusted_p_equals_the_definition_and_statsmodels(rng, m):
    from statsmodels.stats.multitest import multipletests

    p = np.round(rng.uniform(size=m) ** 3, 2)
    found = benjamini_hochberg(p)
    assert found == pytest.approx(slow(p))
    assert found == pytest.approx(multipletests(p, method="fdr_bh")[1])
    assert (found >= p).all()


def test_published_example_of_fifteen_tests():
    """Benjamini & Hochberg (1995), section 3.2: four of fifteen hold, Bonferroni has three."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262]
    p = np.array([*p, 0.5719, 0.6528, 0.7590, 1.0])
    assert (benjamini_hochberg(p) <= 0.05).sum() == 4
    assert (15 * p <= 0.05).sum() == 3
    assert (p <= 0.05).sum() == 9


def test_missing_p_is_carried_through_and_not_counted(rng):
    p = rng.uniform(size=12) ** 3
    holed = np.insert(p, [0, 5, 12], np.nan)
    found = benjamini_hochberg(holed)
    assert np.isnan(found).nonzero()[0].tolist() == [0, 6, 14]
    assert found[np.isfinite(found)].tobytes() == benjamini_hochberg(p).tobytes()
    counted = benjamini_hochberg(np.append(p, [1.0, 1.0, 1.0]))[:12]
    assert (counted >= found[np.isfinite(found)]).all()
    assert (counted > found[np.isfinite(found)]).sum() > 6
    assert np.isnan(benjamini_hochberg(np.full(3, np.nan))).all()
    assert benjamini_hochberg(np.array([])).shape == (0,)


def test_order_is_kept(rng):
    p = rng.uniform(size=20)
    order = rng.permutation(20)
    assert benjamini_hochberg(p[order]).tobytes() == benjamini_hochberg(p)[order].tobytes()


def test_share_of_false_findings_is_held_where_plain_p_does_not_hold_it():
    rng = np.random.default_rng(71)
    held, plain = [], []
    for _ in range(1000):
        p = np.append(rng.uniform(size=27), rng.uniform(high=1e-3, size=4))
        for kept, shares in ((benjamini_hochberg(p) <= 0.05, held), (p <= 0.05, plain)):
            shares.append(kept[:27].sum() / max(kept.sum(), 1))
    assert 0.03 <= np.mean(held) <= 0.055
    assert np.mean(plain) > 0.15


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.inf])
def test_number_that_is_no_p_is_an_error(wrong):
    with pytest.raises(el.EntangleError, match=r"p-value 2 is .*, outside 0 to 1"):
        benjamini_hochberg(np.array([0.1, wrong]))
