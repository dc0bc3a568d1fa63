"""The doctor: each of its checks passes on a sound model and fails when its own part is broken."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

import entangle_lens as el
from entangle_lens.entanglement import doctor
from entangle_lens.entanglement.doctor import Check, examine, largest_difference
from entangle_lens.models import load_plain
from entangle_lens.running import Reading, bridge, forward, sweep

BATCHED = "batched = one prompt at a time"
RIGHT = "padded left = padded right"
PLAIN = "TransformerLens = plain transformers"
HOOKS = "ablation by hooks = by plain transformers hooks"
EDITS = "ablation without the bridge = by hooks"
RESUMED = "ablation resumed from the clean residual = by hooks"
AFTER = "after an ablation = before it"
FINITE, ITEM, FULL = doctor.FINITE, doctor.ITEM, doctor.FULL


@pytest.fixture
def patient(tiny_folder):
    """A model to examine, and the same checkpoint unwrapped."""
    folder = tiny_folder("gemma3")
    return el.load(folder), load_plain(folder)


def failed(patient):
    return {check.name for check in examine(*patient) if not check.passed}


def weight(model):
    return model.get_decoder().layers[1].mlp.down_proj.weight


def forget_what_is_shared(monkeypatch, patient):
    """Values of the shared beginning are lost: wrong wherever prompts are batched."""
    repeated = forward.repeated

    def forgetful(cache, n_times):
        copied = repeated(cache, n_times)
        for layer in copied.layers:
            layer.values = torch.zeros_like(layer.values)
        return copied

    monkeypatch.setattr(forward, "repeated", forgetful)


def pad_the_other_reading_wrongly(monkeypatch, patient):
    """The reading of the padded batch looks one token too far to the left."""
    read = doctor.read_right_padded

    def shifted(model, group, layers):
        short = type(group)(tuple(tokens[:-1] for tokens in group.tokens), group.options)
        return read(model, short, layers)

    monkeypatch.setattr(doctor, "read_right_padded", shifted)


def change_the_plain_model(monkeypatch, patient):
    with torch.no_grad():
        weight(patient[1])[3] += 0.05


def drop_the_mask(monkeypatch, patient):
    """The bridge, which hooks run on, no longer knows what is padding on the left."""
    monkeypatch.setattr(
        bridge,
        "forward",
        lambda model, ids, mask, **options: model.forward(ids, return_type="logits", **options),
    )


def forget_the_edit_over_what_is_shared(monkeypatch, patient):
    """Without the bridge, only each prompt's own tokens are edited."""
    run_body = forward.run_body

    def forgetful(decoder, ids, cache=None, edits=(), *rest):
        return run_body(decoder, ids, cache, () if len(ids) == 1 else edits, *rest)

    monkeypatch.setattr(forward, "run_body", forgetful)


def resume_unedited(monkeypatch, patient):
    edited = sweep._edited
    monkeypatch.setattr(
        sweep, "_edited", lambda resid, edits: 0 * edited(resid, edits) + resid[None]
    )


def leave_something_behind(monkeypatch, patient):
    """Leaving the block does not put back what entering it changed."""
    ablate = doctor.ablate

    @contextmanager
    def careless(model, *args, **options):
        with ablate(model, *args, **options):
            yield
        with torch.no_grad():
            weight(model.original_model)[3] += 0.05

    monkeypatch.setattr(doctor, "ablate", careless)


def leave_the_mlp_out(monkeypatch, patient):
    """What is called full mode edits all that is written but what the MLPs write."""
    full = doctor.full_ablation
    monkeypatch.setattr(
        doctor,
        "full_ablation",
        lambda model, unit: replace(full(model, unit), sites=("resid_pre", "attn_out")),
    )


def ask_of_nothing(monkeypatch, patient):
    """The prompts of two items are the same."""
    prompts = doctor.rating_prompts

    def lost(*args):
        group = prompts(*args)
        return replace(group, tokens=(group.tokens[1], *group.tokens[1:]))

    monkeypatch.setattr(doctor, "rating_prompts", lost)


@pytest.mark.parametrize(
    ("plant", "broken"),
    [
        (forget_what_is_shared, {BATCHED, RIGHT, PLAIN, EDITS}),
        (pad_the_other_reading_wrongly, {RIGHT}),
        (change_the_plain_model, {PLAIN, HOOKS}),
        (drop_the_mask, {HOOKS, EDITS, RESUMED}),
        (forget_the_edit_over_what_is_shared, {EDITS}),
        (leave_the_mlp_out, {FULL}),
        (ask_of_nothing, {ITEM}),
        (resume_unedited, {RESUMED}),
    ],
)
def test_doctor_finds_a_planted_fault(patient, monkeypatch, plant, broken):
    assert failed(patient) == set()
    plant(monkeypatch, patient)
    assert failed(patient) == broken


