"""Contrast residuals: what is refused, and what pooling does."""

import dataclasses

import pytest
import torch

from entangle_lens.directions import ContrastResid, fit_probe, pooled
from entangle_lens.errors import EntangleError


def contrast(positive, negative, names):
    return ContrastResid("moral", "grammar", 3, positive, negative, tuple(names))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("positive", "negative", "names", "message"),
    [
        ((1, 4, 8), (1, 5, 8), "abcd", r"shape \(1, 4, 8\) and the negative ones \(1, 5, 8\)"),
        ((1, 1, 8), (1, 1, 8), "a", "1 pairs in 1 contexts; a contrast needs at least 2 pairs"),
        ((0, 4, 8), (0, 4, 8), "abcd", "4 pairs in 0 contexts"),
        ((1, 4, 8), (1, 4, 8), "abc", "3 scenario ids were given for 4 pairs"),
    ],
)
def test_contrast_of_wrong_shape_is_refused(positive, negative, names, message):
    with pytest.raises(EntangleError, match=message):
        contrast(torch.ones(positive), torch.ones(negative), names)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_contrast_that_is_not_finite_is_refused(bad):
    resid = torch.ones(1, 4, 8)
    broken = resid.clone()
    broken[0, 2, 5] = bad
    with pytest.raises(EntangleError, match="'moral' at layer 3 are not all finite"):
        contrast(resid, broken, "abcd")
    contrast(resid, resid, "abcd")


def test_pooled_contrast_has_the_contexts_of_all(world):
    first = world().pairs(5, 2, provenance={"model": "tiny", "prompts": "one"})
    second = dataclasses.replace(
        first,
        question="economic",
        positive=first.positive + 1,
        provenance={"model": "tiny", "prompts": "two"},
    )
    both = pooled([first, second])
    assert both.question == "pooled"
    assert both.positive[:2].equal(first.positive)
    assert both.positive[2:].equal(second.positive)
    assert both.negative.shape == (4, 5, 16)
    assert both.scenario_ids == first.scenario_ids
    assert both.provenance == {"model": "tiny", "pooled_questions": "grammar, economic"}


def test_pooling_other_pairs_values_or_layers_is_refused(world):
    draws = world()
    one = draws.pairs(5)
    for other, what in (
        (draws.pairs(5), "scenarios"),
        (dataclasses.replace(one, value="economic"), "value, moral and economic"),
        (dataclasses.replace(one, layer=4), "layer, 3 and 4"),
    ):
        with pytest.raises(EntangleError, match=f"differ in {what}"):
            pooled([one, other])
    with pytest.raises(EntangleError, match="no contrasts"):
        pooled([])


def test_select_that_is_not_held_out_is_refused(world):
    draws = world()
    fit, select = draws.pairs(6), draws.pairs(6)
    with pytest.raises(EntangleError, match="6 scenarios are in both fit and select"):
        fit_probe(fit, fit)
    with pytest.raises(EntangleError, match=r"'grammar', 3, 16\) and select .*'grammar', 4, 16"):
        fit_probe(fit, dataclasses.replace(select, layer=4))
    same = dataclasses.replace(fit, positive=fit.negative)
    with pytest.raises(EntangleError, match="poles of 'moral' hold the same residuals at layer 3"):
        fit_probe(same, select)
    with pytest.raises(EntangleError, match=r"3 scenarios were given to fit; .* at least 4"):
        fit_probe(draws.pairs(3), select)
