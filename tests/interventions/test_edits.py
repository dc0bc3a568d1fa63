"""The mathematics of removals, shifts and gates, on random activations."""

import math

import pytest
import torch

from entangle_lens.errors import EntangleError
from entangle_lens.interventions import (
    At,
    CosineGate,
    Gated,
    LeastShift,
    ProbeGate,
    PromptLeastShift,
    Removal,
    Steering,
    name_strength,
)
from entangle_lens.running import Rows

D = 24


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def resid():
    return drawn(3, 5, D)


@pytest.fixture
def basis():
    return torch.linalg.qr(drawn(D, 2, seed=1).double()).Q.T


@pytest.fixture
def removal(basis):
    return Removal(basis.T, basis, (0,))


@pytest.fixture
def rows():
    """Three rows, the last two of them padded on the right."""
    return Rows.of_prompts(torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]))


def test_removal_leaves_no_projection_and_twice_is_once(resid, basis, removal):
    once = removal.edit(resid)
    assert (resid @ basis.float().T).abs().mean() > 0.1
    assert (once @ basis.float().T).abs().max() < 1e-5
    torch.testing.assert_close(removal.edit(once), once, atol=1e-5, rtol=0)
    assert (once - resid).abs().max() > 0.1


def test_removals_of_orthogonal_subspaces_commute_and_others_do_not(resid, basis):
    one, other = (Removal(each[:, None], each[None], (0,)) for each in basis)
    oblique = torch.nn.functional.normalize(basis[0] + basis[1], dim=0)
    slanted = Removal(oblique[:, None], oblique[None], (0,))
    there, back = one.edit(other.edit(resid)), other.edit(one.edit(resid))
    torch.testing.assert_close(there, back, atol=1e-5, rtol=0)
    assert (one.edit(slanted.edit(resid)) - slanted.edit(one.edit(resid))).abs().max() > 1e-2


def test_affine_removal_sets_the_projection_to_that_of_the_mean(resid, basis):
    mean = drawn(D, seed=2)
    edited = Removal(basis.T, basis, (0,), mean).edit(resid)
    expected = (mean @ basis.float().T).expand(3, 5, 2)
    torch.testing.assert_close(edited @ basis.float().T, expected, atol=1e-5, rtol=0)
    assert expected.abs().min() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_strength_zero_is_the_identity_bit_for_bit(resid, basis, dtype):
    resid = resid.to(dtype)
    resid[0, 0, 0] = -0.0
    still = (
        Removal(basis.T, basis, (0,), drawn(D), strength=0.0),
        Steering(drawn(D), 0.0, (0,)),
        LeastShift(drawn(D), 1e9, 0, 0.5),
    )
    bits = torch.int32 if dtype == torch.float32 else torch.int16
    for edit in still:
        assert edit.edit(resid).view(bits).equal(resid.view(bits))
    assert not Removal(basis.T, basis, (0,), strength=0.1).edit(resid).equal(resid)


def test_strengths_other_than_one_are_named():
    named = [name_strength(each) for each in (0.0, 1.0, 2.0, 0.5, 1.5, -1.0)]
    assert named == [
        "nothing",
        "removal",
        "reflection",
        "partial removal (0.5)",
        "removal and beyond (1.5)",
        "amplification (-1)",
    ]


def test_removal_in_bfloat16_is_computed_in_float32(basis, removal):
    resid = (drawn(64, D) * 30).bfloat16()
    exact = resid.double() - resid.double() @ basis.T @ basis
    b = basis.bfloat16()
    careless = resid - resid @ b.T @ b
    left = (removal.edit(resid).double() @ basis.T).abs().mean()
    assert left < 0.75 * (careless.double() @ basis.T).abs().mean()
    assert (removal.edit(resid).double() - exact).abs().max() <= 0.5


