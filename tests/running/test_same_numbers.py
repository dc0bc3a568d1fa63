"""Every fast way of running a model gives the plain way's numbers, on five families."""

from dataclasses import replace

import pytest
import torch

import entangle_lens as el
from entangle_lens.entanglement.doctor import examine
from entangle_lens.interventions import ablation
from entangle_lens.models import load_plain
from entangle_lens.running import (
    chat_prompts,
    next_token_log_probs,
    plain_prompts,
    rating_prompts,
    read_ablated,
    read_plainly,
    read_prompts,
    sequence_log_probs,
)
from entangle_lens.stimuli import Question, Scale

TOLERANCE = 1e-4
TEXTS = [
    "i swept the yard .",
    "you carried the old lamp from the old market to the yard and the boats of the old yard .",
    "we swept .",
    "i carried a lamp to the market .",
]
ASKED = Question("moral", "1", "ascending", "rate this from {low} to {high} on a scale :", ":")


def prompts(model, scale="1:9"):
    return rating_prompts(model, TEXTS, ASKED, Scale.parse(scale))


def vector(model, seed=0):
    return torch.randn(int(model.cfg.d_model), generator=torch.Generator().manual_seed(seed))


def test_doctor_passes(tiny, family, tiny_folder):
    checks = examine(tiny, load_plain(tiny_folder(family)))
    assert len(checks) == 10
    assert [check for check in checks if not check.passed or check.refused] == []
    # The first two count prompts, the last is a share of a direction.
    assert [check.tolerance for check in checks] == [0, 0, *[TOLERANCE] * 7, 1e-3]


def test_doctor_finds_another_models_numbers(tiny, family, tiny_folder):
    """The control: one weight moved by a little, and the comparison with transformers fails."""
    plain = load_plain(tiny_folder(family))
    with torch.no_grad():
        plain.get_decoder().layers[1].mlp.down_proj.weight[3] += 0.05
    failed = {check.name for check in examine(tiny, plain) if not check.passed}
    assert "TransformerLens = plain transformers" in failed
    assert "batched = one prompt at a time" not in failed


