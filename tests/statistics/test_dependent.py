"""Williams and Steiger tests: published examples, the covariance they use, and their level."""

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student_t

import entangle_lens as el
from entangle_lens.statistics import steiger_test, williams_test

CHECK = {"r12": 0.399, "r34": 0.052, "r13": 0.978, "r14": 0.060, "r23": 0.396, "r24": 0.804}


def correlations(mixing, rng, n, n_samples):
    """Draw samples of n rows of normal variables; return each sample's correlation matrix."""
    data = rng.standard_normal((n_samples, n, mixing.shape[1])) @ mixing.T
    data -= data.mean(1, keepdims=True)
    data /= np.linalg.norm(data, axis=1, keepdims=True)
    return np.swapaxes(data, 1, 2) @ data


def mixing_of(matrix):
    return np.linalg.cholesky(np.array(matrix))


def test_steiger_gives_the_check_value():
    """n = 68: a model's correlation against the human one, on the same items."""
    found = steiger_test(**CHECK, n=68)
    assert found.statistic == pytest.approx(4.517, abs=5e-4)
    assert found.p == pytest.approx(2 * norm.sf(4.517), rel=5e-3)
    assert found.difference == pytest.approx(np.arctanh(0.399) - np.arctanh(0.052))
    assert found.df == np.inf


def test_steiger_gives_a_published_example():
    """Four measures of distance, printed in the rmcorr vignette from R's cocor: Z 2.0989."""
    found = steiger_test(
        r12=0.8065821,
        r34=0.7341831,
        r13=0.7355813,
        r14=0.7758245,
        r23=0.7160551,
        r24=0.7575109,
        n=180,
    )
    assert found.statistic == pytest.approx(2.0989, abs=5e-5)
    assert found.p == pytest.approx(0.0358, abs=5e-5)


def test_williams_gives_published_examples():
    """Howell's textbook (WRAT with WISC-R and McCarthy, t = 1.36 at 23 degrees of freedom), and
    the documentation of r.test in R's psych (p < 0.1001, to four digits)."""
    howell = williams_test(r12=0.80, r13=0.72, r23=0.89, n=26)
    assert (howell.statistic, howell.df) == (pytest.approx(1.36, abs=5e-3), 23)
    psych = williams_test(
        r12=0.693458895410494, r13=0.695966022434845, r23=0.988475791500198, n=5105
    )
    assert psych.p == pytest.approx(0.1001, abs=5e-5)
    assert psych.statistic < 0


def test_williams_equals_the_formula_with_a_determinant(rng):
    for _ in range(50):
        r = correlations(np.eye(3) + 0.5, rng, 30, 1)[0]
        r12, r13, r23 = float(r[0, 1]), float(r[0, 2]), float(r[1, 2])
        mean = (r12 + r13) / 2
        spread = 2 * (29 / 27) * np.linalg.det(r) + mean**2 * (1 - r23) ** 3
        expected = (r12 - r13) * np.sqrt(29 * (1 + r23) / spread)
        found = williams_test(r12, r13, r23, 30)
        assert found.statistic == pytest.approx(expected)
        assert found.p == pytest.approx(2 * student_t.sf(abs(expected), 27))
        assert found.difference == pytest.approx(r12 - r13)


def test_williams_is_antisymmetric_and_nothing_where_equal():
    one, other = williams_test(0.5, 0.3, 0.4, 100), williams_test(0.3, 0.5, 0.4, 100)
    assert one.statistic == pytest.approx(-other.statistic)
    assert one.p == pytest.approx(other.p)
    same = williams_test(0.4, 0.4, 0.2, 100)
    assert (same.statistic, same.p) == (0, 1)


def test_steiger_is_antisymmetric_and_indifferent_to_the_order_within_pairs():
    one = steiger_test(**CHECK, n=68).statistic
    r = CHECK
    pairs_swapped = steiger_test(r["r34"], r["r12"], r["r13"], r["r23"], r["r14"], r["r24"], 68)
    names_swapped = steiger_test(r["r12"], r["r34"], r["r23"], r["r24"], r["r13"], r["r14"], 68)
    assert pairs_swapped.statistic == pytest.approx(-one)
    assert names_swapped.statistic == pytest.approx(one)