def test_steering_by_one_moves_one_class_mean_onto_the_other():
    low, high = drawn(40, D, seed=3), drawn(40, D, seed=4) + 1
    vector = high.mean(0) - low.mean(0)
    moved = Steering(vector, 1.0, (0,)).edit(low)
    torch.testing.assert_close(moved.mean(0), high.mean(0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("probability", [0.01, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("suppress", [False, True])
def test_least_shift_reaches_its_probability_and_no_more(resid, probability, suppress):
    weight, bias = drawn(D, seed=5), 0.3
    edit = LeastShift(weight, bias, 0, probability, suppress)
    before = (resid @ weight + bias).sigmoid()
    after = (edit.edit(resid) @ weight + bias).sigmoid()
    missed = before > probability if suppress else before < probability
    assert missed.any()
    assert not missed.all()
    torch.testing.assert_close(
        after[missed], torch.full_like(after[missed], probability), atol=1e-3, rtol=0
    )
    assert edit.edit(resid)[~missed].equal(resid[~missed])
    along = (edit.edit(resid) - resid)[missed]
    straight = torch.nn.functional.cosine_similarity(along, weight.expand_as(along), dim=-1)
    assert straight.abs().min() > 1 - 1e-4


def test_prompt_shift_is_read_at_the_last_token_and_added_everywhere(resid, rows):
    shift = LeastShift(drawn(D, seed=5), -3.0, 0, 0.9)
    edited = PromptLeastShift(shift).edit_rows(resid, rows, 0, "resid_post")
    for row, last in enumerate((4, 2, 1)):
        step = float(shift.step(resid[row, last]))
        assert step > 0
        expected = resid[row] + step * shift.weight / shift.weight.norm()
        torch.testing.assert_close(edited[row], expected, atol=1e-5, rtol=0)
    later = drawn(3, 1, D, seed=6)
    edit = PromptLeastShift(shift)
    edit.edit_rows(resid, rows, 0, "resid_post")
    followed = edit.edit_rows(later, rows.following(1), 0, "resid_post")
    step = shift.step(resid[torch.arange(3), torch.tensor([4, 2, 1])])
    unit = shift.weight / shift.weight.norm()
    torch.testing.assert_close(followed[:, 0], later[:, 0] + step[:, None] * unit)


def test_positions_are_the_prompts_its_last_tokens_or_what_follows(resid, removal, rows):
    def where(positions, given, activations):
        edited = At(removal, positions).edit_rows(activations, given, 0, "resid_post")
        return (edited != activations).any(-1)

    last = torch.tensor([[0, 0, 0, 0, 1], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0]], dtype=torch.bool)
    assert where("last prompt token", rows, resid).equal(last)
    assert where("prompt", rows, resid)[rows.real].all()
    assert not where("generated", rows, resid)[rows.real].any()
    later, one = rows.following(1), resid[:, :1]
    assert where("generated", later, one).all()
    assert not where("prompt", later, one).any()
    assert not where("last prompt token", later, one).any()


def test_left_padding_finds_the_same_last_tokens():
    left = Rows.of_prompts(torch.tensor([[1, 1, 1], [0, 0, 1], [0, 1, 1]]))
    assert left.last.tolist() == [2, 2, 2]
    after = Rows.of_prompts(torch.tensor([[0, 1, 1, 1]]), n_after=1)
    assert after.last.tolist() == [2]
    assert after.generated.tolist() == [[False, False, False, True]]


@pytest.mark.parametrize("kind", ["probe", "cosine"])
def test_gate_edits_the_rows_where_it_is_open_and_no_bit_of_the_others(resid, removal, rows, kind):
    resid[0, 4], resid[1, 2], resid[2, 1] = torch.ones(D), -torch.ones(D), torch.ones(D)
    gate = {
        "probe": ProbeGate(torch.ones(D), 0.0, 0),
        "cosine": CosineGate(torch.ones(D), 0, 0.5, mean=torch.zeros(D)),
    }[kind]
    edited = Gated(removal, gate).edit_rows(resid, rows, 0, "resid_post")
    assert edited[1].equal(resid[1])
    assert edited[0].equal(removal.edit(resid)[0])
    assert edited[2].equal(removal.edit(resid)[2])
    assert not edited[0].equal(resid[0])


def test_gate_per_token_reads_each_token(resid, removal, rows):
    gate = ProbeGate(drawn(D, seed=7), 0.0, 0, per="token")
    edited = Gated(removal, gate).edit_rows(resid, rows, 0, "resid_post")
    is_open = resid @ gate.weight > 0
    assert is_open.any()
    assert not is_open.all()
    assert edited[~is_open].equal(resid[~is_open])
    assert edited[is_open].equal(removal.edit(resid)[is_open])


def test_gate_read_lower_holds_at_the_edits_layer_and_while_text_follows(resid, basis, rows):
    inner = Removal(basis.T, basis, (2,))
    gated = Gated(inner, ProbeGate(torch.ones(D), 0.0, 1))
    resid[0, 4], resid[1, 2], resid[2, 1] = torch.ones(D), -torch.ones(D), torch.ones(D)
    assert gated.layers == (1, 2)
    assert gated.edit_rows(resid, rows, 1, "resid_post").equal(resid)
    above, later = drawn(3, 5, D, seed=8), drawn(3, 1, D, seed=9)
    for activations, given in ((above, rows), (later, rows.following(1))):
        edited = gated.edit_rows(activations, given, 2, "resid_post")
        assert edited[1].equal(activations[1])
        assert edited[0].equal(inner.edit(activations)[0])


def test_gate_without_its_prompt_is_an_error(resid, removal, rows):
    gated = Gated(removal, ProbeGate(torch.ones(D), 0.0, 0))
    with pytest.raises(EntangleError, match="reads the prompt"):
        gated.edit_rows(resid, rows.following(5), 0, "resid_post")


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda inner: Gated(inner, ProbeGate(torch.ones(D), 0.0, 1)), "read first"),
        (lambda inner: LeastShift(torch.ones(D), 0.0, 0, 1.0), "between 0 and 1"),
        (lambda inner: LeastShift(torch.zeros(D), 0.0, 0, 0.5), "zero"),
        (lambda inner: LeastShift(torch.full((D,), math.nan), 0.0, 0, 0.5), "not finite"),
    ],
)
def test_bad_settings_are_refused(removal, make, part):
    with pytest.raises(EntangleError, match=part):
        make(removal)
