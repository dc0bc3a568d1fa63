"""What a design accepts, and what it refuses before any work."""

from dataclasses import replace

import numpy as np
import pytest

import entangle_lens as el
from entangle_lens.entanglement.design import Design, parse_layers
from entangle_lens.stimuli import Scale, load_stimuli

pytestmark = pytest.mark.usefixtures("without_type_checks")


@pytest.mark.parametrize(
    ("text", "layers"),
    [("all", None), ("8", (8,)), ("4,8,12", (4, 8, 12)), ("4-6", (4, 5, 6)), ("0,4-5", (0, 4, 5))],
)
def test_layers_are_read(text, layers):
    assert parse_layers(text) == layers


@pytest.mark.parametrize("text", ["", "four", "4-", "5-4", "-1", "²", "٣"])
def test_layers_that_cannot_be_read_are_refused(text):
    with pytest.raises(el.EntangleError, match="write all, 8, 4,8,12 or 4-12"):
        parse_layers(text)


@pytest.mark.parametrize("text", ["0-99999999999", "99999999999", "1" * 5_000, "0-9,20000"])
def test_layers_without_end_are_refused_at_once(text):
    with pytest.raises(el.EntangleError, match=r"go beyond 10,000|cannot be read"):
        parse_layers(text)


@pytest.mark.parametrize(
    ("layers", "kept"),
    [
        (3, (3,)),
        (np.int64(3), (3,)),
        (np.arange(2, 5), (2, 3, 4)),
        ([3, 1, 3], (1, 3)),
        ("1-2", (1, 2)),
        (None, None),
    ],
)
def test_layers_are_taken_in_every_usual_form_and_kept_ascending(layers, kept):
    assert Design.make(layers=layers).layers == kept
    assert Design(layers=layers).layers == kept


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"seed": -1}, "seed -1 was given; a whole number from 0 on"),
        ({"seed": 1.5}, "seed 1.5 is not a whole number"),
        ({"seed": "1"}, "seed '1' is not a whole number"),
        ({"layers": ()}, "layers are empty"),
        ({"layers": (-1,)}, "layer -1 was given"),
        ({"layers": (0.5,)}, "layer 0.5 is not a whole number"),
        ({"scale": (1, 9)}, "scale .* is of type tuple"),
        ({"scale": "nine"}, "is not LOW:HIGH"),
        ({"polarity": "upwards"}, "choose both, ascending, descending"),
    ],
)
def test_settings_out_of_range_are_refused_in_a_sentence(settings, parts):
    with pytest.raises(el.EntangleError, match=parts):
        Design.make(**settings)


@pytest.mark.parametrize(
    "counts",
    [{"n_random": 0}, {"n_paraphrases": 0}, {"n_repair_paraphrases": -1}, {"n_resamples": 10}],
)
def test_counts_that_are_too_small_are_refused(counts):
    (name,) = counts
    with pytest.raises(el.EntangleError, match=name):
        Design(**counts)


def test_numpy_numbers_are_numbers():
    design = Design.make(seed=np.int64(3), scale=Scale(1, 7))
    assert design.seed == 3
    assert type(design.seed) is int


def test_quick_design_asks_less():
    quick, full = Design.make(quick=True), Design.make()
    assert quick.n_resamples < full.n_resamples
    assert quick.n_random < full.n_random


@pytest.mark.parametrize(
    ("model", "kind"), [("gpt2", "str"), (None, "NoneType"), (el.EntangleError, "type")]
)
@pytest.mark.parametrize("verb", [el.study, el.compare])
def test_what_is_not_a_loaded_model_is_refused(verb, model, kind):
    with pytest.raises(el.EntangleError, match=f"of type {kind}; a TransformerBridge"):
        verb(model)


def test_layers_that_the_model_lacks_are_refused_before_the_study(tiny):
    with pytest.raises(el.EntangleError, match="layer 99 is out of range: the model has layers 0"):
        el.study(tiny, layers="0,99")


def test_polarity_keeps_the_questions_of_one_way_of_the_scale():
    stimuli = load_stimuli("goods")
    both, one = (Design.make(polarity=p).asked(stimuli) for p in ("both", "ascending"))
    assert both.questions == stimuli.questions
    assert {each.polarity for each in one.questions} == {"ascending"}
    assert len(one.questions) == len(stimuli.questions) / 2
    assert len(one.questions_for("moral", 2)) == 2
    lacking = replace(stimuli, questions=one.questions)
    with pytest.raises(el.EntangleError, match=r"no question asks for .* 'descending'"):
        Design.make(polarity="descending").asked(lacking)
