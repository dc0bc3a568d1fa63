"""Numbers and foreign text as they are shown, the same everywhere."""

from __future__ import annotations

import html
import math
import re

from entangle_lens.errors import printable

_LEAST = 1e-4  # four decimals are shown
_MARKS = re.compile(r"([\\`*\[\]{}|~]|\b_|_\b)")


def p_text(p: float, n_permutations: int | None = None, *, uncorrected: float | None = None) -> str:
    """Return a p-value with four decimals; one that is only known to be smaller as ``< bound``.

    A permutation p is at least 1 / (n_permutations + 1), which no permutation reached: it is shown
    as a bound and not as a value. A corrected p is such a bound where the ``uncorrected`` one is.
    NaN gives the empty text.

    >>> p_text(0.01234), p_text(1 / 10_001, 10_000), p_text(3e-9)
    ('0.0123', '< 0.0001', '< 0.0001')
    """
    if math.isnan(p):
        return ""
    at_floor = _at_floor(p if uncorrected is None else uncorrected, n_permutations)
    if p < _LEAST or (at_floor and p < 1 - _LEAST):
        return f"< {_above(p):g}"
    return f"{p:.4f}"


def p_equation(
    p: float, n_permutations: int | None = None, *, uncorrected: float | None = None
) -> str:
    """Return a p-value for a sentence: ``p = 0.0123`` or ``p < 0.0001``; see :func:`p_text`."""
    text = p_text(p, n_permutations, uncorrected=uncorrected)
    if not text:
        return "p unknown"
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def count_text(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural where it must be.

    >>> count_text(1, "problem"), count_text(2, "problem")
    ('1 problem', '2 problems')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def figure_text(text: str) -> str:
    """Return text from a file so that a plotly figure shows it as it is, tags and all.

    >>> figure_text("<b>a</b>")
    '&lt;b&gt;a&lt;/b&gt;'
    """
    return html.escape(printable(text, one_line=True), quote=False)


def markdown_text(text: str) -> str:
    r"""Return text from a file so that Markdown shows it as it is: on one line, no tags, no marks.

    >>> markdown_text("<b>a|b</b> *c*")
    '&lt;b&gt;a\\|b&lt;/b&gt; \\*c\\*'
    """
    plain = _MARKS.sub(r"\\\1", printable(text, one_line=True))
    return html.escape(plain, quote=False)


def _at_floor(p: float, n_permutations: int | None) -> bool:
    return n_permutations is not None and p <= (1 + 1e-9) / (n_permutations + 1)


def _above(p: float) -> float:
    """Return the next number of four decimals above ``p``."""
    return (math.floor(p / _LEAST + 1e-9) + 1) * _LEAST