def test_steiger_of_unrelated_pairs_is_fishers_test_of_independent_samples():
    found = steiger_test(0.5, 0.2, 0.0, 0.0, 0.0, 0.0, 50)
    assert found.statistic == pytest.approx((np.arctanh(0.5) - np.arctanh(0.2)) / np.sqrt(2 / 47))


NULLS = {
    "williams": ([[1, 0.5, 0.5], [0.5, 1, 0.7], [0.5, 0.7, 1]], 1),
    "steiger": (
        [[1, 0.5, 0.7, 0.4], [0.5, 1, 0.4, 0.7], [0.7, 0.4, 1, 0.5], [0.4, 0.7, 0.5, 1]],
        0,
    ),
}


def p_of(name, r):
    if name == "williams":
        return williams_test(float(r[0, 1]), float(r[0, 2]), float(r[1, 2]), 40).p
    pairs = ((0, 1), (2, 3), (0, 2), (0, 3), (1, 2), (1, 3))
    return steiger_test(*(float(r[pair]) for pair in pairs), 40).p


@pytest.mark.parametrize("name", NULLS)
def test_level_is_kept_where_the_test_of_independent_samples_is_far_too_tame(name):
    rng = np.random.default_rng(51)
    rejected = tame = 0
    for r in correlations(mixing_of(NULLS[name][0]), rng, 40, 2000):
        rejected += p_of(name, r) <= 0.05
        second = r[0, 2] if name == "williams" else r[2, 3]
        z = (np.arctanh(r[0, 1]) - np.arctanh(second)) / np.sqrt(2 / 37)
        tame += abs(z) > 1.96
    assert 0.035 <= rejected / 2000 <= 0.065
    assert tame / 2000 < 0.025


@pytest.mark.parametrize("name", NULLS)
def test_true_difference_is_seen(name):
    rng = np.random.default_rng(52)
    matrix = np.array(NULLS[name][0])
    pair = (0, 2) if name == "williams" else (2, 3)
    matrix[pair] = matrix[pair[::-1]] = 0.1
    seen = [p_of(name, r) <= 0.05 for r in correlations(mixing_of(matrix), rng, 40, 300)]
    assert np.mean(seen) > 0.7


def test_impossible_numbers_are_errors():
    with pytest.raises(el.EntangleError, match=r"r13 is 1\.2, and a correlation lies between"):
        williams_test(0.5, 1.2, 0.3, 50)
    with pytest.raises(el.EntangleError, match="r34 is nan"):
        steiger_test(**(CHECK | {"r34": float("nan")}), n=68)
    with pytest.raises(el.EntangleError, match="at least 4 items"):
        williams_test(0.5, 0.2, 0.3, 3)
    with pytest.raises(el.EntangleError, match=r"no variables.*r12 0\.9, r13 -0\.9, r23 0\.9"):
        williams_test(0.9, -0.9, 0.9, 50)
    with pytest.raises(el.EntangleError, match="variables 2 and 3 are the same"):
        williams_test(0.5, 0.5, 1.0, 50)
    with pytest.raises(el.EntangleError, match="no spread of their own"):
        steiger_test(1.0, 0.3, 0.2, 0.1, 0.2, 0.1, 50)
    with pytest.raises(el.EntangleError, match="no spread of their own"):
        steiger_test(0.4, 0.4, 1.0, 0.4, 0.4, 1.0, 50)


def test_result_is_a_plain_record():
    found = williams_test(0.5, 0.3, 0.4, 100)
    assert found.as_dict() == {
        "difference": found.difference,
        "statistic": found.statistic,
        "df": 97.0,
        "p": found.p,
        "method": "Williams t",
    }
    with pytest.raises(AttributeError):
        found.p = 0.5
