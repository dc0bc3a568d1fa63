"""What an intervention is given: numpy's numbers are taken, and what is no direction is refused."""

import numpy as np
import pytest
import torch

import entangle_lens as el
from entangle_lens import interventions as make
from entangle_lens.directions import Direction, Eraser, Probe, Quality, Subspace, unit
from entangle_lens.running import Ablation

D = 128
QUALITY = Quality(0.9, 1.0, 0.8)


@pytest.fixture(scope="module")
def model(tiny_folder):
    return el.load(tiny_folder("qwen3"))


@pytest.fixture(autouse=True)
def as_users_call(without_type_checks):
    """Wrong types reach the package only where the tests' own checks of types are off."""


def vector(**changes):
    made = torch.arange(1.0, D + 1)
    for place, number in changes.items():
        made[int(place[1:])] = number
    return made


BAD_VECTORS = {
    "one inf": (vector(_3=torch.inf), "zero or not finite"),
    "one NaN": (vector(_3=torch.nan), "zero or not finite"),
    "numpy NaN": (vector(_3=torch.nan).numpy(), "zero or not finite"),
    "zeros": (torch.zeros(D), "zero or not finite"),
    "scalar": (torch.tensor(1.0), r"has shape \(\)"),
    "short": (torch.ones(7), r"has shape \(7,\) and the model's residual stream \(128,\)"),
    "complex": (torch.ones(D, dtype=torch.complex64), r"of type torch\.complex64"),
    "truth values": (torch.ones(D, dtype=torch.bool), r"of type torch\.bool"),
    "list": ([1.0] * D, "of type list; real numbers of torch or numpy"),
    "nothing": (None, "of type NoneType; real numbers"),
    "text": (np.array(["a"] * D), "real numbers of torch or numpy"),
}


@pytest.mark.parametrize("case", BAD_VECTORS)
@pytest.mark.parametrize("build", ["ablation", "steering", "full_ablation", "affine_ablation"])
def test_vector_that_is_none_is_refused(model, case, build):
    given, message = BAD_VECTORS[case]
    options = {
        "ablation": {"layers": 1},
        "steering": {"coefficient": 1.0, "layers": 1},
        "full_ablation": {},
        "affine_ablation": {"layers": 1, "reference": torch.zeros(D)},
    }[build]
    with pytest.raises(el.EntangleError, match=message):
        getattr(make, build)(model, given, **options)


def test_context_manager_refuses_as_the_builders_do(model):
    for given, strength in ((vector(_3=torch.inf), 1.0), (vector(), float("nan"))):
        with (
            pytest.raises(el.EntangleError, match="not finite"),
            el.ablate(model, given, layers=1, strength=strength),
        ):
            pass


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), "1", None, True])
def test_strength_and_coefficient_are_finite_numbers(model, number):
    message = "is not finite|a number was expected"
    with pytest.raises(el.EntangleError, match=message):
        make.ablation(model, vector(), layers=1, strength=number)
    with pytest.raises(el.EntangleError, match=message):
        make.subspace_ablation(model, torch.eye(D)[:2], layers=1, strength=number)
    with pytest.raises(el.EntangleError, match=message):
        make.full_ablation(model, vector(), strength=number)
    with pytest.raises(el.EntangleError, match=message):
        make.steering(model, vector(), number, layers=1)


def test_step_that_no_activation_holds_is_refused(model):
    with pytest.raises(el.EntangleError, match="step of a steering is not finite"):
        make.steering(model, vector(), 1e38, layers=1)
    assert make.steering(model, vector(), 1e30, layers=1).coefficient == 1e30


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        (torch.full((2, D), torch.nan), "zero or not finite"),
        (torch.zeros(2, D), "depend on each other"),
        (torch.ones(2, D), "depend on each other"),
        (torch.ones(2, 2, D), r"has shape \(2, 2, 128\)"),
        (torch.eye(D + 1)[:, :D], "depend on each other"),
    ],
)
def test_basis_that_is_none_is_refused(model, basis, message):
    with pytest.raises(el.EntangleError, match=message):
        make.subspace_ablation(model, basis, layers=1)


