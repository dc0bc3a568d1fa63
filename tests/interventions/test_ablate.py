"""Ablation as a context manager: what it removes, and that the model comes back as it was."""

import pytest
import torch

import entangle_lens as el
from entangle_lens.running import Ablation, resid_post

TOKENS = torch.arange(1, 15)[None]


@pytest.fixture
def model(tiny_folder):
    return el.load(tiny_folder("qwen3"))


@pytest.fixture
def direction(model):
    return torch.randn(int(model.cfg.d_model), generator=torch.Generator().manual_seed(0))


def resid(model, layer):
    _, cache = model.run_with_cache(TOKENS, names_filter=[resid_post(layer)])
    return cache[resid_post(layer)]


def test_ablation_removes_the_component_at_every_position(model, direction):
    along = direction / direction.norm()
    clean = resid(model, 2) @ along
    with el.ablate(model, direction, layers=2):
        ablated = resid(model, 2) @ along
    assert clean.abs().mean() > 0.1
    assert ablated.abs().max() < 1e-4


def test_ablation_at_one_layer_leaves_the_layers_before_it_alone(model, direction):
    before = resid(model, 1)
    with el.ablate(model, direction, layers=2):
        assert resid(model, 1).equal(before)
        after = resid(model, 3)
    assert (after - resid(model, 3)).abs().max() > 1e-2


def test_ablation_twice_is_ablation_once(direction):
    h = torch.randn(3, 5, len(direction), generator=torch.Generator().manual_seed(1))
    edit = Ablation(torch.nn.functional.normalize(direction.double(), dim=0), (0,)).edit
    torch.testing.assert_close(edit(edit(h)), edit(h), atol=1e-5, rtol=0)
    assert not edit(h).allclose(h, atol=1e-2)


def test_strength_zero_is_the_identity_and_two_a_reflection(direction):
    h = torch.randn(3, len(direction), generator=torch.Generator().manual_seed(1))
    unit = torch.nn.functional.normalize(direction.double(), dim=0)
    assert Ablation(unit, (0,), strength=0.0).edit(h).equal(h)
    reflected = Ablation(unit, (0,), strength=2.0).edit(h)
    torch.testing.assert_close(reflected @ unit.float(), -(h @ unit.float()), atol=1e-5, rtol=0)


def test_ablation_in_bfloat16_is_computed_in_float32(direction):
    h = torch.randn(64, len(direction), generator=torch.Generator().manual_seed(1)).bfloat16() * 30
    unit = torch.nn.functional.normalize(direction.double(), dim=0)
    edited = Ablation(unit, (0,)).edit(h)
    r = unit.bfloat16()
    careless = h - (h @ r)[:, None] * r
    exact = h.double() - (h.double() @ unit)[:, None] * unit
    assert edited.dtype == torch.bfloat16
    assert edited.equal(exact.bfloat16())
    assert not careless.equal(exact.bfloat16())


@pytest.mark.parametrize("fails", [False, True])
def test_model_leaves_the_block_bit_for_bit_as_it_came(model, direction, fails):
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    logits = model(TOKENS)
    try:
        with el.ablate(model, direction, layers="all"):
            assert not model(TOKENS).allclose(logits, atol=1e-2)
            if fails:
                raise KeyError("mine")
    except KeyError:
        assert fails
    assert model(TOKENS).equal(logits)
    assert all(value.equal(weights[name]) for name, value in model.state_dict().items())
    assert not any(point.fwd_hooks for point in model.hook_dict.values())


def test_ablation_holds_while_generating(model, direction):
    def generated():
        tokens = model.generate(
            TOKENS, max_new_tokens=12, do_sample=False, verbose=False, stop_at_eos=False
        )
        return tokens[0, TOKENS.shape[1] :].tolist()

    def step_by_step():
        tokens = TOKENS
        for _ in range(12):
            tokens = torch.cat([tokens, model(tokens)[:, -1:].argmax(-1)], dim=1)
        return tokens[0, TOKENS.shape[1] :].tolist()

    clean = generated()
    with el.ablate(model, direction, layers="all"):
        ablated, plainly = generated(), step_by_step()
    assert ablated == plainly
    assert ablated != clean
    assert generated() == clean


def test_block_in_which_the_model_never_ran_is_an_error(model, direction):
    with (
        pytest.raises(el.EntangleError, match="never fired"),
        el.ablate(model, direction, layers=0),
    ):
        pass


def test_blocks_can_be_nested(model, direction):
    other = direction.flip(0)
    with el.ablate(model, direction, layers=1), el.ablate(model, other, layers=1):
        both = resid(model, 1)
    assert (both @ other / other.norm()).abs().max() < 1e-3
    with el.ablate(model, direction, layers=1):
        one = resid(model, 1)
    assert (one @ other / other.norm()).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("vector", "layers", "parts"),
    [
        (torch.ones(5), 0, ["(5,)", "(128,)"]),
        (torch.zeros(128), 0, ["zero"]),
        (torch.full((128,), torch.nan), 0, ["not finite"]),
        (torch.ones(128), 4, ["4", "0 to 3"]),
        (torch.ones(128), -1, ["-1", "0 to 3"]),
        (torch.ones(128), None, ["without layers"]),
    ],
)
def test_direction_that_does_not_fit_is_refused(model, vector, layers, parts):
    with pytest.raises(el.EntangleError) as refused, el.ablate(model, vector, layers=layers):
        model(TOKENS)
    assert all(part in str(refused.value) for part in parts)
