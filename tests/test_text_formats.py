"""Numbers as text: a p-value that no permutation reached is shown as a bound."""

import math

import pytest

from entangle_lens.text import figure_text, p_equation, p_text


@pytest.mark.parametrize("n", [1_000, 5_000, 9_999, 10_000, 20_000, 100_000])
@pytest.mark.parametrize("n_reached", range(4))
def test_p_at_the_floor_of_its_permutations_is_a_bound_and_any_other_a_value(n, n_reached):
    p = (n_reached + 1) / (n + 1)
    text = p_text(p, n)
    assert text.startswith("<") == (n_reached == 0 or p < 1e-4)
    if text.startswith("<"):
        assert p < float(text.removeprefix("< ")) <= p + 1.0001e-4
    else:
        assert float(text) == pytest.approx(p, abs=5.001e-5)


def test_floor_of_ten_thousand_and_of_a_thousand_permutations():
    assert p_text(1 / 10_001, 10_000) == "< 0.0001"
    assert p_text(1 / 1_001, 1_000) == "< 0.001"
    assert p_text(1 / 1_001) == "0.0010"
    assert p_text(2 / 10_001, 10_000) == "0.0002"


def test_corrected_p_is_a_bound_where_the_uncorrected_one_is():
    assert p_text(4 / 10_001, 10_000, uncorrected=1 / 10_001) == "< 0.0004"
    assert p_text(4 / 10_001, 10_000, uncorrected=2 / 10_001) == "0.0004"
    assert p_text(1.0, 1_000, uncorrected=1 / 1_001) == "1.0000"


def test_p_of_other_tests_has_four_decimals():
    assert [p_text(p) for p in (1.0, 0.04996, 0.0001, 0.00004, 0.0)] == [
        "1.0000",
        "0.0500",
        "0.0001",
        "< 0.0001",
        "< 0.0001",
    ]
    assert p_text(math.nan) == ""


def test_p_in_a_sentence():
    assert p_equation(0.0312) == "p = 0.0312"
    assert p_equation(1 / 10_001, 10_000) == "p < 0.0001"
    assert p_equation(math.nan) == "p unknown"


def test_text_in_a_figure_keeps_its_tags_as_letters():
    assert figure_text("a <b>b</b> & \x1b[2J\n") == "a &lt;b&gt;b&lt;/b&gt; &amp; \\x1b[2J\\n"
