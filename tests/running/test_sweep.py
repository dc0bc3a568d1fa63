"""A layer sweep that resumes from clean residuals gives what one plain ablation at a time gives."""

from dataclasses import replace

import pytest
import torch

import entangle_lens as el
from entangle_lens.interventions import (
    At,
    CosineGate,
    Gated,
    LeastShift,
    PromptLeastShift,
    Removal,
    Steering,
    ablation,
)
from entangle_lens.models import load_plain
from entangle_lens.running import (
    FULL_MODE,
    Ablation,
    PromptGroup,
    read_ablated,
    read_plainly,
    read_prompts,
    sweep,
)

STRENGTHS = (1.0, 0.5, 2.0)
# Options of several tokens take many more passes: two families, with and without short windows.
ASKED = [
    *((family, "1:9") for family in ("qwen2", "qwen3", "gemma2", "gemma3", "mistral")),
    ("qwen3", "-10:10"),
    ("gemma3", "-10:10"),
]


@pytest.fixture
def edits(random_vector):
    """Ablations of other directions, strengths and layers, the layers in no order."""

    def several(model, n_edits=6):
        return [
            ablation(model, random_vector(model, k), layers=(3 * k + 2) % 4, strength=strength)
            for k, strength in zip(range(n_edits), STRENGTHS * n_edits, strict=False)
        ]

    return several


def plainly(plain, group, edits):
    each = [read_plainly(plain, group, [0], (edit.layers[0], edit.edit)) for edit in edits]
    return torch.stack([reading.log_probs for reading in each])


def close(one, other):
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def random_prompts(n_prompts, n_tokens, shared=()):
    rng = torch.Generator().manual_seed(3)
    own = torch.randint(6, 30, (n_prompts, n_tokens), generator=rng).tolist()
    return PromptGroup(tuple((*shared, *tokens) for tokens in own), ((8,), (9,), (10,)))


@pytest.mark.parametrize(("family", "scale"), ASKED)
def test_sweep_equals_plain_ablations(tiny, family, tiny_folder, ask, edits, scale):
    group, chosen = ask(tiny, scale), edits(tiny)
    assert {edit.layers[0] for edit in chosen} == {0, 1, 2, 3}
    slow = plainly(load_plain(tiny_folder(family)), group, chosen)
    close(read_ablated(tiny, group, chosen), slow)
    clean = read_prompts(tiny, group).log_probs
    assert (slow - clean).abs().amax((1, 2)).min() > 1e-2


def test_sweep_with_short_windows_equals_plain_ablations(sliding, ask, edits):
    model, plain = sliding
    group, chosen = ask(model), edits(model)
    close(read_ablated(model, group, chosen), plainly(plain, group, chosen))


@pytest.mark.parametrize("shared", [(), (7, 8, 9, 7, 8, 9)])
def test_sweep_over_as_many_prompts_as_tokens_equals_plain_ablations(
    tiny, family, tiny_folder, edits, shared
):
    """Where batch and length are equal, what belongs to positions could pass for rows."""
    group = random_prompts(5, 5, shared)
    chosen = edits(tiny)
    slow = plainly(load_plain(tiny_folder(family)), group, chosen)
    close(read_ablated(tiny, group, chosen), slow)


def test_sweep_of_one_prompt_equals_plain_ablations(tiny, family, tiny_folder, ask, edits):
    group = ask(tiny)
    group, chosen = replace(group, tokens=group.tokens[1:2]), edits(tiny)
    slow = plainly(load_plain(tiny_folder(family)), group, chosen)
    close(read_ablated(tiny, group, chosen), slow)


@pytest.mark.parametrize("tokens_per_batch", [4, 64, 200])
def test_sweep_is_the_same_for_every_batch_size(tiny, ask, edits, tokens_per_batch):
    group, chosen = ask(tiny), edits(tiny, 9)
    ample = read_ablated(tiny, group, chosen)
    close(read_ablated(tiny, group, chosen, tokens_per_batch=tokens_per_batch), ample)


def test_sweep_through_the_bridge_is_the_same(tiny, ask, edits, monkeypatch):
    """As for a model that this package did not load, which has no bare decoder."""
    group, chosen = ask(tiny), edits(tiny)
    fast = read_ablated(tiny, group, chosen)
    tiny.entangle_info = replace(tiny.entangle_info, plain=None)
    assert sweep.decoder_of(tiny) is None
    close(read_ablated(tiny, group, chosen), fast)


def test_sweep_runs_under_the_hooks_that_are_on_the_model(tiny, ask, edits, random_vector):
    group, chosen = ask(tiny), edits(tiny, 3)
    alone = read_ablated(tiny, group, chosen)
    other = ablation(tiny, random_vector(tiny, 99), layers=0)
    with el.ablate(tiny, random_vector(tiny, 99), layers=0):
        hooked = read_ablated(tiny, group, chosen)
    both = [read_prompts(tiny, group, edits=[other, each]).log_probs for each in chosen]
    close(hooked, torch.stack(both))
    assert (hooked - alone).abs().max() > 1e-2