def test_doctor_finds_what_an_ablation_left_behind(patient, monkeypatch):
    leave_something_behind(monkeypatch, patient)
    assert AFTER in failed(patient)


def test_every_check_can_fail(patient):
    """The parametrisation above and the test below it name every check there is."""
    named = {BATCHED, RIGHT, PLAIN, HOOKS, EDITS, RESUMED, AFTER, FINITE, ITEM, FULL}
    assert {check.name for check in examine(*patient)} == named


def test_doctor_passes_with_the_bundled_organism():
    assert failed((el.load(), load_plain("organism:qwen3-entangled"))) == set()


def test_tolerance_follows_the_dtype(patient):
    counted = {FINITE, ITEM, FULL}
    of = {
        dtype: {each.tolerance for each in examine(*patient, dtype) if each.name not in counted}
        for dtype in doctor.TOLERANCE
    }
    assert of == {"float32": {1e-4}, "bfloat16": {0.1}, "float16": {0.02}}


def test_bfloat16_model_passes_within_its_own_tolerance(tiny_folder):
    folder = tiny_folder("qwen3")
    patient = el.load(folder, dtype="bfloat16"), load_plain(folder, dtype="bfloat16")
    assert all(check.passed for check in examine(*patient, "bfloat16"))
    assert not all(check.passed for check in examine(*patient, "float32"))


@pytest.mark.parametrize("place", ["lm_head", "model.layers.1.mlp.down_proj"])
def test_model_without_finite_numbers_is_never_found_well(tiny_folder, place):
    """Its log-probabilities are NaN, and its residuals too where the matrix is further down."""
    folder = tiny_folder("qwen3")
    patient = el.load(folder), load_plain(folder)
    for each in patient:
        hf_model = getattr(each, "original_model", each)
        with torch.no_grad():
            hf_model.get_submodule(place).weight[7] = float("nan")
    (check,) = examine(*patient)
    assert check.name == FINITE
    assert not check.passed
    assert check.difference == 9
    assert str(check).startswith("FAIL")


def test_what_a_model_is_refused_is_said_and_is_no_failure(patient, monkeypatch):
    def refuse(model, unit):
        raise el.EntangleError("nothing is removed")

    monkeypatch.setattr(doctor, "full_ablation", refuse)
    checks = {check.name: check for check in examine(*patient)}
    assert checks[FULL].passed
    assert str(checks[FULL]) == f"none  {FULL}: nothing is removed"


def test_model_that_does_not_run_is_refused_in_a_sentence(patient, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("shape is invalid")

    monkeypatch.setattr(doctor, "read_prompts", broken)
    with pytest.raises(el.EntangleError, match="does not run: RuntimeError: shape is invalid"):
        examine(*patient)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("which", ["log_probs", "resid"])
@pytest.mark.parametrize("slow", [False, True])
def test_difference_from_a_number_that_is_none_is_infinite(bad, which, slow):
    """Whichever reading holds it, and in whichever of the two parts."""
    zero = Reading(torch.zeros(2, 3), torch.zeros(2, 1, 4))
    values = getattr(zero, which).clone()
    values.view(-1)[-1] = bad
    wrong = replace(zero, **{which: values})
    assert largest_difference(*((zero, wrong) if slow else (wrong, zero))) == float("inf")


@pytest.mark.parametrize(
    ("difference", "passed"), [(0.0, True), (1e-4, True), (1.01e-4, False), (float("nan"), False)]
)
def test_check_passes_up_to_its_tolerance(difference, passed):
    assert Check("any", difference, 1e-4).passed is passed


def test_largest_difference_is_over_both_readings():
    zero = Reading(torch.zeros(2, 3), torch.zeros(2, 1, 4))
    log_probs, resid = torch.zeros(2, 3), torch.zeros(2, 1, 4)
    log_probs[1, 2], resid[0, 0, 3] = -0.2, 0.3
    assert largest_difference(Reading(log_probs, zero.resid), zero) == pytest.approx(0.2)
    assert largest_difference(Reading(log_probs, resid), zero) == pytest.approx(0.3)
    assert largest_difference(zero, zero) == 0


def test_large_residuals_are_compared_in_their_own_units():
    large = Reading(torch.zeros(1, 2), torch.full((1, 1, 4), 100.0))
    other = Reading(torch.zeros(1, 2), torch.full((1, 1, 4), 101.0))
    assert largest_difference(other, large) == pytest.approx(0.01)