def test_fitted_parts_that_are_not_finite_are_refused(model):
    bad, good = vector(_3=torch.inf), vector()
    with pytest.raises(el.EntangleError, match="not finite"):
        Direction("moral", "moral", 1, bad, good, QUALITY)
    subspace = Subspace("moral", "moral", 1, bad[None], good, torch.ones(1), QUALITY)
    with pytest.raises(el.EntangleError, match="not finite"):
        make.subspace_ablation(model, subspace)
    for left, right, mean in ((bad, good, good), (good, bad, good), (good, good, bad)):
        eraser = Eraser("moral", "moral", 1, left[:, None], right[None], mean, QUALITY)
        with pytest.raises(el.EntangleError, match="not finite"):
            make.erasure(model, eraser)
    for weight, bias in ((bad, 0.0), (good, float("nan"))):
        probe = Probe("moral", "moral", 1, weight, bias, 0.9)
        with pytest.raises(el.EntangleError, match="not finite"):
            make.least_shift(model, probe, 1, 0.5)
    with pytest.raises(el.EntangleError, match="not finite"):
        make.affine_ablation(model, good, reference=bad, layers=1)
    with pytest.raises(el.EntangleError, match="not finite"):
        Ablation(bad, (1,))


@pytest.mark.parametrize(
    ("layers", "chosen"),
    [
        (2, (2,)),
        (np.int64(2), (2,)),
        (np.arange(3), (0, 1, 2)),
        ([np.int32(1), 3], (1, 3)),
        (range(1, 3), (1, 2)),
        (torch.tensor([0, 2]), (0, 2)),
        ("all", (0, 1, 2, 3)),
    ],
)
def test_layers_are_taken_from_numpy_too(model, layers, chosen):
    edit = make.ablation(model, vector(), layers=layers)
    assert edit.layers == chosen
    assert all(type(layer) is int for layer in edit.layers)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("last", "layers 'last' were given; a layer, several of them or 'all'"),
        (1.5, "layers 1.5 were given"),
        (np.float64(1), "were given; a layer, several"),
        ([1, "2"], "were given; a layer, several"),
        (True, "layers True were given"),
        (None, "a bare vector was given without layers"),
        ((), "layers none were given"),
        ((1, 1), "layers 1, 1 were given; each of one or more layers once"),
        (np.int64(9), "layer 9 is out of range"),
        (-1, "layer -1 is out of range"),
    ],
)
def test_what_names_no_layers_is_refused(model, layers, message):
    with pytest.raises(el.EntangleError, match=message):
        make.ablation(model, vector(), layers=layers)


@pytest.mark.parametrize(
    "given",
    [
        vector().numpy(),
        vector().double().numpy(),
        vector().numpy().astype(np.int64),
        vector().long(),
        vector().double() * 1e300,
        vector().double() * 1e-300,
        vector().half() / 64,
    ],
)
def test_vectors_of_any_kind_and_length_ablate_the_same(model, given):
    expected = unit(vector())
    assert torch.allclose(make.ablation(model, given, layers=1).unit, expected, atol=1e-3)
    assert torch.allclose(make.full_ablation(model, given).right[0], expected, atol=1e-3)
    tokens = torch.arange(1, 9)[None]
    with el.ablate(model, given, layers=np.int64(3)), torch.inference_mode():
        found = model(tokens)
    with el.ablate(model, vector(), layers=3), torch.inference_mode():
        assert torch.allclose(found, model(tokens), atol=1e-2)


def test_numpy_steers_as_torch_does(model):
    edit = make.steering(model, vector().numpy(), np.float32(0.5), layers=np.arange(2))
    resid = torch.randn(3, D, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(edit.edit(resid), resid + 0.5 * vector(), atol=1e-5)


def test_bare_vector_needs_what_a_direction_knows(model):
    for build in (make.ablation, make.subspace_ablation):
        with pytest.raises(el.EntangleError, match="say at which layers"):
            build(model, vector() if build is make.ablation else torch.eye(D)[:2])
    with pytest.raises(el.EntangleError, match="give the mean too"):
        make.affine_ablation(model, vector(), layers=1)
    with pytest.raises(el.EntangleError, match="a Tensor was given to clamp"):
        make.clamp(model, vector(), "positive")