def test_resuming_at_the_wrong_layer_changes_the_numbers(tiny, ask, edits, monkeypatch):
    """The control: a residual that is resumed from one layer too low is noticed."""
    group, chosen = ask(tiny), edits(tiny)
    right = read_ablated(tiny, group, chosen)
    climb = sweep._Copies.climb

    def shifted(self, clean, last, cache):
        kept = {layer: clean.kept[max(layer - 1, 0)] for layer in clean.kept}
        return climb(self, replace(clean, kept=kept), last, cache)

    monkeypatch.setattr(sweep._Copies, "climb", shifted)
    wrong = read_ablated(tiny, group, chosen)
    by_edit = (wrong - right).abs().amax((1, 2))
    higher = torch.tensor([edit.layers[0] > 0 for edit in chosen])
    assert by_edit[higher].min() > 1e-2
    assert by_edit[~higher].max() < 1e-6


@pytest.mark.parametrize(("family", "scale"), ASKED)
def test_ablations_at_several_layers_are_swept_too(tiny, ask, random_vector, scale):
    group = ask(tiny, scale)
    chosen = [
        ablation(tiny, random_vector(tiny, k), layers=layers)
        for k, layers in enumerate(["all", (1, 3), (2,), (0, 2), (3,)])
    ]
    swept = read_ablated(tiny, group, chosen)
    for edit, log_probs in zip(chosen, swept, strict=True):
        close(log_probs, read_prompts(tiny, group, edits=[edit]).log_probs)
    first_only = [replace(edit, layers=edit.layers[:1]) for edit in chosen]
    differ = (read_ablated(tiny, group, first_only) - swept).abs().amax((1, 2)) > 1e-3
    assert differ.tolist() == [len(edit.layers) > 1 for edit in chosen]


@pytest.mark.parametrize(("family", "scale"), ASKED)
def test_renormalised_options_are_those_of_the_whole_vocabulary(tiny, ask, edits, scale):
    group, chosen = ask(tiny, scale), edits(tiny)
    whole = read_ablated(tiny, group, chosen)
    close(read_ablated(tiny, group, chosen, renormalised=True), whole.log_softmax(-1))
    assert whole.exp().sum(-1).max() < 0.99


def test_sweep_leaves_the_model_as_it_was(tiny, ask, edits):
    group = ask(tiny)
    before = read_prompts(tiny, group, layers=[3])
    read_ablated(tiny, group, edits(tiny))
    after = read_prompts(tiny, group, layers=[3])
    assert before.resid.equal(after.resid)
    assert before.log_probs.equal(after.log_probs)


def test_layer_out_of_range_is_refused(tiny, ask, edits):
    beyond = replace(edits(tiny, 1)[0], layers=(4,))
    with pytest.raises(el.EntangleError, match="layer 4 is out of range"):
        read_ablated(tiny, ask(tiny), [beyond])


def edits_of_every_kind(vector):
    """Some that are swept, among ablations and alone, and some that run one at a time."""
    steer = Steering(vector, 0.7, (1, 3))
    removal = Removal(vector[:, None], vector[None], (2,), 0.3 * vector, 0.5)
    return {
        "ablation": Ablation(vector, (2,)),
        "steering": steer,
        "mean ablation": removal,
        "least shift": LeastShift(vector, 0.1, 2, 0.9),
        "full mode": Removal(vector[:, None], vector[None], (0, 1, 2, 3), sites=FULL_MODE),
        "at some positions": At(Steering(vector, 3.0, (1,)), "last prompt token"),
        "behind a gate": Gated(steer, CosineGate(vector, 0)),
        "prompt's least shift": PromptLeastShift(LeastShift(vector, 0.1, 1, 0.9)),
    }


@pytest.mark.parametrize("renormalised", [False, True])
def test_sweep_takes_every_edit(tiny_folder, random_vector, ask, renormalised):
    model = el.load(tiny_folder("gemma3"))
    group, vector = ask(model), random_vector(model, 1)
    chosen = list(edits_of_every_kind(vector / vector.norm()).values())
    alone = torch.stack([read_prompts(model, group, edits=[each]).log_probs for each in chosen])
    if renormalised:
        alone = alone.log_softmax(-1)
    close(read_ablated(model, group, chosen, renormalised=renormalised), alone)
    close(read_ablated(model, group, chosen[1:3], renormalised=renormalised), alone[1:3])
    clean = read_prompts(model, group).log_probs
    if not renormalised:
        assert (alone - clean).abs().amax((1, 2)).min() > 1e-3


def test_edit_of_no_layer_is_refused(tiny_folder, random_vector, ask):
    model = el.load(tiny_folder("qwen3"))
    with pytest.raises(el.EntangleError, match="names no layer"):
        read_ablated(model, ask(model), [Ablation(random_vector(model, 1), ())])
