"""Gemma 4 shares keys and values between layers; what is read there under edits is right too."""

import pytest
import torch
from architectures import D_MODEL, save

import entangle_lens as el
from entangle_lens.interventions import ablation
from entangle_lens.models import load_plain
from entangle_lens.running import PromptGroup, capture, read_ablated

GROUP = PromptGroup(
    tokens=((1, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17), (1, 9, 20), (1, 30, 20, 10, 8)),
    options=((7,), (8,)),
    spans=((1, 4), (1, 2), (2, 4)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save("gemma4 with inputs of every layer", tmp_path_factory.mktemp("gemma4"))


def edited_by_hand(plain, edit, tokens):
    """Run one prompt with hooks written here; return the residuals after each layer, and logits."""
    kept = []

    def change(module, args, output):
        first = output[0] if isinstance(output, tuple) else output
        changed = edit.edit(first)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    def keep(module, args, output):
        kept.append((output[0] if isinstance(output, tuple) else output)[0])

    blocks = plain.get_decoder().layers
    hooks = [blocks[1].register_forward_hook(change)]
    hooks += [block.register_forward_hook(keep) for block in blocks]
    with torch.no_grad():
        logits = plain(torch.tensor([tokens]), use_cache=False).logits[0, -1]
    for hook in hooks:
        hook.remove()
    return torch.stack(kept), logits.log_softmax(-1)


AT = {
    "last": lambda resid, span: resid[:, -1],
    "item_mean": lambda resid, span: resid[:, slice(*span)].mean(1),
    "item_last": lambda resid, span: resid[:, span[1] - 1],
}


@pytest.mark.parametrize("position", AT)
def test_residuals_under_an_edit_are_those_of_plain_hooks(folder, position):
    model, plain = el.load(folder), load_plain(folder)
    edit = ablation(model, torch.arange(1.0, D_MODEL + 1), layers=1)
    right = torch.stack(
        [
            AT[position](edited_by_hand(plain, edit, tokens)[0], span)
            for tokens, span in zip(GROUP.tokens, GROUP.spans, strict=True)
        ]
    )
    clean = capture(model, GROUP, position=position).values
    assert float((clean - right).abs().max()) > 0.1
    given = capture(model, GROUP, position=position, edits=[edit]).values
    torch.testing.assert_close(given, right, atol=1e-4, rtol=0)
    with el.applied(model, [edit]):
        inside = capture(model, GROUP, position=position).values
    torch.testing.assert_close(inside, right, atol=1e-4, rtol=0)


def test_sweep_gives_the_probabilities_of_plain_hooks(folder):
    model, plain = el.load(folder), load_plain(folder)
    edit = ablation(model, torch.arange(1.0, D_MODEL + 1), layers=1)
    right = [edited_by_hand(plain, edit, tokens)[1][[7, 8]] for tokens in GROUP.tokens]
    torch.testing.assert_close(
        read_ablated(model, GROUP, [edit])[0], torch.stack(right), atol=1e-4, rtol=0
    )