@pytest.mark.parametrize("scale", ["1:9", "-10:10"])
def test_reading_equals_transformers_one_prompt_at_a_time(tiny, family, tiny_folder, scale):
    group = prompts(tiny, scale)
    fast = read_prompts(tiny, group, layers=range(4))
    slow = read_plainly(load_plain(tiny_folder(family)), group, range(4))
    torch.testing.assert_close(fast.resid, slow.resid, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(fast.log_probs, slow.log_probs, atol=TOLERANCE, rtol=0)
    assert slow.resid.std() > 0.1


@pytest.mark.parametrize("tokens_per_batch", [1, 60, 10_000])
def test_reading_is_the_same_for_every_batch_size(tiny, tokens_per_batch):
    group = prompts(tiny)
    one = read_prompts(tiny, group, layers=[3], tokens_per_batch=tokens_per_batch)
    other = read_prompts(tiny, group, layers=[3])
    torch.testing.assert_close(one.resid, other.resid, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(one.log_probs, other.log_probs, atol=TOLERANCE, rtol=0)


def test_left_padding_without_a_mask_would_be_noticed(tiny):
    """The control of the padding checks: masks and positions do matter at this size."""
    tokens = torch.tensor([prompts(tiny).tokens[0]])
    padding = torch.zeros(1, 5, dtype=torch.long)
    right = tiny(tokens)[:, -1]
    wrong = tiny(torch.cat([padding, tokens], 1))[:, -1]
    assert (right - wrong).abs().max() > 1e-2


@pytest.mark.parametrize("layers", [1, "all", (0, 3)])
def test_edited_reading_equals_hooks_on_transformers(tiny, family, tiny_folder, layers):
    edit = ablation(tiny, vector(tiny), layers=layers)
    group = prompts(tiny)
    fast = read_prompts(tiny, group, layers=range(4), edits=[edit])
    plain = load_plain(tiny_folder(family))
    handles = [
        plain.get_decoder()
        .layers[layer]
        .register_forward_hook(
            lambda module, args, out: (
                (edit.edit(out[0]), *out[1:]) if isinstance(out, tuple) else edit.edit(out)
            )
        )
        for layer in edit.layers
    ]
    slow = read_plainly(plain, group, range(4))
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(fast.log_probs, slow.log_probs, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(fast.resid[:, 3], slow.resid[:, 3], atol=TOLERANCE, rtol=0)
    clean = read_prompts(tiny, group)
    assert (fast.log_probs - clean.log_probs).abs().max() > 1e-2


def test_context_manager_equals_edits(tiny):
    group, direction = prompts(tiny), vector(tiny)
    with el.ablate(tiny, direction, layers=2):
        hooked = read_prompts(tiny, group)
    edited = read_prompts(tiny, group, edits=[ablation(tiny, direction, layers=2)])
    torch.testing.assert_close(hooked.log_probs, edited.log_probs, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("scale", ["1:9", "-10:10"])
def test_sweep_equals_one_ablation_at_a_time(tiny, scale):
    group = prompts(tiny, scale)
    edits = [ablation(tiny, vector(tiny, k), layers=k % 4) for k in range(6)]
    swept = read_ablated(tiny, group, edits)
    for edit, log_probs in zip(edits, swept, strict=True):
        alone = read_prompts(tiny, group, edits=[edit]).log_probs
        torch.testing.assert_close(log_probs, alone, atol=TOLERANCE, rtol=0)
    assert (swept[0] - swept[1]).abs().max() > 1e-2


def test_options_of_several_tokens_are_whole_continuations(tiny, family, tiny_folder):
    """The probability of each rating by brute force; "1" counts only where no "0" follows."""
    scale = Scale.parse("-10:10")
    group = prompts(tiny, "-10:10")
    assert {len(option) for option in group.options} == {1, 2, 3}
    plain = load_plain(tiny_folder(family))

    def brute(option):
        ids = torch.tensor([[*group.tokens[0], *option]])
        with torch.no_grad():
            log_probs = plain(ids).logits.log_softmax(-1)[0]
        steps = range(len(group.tokens[0]) - 1, ids.shape[1] - 1)
        return float(sum(log_probs[step, ids[0, step + 1]] for step in steps).exp())

    probs = {name: brute(ids) for name, ids in zip(scale.options, group.options, strict=True)}
    for name in ("1", "-1"):
        probs[name] -= probs[f"{name}0"]
    fast = read_prompts(tiny, group).log_probs[0].exp()
    for name, prob in zip(scale.options, fast, strict=True):
        assert float(prob) == pytest.approx(probs[name], abs=1e-6, rel=1e-4)


def test_prompts_without_a_shared_beginning_read_the_same(tiny):
    group = prompts(tiny)
    alone = replace(
        group, tokens=tuple(tokens[2 * row :] for row, tokens in enumerate(group.tokens))
    )
    together = read_prompts(tiny, alone, layers=[3])
    for row, tokens in enumerate(alone.tokens):
        single = read_prompts(tiny, replace(group, tokens=(tokens,)), layers=[3])
        torch.testing.assert_close(together.resid[row], single.resid[0], atol=TOLERANCE, rtol=0)


def test_text_probabilities_equal_transformers(tiny, family, tiny_folder):
    plain = load_plain(tiny_folder(family))
    group = plain_prompts(tiny, TEXTS)
    chat = chat_prompts(tiny, TEXTS)
    following = next_token_log_probs(tiny, chat)
    sums = sequence_log_probs(tiny, group)
    for row in range(len(TEXTS)):
        with torch.no_grad():
            logits = plain(torch.tensor([chat.tokens[row]])).logits[0, -1]
            ids = torch.tensor([group.tokens[row]])
            each = plain(ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])
        torch.testing.assert_close(following[row], logits.log_softmax(-1), atol=TOLERANCE, rtol=0)
        assert float(sums[row]) == pytest.approx(float(each.sum()), abs=1e-3)
