"""The mathematics of weight orthogonalisation: what vanishes, and what stays."""

import pytest
import torch

from entangle_lens.errors import EntangleError
from entangle_lens.export import orthogonal
from entangle_lens.export.orthogonal import before_norm, before_stream, orthonormal

D, N = 48, 96


@pytest.fixture
def weight():
    return torch.randn(D, N, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def gain():
    return torch.randn(D, generator=torch.Generator().manual_seed(4)) + 0.3


@pytest.fixture
def rows(basis_of):
    return orthonormal(basis_of(D))


def normed(x, gain):
    return gain[:, None] * x / x.square().mean(0).sqrt()


def test_basis_spans_what_was_given_and_is_orthonormal(basis_of, rows):
    given = basis_of(D).double()
    assert torch.allclose(rows @ rows.T, torch.eye(2).double(), atol=1e-12)
    assert torch.allclose(given @ rows.T @ rows, given, atol=1e-12)


def test_dependent_vectors_count_once(basis_of):
    given = basis_of(D)
    assert len(orthonormal(torch.cat([given, given.sum(0, keepdim=True)]))) == 2


@pytest.mark.parametrize("bad", [torch.zeros(1, D), torch.full((1, D), torch.nan)])
def test_basis_of_nothing_is_refused(bad):
    with pytest.raises(EntangleError, match="zero or not finite"):
        orthonormal(bad)
    with pytest.raises(EntangleError, match="0 vectors"):
        orthonormal(torch.empty(0, D))


def test_projection_of_what_is_written_vanishes(weight, rows):
    edited = before_stream(rows).edited(weight, 0, 1.0)
    assert (rows.float() @ edited).abs().max() < 1e-5
    assert (rows.float() @ weight).abs().max() > 1
    others = torch.linalg.svd(rows)[2][2:].float()
    assert torch.allclose(others @ edited, others @ weight, atol=1e-5)


def test_rows_columns_and_biases_are_edited_alike(weight, rows, monkeypatch):
    projection = before_stream(rows)
    columns = projection.edited(weight, 0, 1.0)
    assert torch.allclose(projection.edited(weight.T.contiguous(), 1, 1.0).T, columns, atol=1e-6)
    assert torch.allclose(projection.edited(weight[:, 5], 0, 1.0), columns[:, 5], atol=1e-6)
    monkeypatch.setattr(orthogonal, "_CHUNK", 7 * D)
    assert torch.allclose(projection.edited(weight, 0, 1.0), columns, atol=1e-6)


def test_edit_is_idempotent_and_strength_two_its_own_inverse(weight, rows):
    projection = before_stream(rows)
    once = projection.edited(weight, 0, 1.0)
    assert torch.allclose(projection.edited(once, 0, 1.0), once, atol=1e-5)
    reflected = projection.edited(weight, 0, 2.0)
    assert torch.allclose(projection.edited(reflected, 0, 2.0), weight, atol=1e-5)
    assert not torch.allclose(reflected, once, atol=0.1)


def test_strength_zero_returns_the_same_bits(weight, rows):
    weight[0, 0] = -0.0
    untouched = before_stream(rows).edited(weight, 0, 0.0)
    assert untouched.view(torch.int32).equal(weight.view(torch.int32))


def test_direction_vanishes_behind_a_norm_and_would_not_otherwise(weight, rows, gain):
    exact = before_norm(rows, gain).edited(weight.double(), 0, 1.0)
    naive = before_stream(rows).edited(weight.double(), 0, 1.0)
    assert (rows @ normed(exact, gain)).abs().max() < 1e-12
    assert (rows @ normed(naive, gain)).abs().max() > 0.1


def test_what_a_norm_adds_is_the_ablated_vector_but_for_its_length(weight, rows, gain):
    """Exactly so where no gain is near zero; then the length alone differs, and it does."""
    gain = gain.sign() * (gain.abs() + 0.5)
    wide = weight.double()
    edited = orthogonal.before_norm(rows, gain).edited(wide, 0, 1.0)
    hooked = normed(wide, gain) - rows.T @ (rows @ normed(wide, gain))
    cosine = torch.nn.functional.cosine_similarity(normed(edited, gain), hooked, dim=0)
    orthogonal_to_gained = before_stream(orthonormal(rows * gain)).edited(wide, 0, 1.0)
    other = torch.nn.functional.cosine_similarity(normed(orthogonal_to_gained, gain), hooked, dim=0)
    assert cosine.min() > 0.9999
    assert other.min() < 0.999
    assert (normed(edited, gain).norm(dim=0) / hooked.norm(dim=0) - 1).abs().max() > 0.005


def test_gains_of_zero_are_not_divided_by(weight, rows, gain):
    gain[:4] = 0
    edited = before_norm(rows, gain).edited(weight.double(), 0, 1.0)
    assert (rows @ normed(edited, gain)).abs().max() < 1e-12
    assert edited.norm() < 3 * weight.norm()


def test_direction_that_the_gains_never_let_through_needs_no_edit(weight, gain):
    gain[0] = 0
    axis = torch.eye(D)[:1]
    edited = before_norm(orthonormal(axis), gain).edited(weight.double(), 0, 1.0)
    assert torch.equal(edited, weight.double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_leftover_is_rounding_after_the_edit_and_one_before(weight, rows, dtype):
    weight[:2] *= 300  # outliers, as the streams of real models have them
    projection = before_stream(rows)
    edited = projection.edited(weight.to(dtype), 0, 1.0)
    assert edited.dtype == dtype
    assert projection.leftover(edited, 0) < max(1e-5, torch.finfo(dtype).eps)
    assert projection.leftover(weight.to(dtype), 0) > 0.5
    assert projection.leftover(torch.zeros(D), 0) == 0
