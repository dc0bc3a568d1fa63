"""Ablation on whole models of five families: written out by hand, in bf16, beside other hooks."""

import pytest
import torch

import entangle_lens as el
from entangle_lens.directions import Direction, Quality
from entangle_lens.interventions import ablation, applied
from entangle_lens.models import load_plain
from entangle_lens.running import resid_post

TOKENS = torch.arange(1, 15)[None]
SOME = Quality(auc=0.9, d_prime=1.0, split_half_cosine=0.9)


@pytest.fixture
def model(tiny_folder):
    return el.load(tiny_folder("qwen3"))


@pytest.fixture
def direction(model):
    return torch.randn(int(model.cfg.d_model), generator=torch.Generator().manual_seed(0))


def resid(model, layer):
    _, cache = model.run_with_cache(TOKENS, names_filter=[resid_post(layer)])
    return cache[resid_post(layer)]


@pytest.mark.parametrize(("layers", "strength"), [(1, 1.0), ((0, 2), 1.0), ("all", 2.0)])
def test_ablation_equals_a_hook_on_the_unwrapped_model(tiny, family, tiny_folder, layers, strength):
    """On every family, on all logits, written out once more by hand."""
    vector = torch.randn(int(tiny.cfg.d_model), generator=torch.Generator().manual_seed(3))
    r = vector / vector.norm()
    chosen = range(4) if layers == "all" else [layers] if isinstance(layers, int) else layers

    def without(module, args, output):
        h = output[0] if isinstance(output, tuple) else output
        h = h - strength * torch.outer(h.flatten(0, 1) @ r, r).view_as(h)
        return (h, *output[1:]) if isinstance(output, tuple) else h

    plain = load_plain(tiny_folder(family))
    with torch.no_grad():
        clean = plain(TOKENS).logits
        for layer in chosen:
            plain.get_decoder().layers[layer].register_forward_hook(without)
        expected = plain(TOKENS).logits
    with el.ablate(tiny, vector, layers=layers, strength=strength):
        torch.testing.assert_close(tiny(TOKENS), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(tiny(TOKENS), clean, atol=1e-4, rtol=0)
    assert (expected - clean).abs().max() > 1e-2


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.0])
def test_strength_is_the_share_that_is_removed(model, direction, strength):
    along = direction / direction.norm()
    clean = resid(model, 2)
    with el.ablate(model, direction, layers=2, strength=strength):
        ablated = resid(model, 2)
    expected = (1 - strength) * (clean @ along)
    torch.testing.assert_close(ablated @ along, expected, atol=1e-4, rtol=0)
    across = clean - (clean @ along)[..., None] * along
    torch.testing.assert_close(
        ablated - (ablated @ along)[..., None] * along, across, atol=1e-4, rtol=0
    )


def test_ablation_depends_on_the_direction_and_not_on_its_length(model, direction):
    def logits(vector):
        with el.ablate(model, vector, layers=2):
            return model(TOKENS)

    torch.testing.assert_close(logits(direction), logits(-7 * direction), atol=1e-4, rtol=0)
    assert (logits(direction) - logits(direction.flip(0))).abs().max() > 1e-2


def test_bfloat16_model_keeps_little_of_the_component(tiny_folder, direction):
    model = el.load(tiny_folder("qwen3"), dtype="bfloat16")
    along = (direction / direction.norm()).double()
    clean = resid(model, 2).double()
    with el.ablate(model, direction, layers=2):
        left = (resid(model, 2).double() @ along).abs()
    assert (left / clean.norm(dim=-1)).max() < 2**-8
    assert ((clean @ along).abs() / clean.norm(dim=-1)).max() > 2**-5


def test_direction_is_ablated_at_the_layer_it_was_fitted_at(model, direction):
    fitted = Direction("moral", "moral", 2, direction.double(), direction.double() * 0, SOME)
    assert ablation(model, fitted).layers == (2,)
    assert ablation(model, fitted, layers=[0, 1]).layers == (0, 1)
    assert ablation(model, fitted, layers="all").layers == (0, 1, 2, 3)


@pytest.mark.parametrize("ran", [False, True])
def test_own_exception_is_not_hidden_by_an_unfired_intervention(model, direction, ran):
    def fail():
        with el.ablate(model, direction, layers=0):
            if ran:
                model(TOKENS)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    assert not any(point.fwd_hooks for point in model.hook_dict.values())


def test_running_another_copy_of_the_model_is_an_error(model, direction, tiny_folder):
    other = el.load(tiny_folder("qwen3"))
    with (
        pytest.raises(el.EntangleError, match="another copy"),
        el.ablate(model, direction, layers=0),
    ):
        other(TOKENS)


def test_every_one_of_several_edits_has_to_fire(model, direction):
    """A pass that stops below the second edit leaves that one without effect."""
    low, high = (ablation(model, direction, layers=layer) for layer in (0, 3))
    with pytest.raises(el.EntangleError, match="never fired"), applied(model, [low, high]):
        model.run_with_hooks(TOKENS, stop_at_layer=1)
    with applied(model, [low]):
        model.run_with_hooks(TOKENS, stop_at_layer=1)


def test_ablation_goes_with_hooks_of_the_users_own(model, direction):
    """The user's hooks see the ablated residual, and stay where they were put."""
    seen = []
    model.add_hook(resid_post(2), lambda resid, hook: seen.append(resid))
    with el.ablate(model, direction, layers=1):
        model(TOKENS)
        ablated = resid(model, 2)
    assert seen[0].equal(ablated)
    model(TOKENS)
    assert len(seen) == 3
    assert (seen[2] - seen[0]).abs().max() > 1e-2
