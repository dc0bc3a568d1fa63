"""Hooks on a plain model: the same as the bridge's, gone afterwards, and never silent."""

import pytest
import torch

import entangle_lens as el
from entangle_lens.export import hooked
from entangle_lens.models import info
from entangle_lens.running import Ablation

ALL = (0, 1, 2, 3)


@pytest.fixture
def vector():
    v = torch.randn(128, generator=torch.Generator().manual_seed(0))
    return v / v.norm()


def n_hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("full", [False, True])
def test_plain_model_under_hooks_is_the_bridge_under_hooks(tiny, ids, vector, full, says):
    """Full mode against TransformerLens's own hook points of all that is written."""
    edit = Ablation(vector, ALL)
    names = [f"blocks.{layer}.hook_resid_post" for layer in ALL]
    if full:
        names = ["blocks.0.hook_resid_pre"]
        names += [f"blocks.{n}.hook_{site}_out" for n in ALL for site in ("attn", "mlp")]
    hooks = [(name, lambda resid, hook: edit.edit(resid)) for name in names]
    with tiny.hooks(fwd_hooks=hooks), torch.inference_mode():
        expected = tiny(ids)
    plain = info(tiny).plain
    clean = says(plain)
    with hooked(plain, [edit], full=full):
        found = says(plain)
    assert torch.allclose(found, expected, atol=1e-5)
    assert (clean - found).abs().max() > 1e-2


@pytest.mark.parametrize("family", ["qwen3", "gemma3"])
@pytest.mark.parametrize("full", [False, True])
def test_generation_is_edited_token_by_token(plain_of, ids, vector, family, full):
    """With keys and values kept, against the whole text read anew for every token."""
    plain = plain_of(family)
    edit = Ablation(vector, ALL)
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    with hooked(plain, [edit], full=full):
        made = plain.generate(ids[:1], attention_mask=torch.ones_like(ids[:1]), **options)
        text = ids[:1]
        for _ in range(6):
            likeliest = plain(input_ids=text, use_cache=False).logits[:, -1].argmax(-1)
            text = torch.cat([text, likeliest[:, None]], 1)
    assert made.equal(text)


def test_edits_are_made_in_order(plain_of, vector, says):
    plain = plain_of("qwen3")
    double = Ablation(vector, (1,), strength=2.0)
    single = Ablation(vector + 1, (1,))
    said = []
    for edits in ([double, single], [single, double]):
        with hooked(plain, edits):
            said.append(says(plain))
    assert (said[0] - said[1]).abs().max() > 1e-3


def test_nothing_stays_on_the_model_after_an_exception_either(plain_of, vector, says):
    plain = plain_of("gemma3")
    clean = says(plain)
    for full in (False, True):
        with hooked(plain, [Ablation(vector, ALL)], full=full):
            assert n_hooks(plain) > 0
            says(plain)
        with (
            pytest.raises(ArithmeticError, match="planted"),
            hooked(plain, [Ablation(vector, ALL)], full=full),
        ):
            raise ArithmeticError("planted")
        assert n_hooks(plain) == 0
    assert says(plain).equal(clean)


def test_strength_zero_changes_no_bit(plain_of, vector, says):
    plain = plain_of("qwen3")
    clean = says(plain)
    with hooked(plain, [Ablation(vector, ALL, strength=0.0)], full=True):
        assert says(plain).equal(clean)


def test_edit_that_never_fired_is_an_error(plain_of, vector):
    plain = plain_of("qwen3")
    with (
        pytest.raises(el.EntangleError, match="never fired"),
        hooked(plain, [Ablation(vector, (1,))]),
    ):
        pass
    assert n_hooks(plain) == 0


@pytest.mark.parametrize(
    ("layers", "full", "message"),
    [((4,), False, "layer 4 is out of range"), ((1,), True, "full mode edits all layers, 0 to 3")],
)
def test_edit_that_does_not_fit_is_refused(plain_of, vector, layers, full, message):
    plain = plain_of("qwen3")
    with (
        pytest.raises(el.EntangleError, match=message),
        hooked(plain, [Ablation(vector, layers)], full=full),
    ):
        pass
    assert n_hooks(plain) == 0
