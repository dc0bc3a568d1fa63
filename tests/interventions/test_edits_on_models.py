"""Edits that look at rows, sites and positions, on whole models: batched against by hand."""

from contextlib import contextmanager

import pytest
import torch

import entangle_lens as el
from entangle_lens.interventions import (
    At,
    Gated,
    LeastShift,
    ProbeGate,
    PromptLeastShift,
    Removal,
    applied,
    full_ablation,
)
from entangle_lens.models import info, load_plain
from entangle_lens.running import (
    PromptGroup,
    generate_tokens,
    next_token_log_probs,
    read_prompts,
)

LAYER, N_NEW = 1, 5
KINDS = (
    "at prompt",
    "at last",
    "at generated",
    "gated",
    "gated lower",
    "prompt shift",
    "per token",
)


@pytest.fixture(scope="module")
def loaded(tiny_folder):
    made = {}

    def load(family):
        if family not in made:
            model, plain = el.load(tiny_folder(family)), load_plain(tiny_folder(family))
            for each in (info(model).plain, plain):
                each.generation_config.eos_token_id = each.config.eos_token_id = None
            made[family] = model, plain
        return made[family]

    return load


@pytest.fixture
def pair(family, loaded):
    return loaded(family)


@pytest.fixture
def prompts(rng, pair):
    """Prompts of many lengths, the last two of which begin alike."""
    vocab = int(pair[0].cfg.d_vocab)
    drawn = [tuple(rng.integers(6, vocab, n).tolist()) for n in (1, 3, 9, 40, 17, 9)]
    return PromptGroup((*drawn, (*drawn[3][:30], *drawn[2][:4])))


@pytest.fixture
def median_probe(pair, prompts):
    """A probe at each layer that about half of the prompts' last tokens pass, none narrowly."""
    model, _ = pair
    weight = torch.randn(int(model.cfg.d_model), generator=torch.Generator().manual_seed(3))
    resid = read_prompts(model, prompts, layers=[0, LAYER]).resid
    at = [(resid[:, column] @ weight).sort().values[2:4].mean() for column in range(2)]
    return weight / 10, [-float(each) / 10 for each in at]


@pytest.fixture
def edit(kind, pair, median_probe):
    """One edit of each kind."""
    model, _ = pair
    weight, (lower, bias) = median_probe
    basis = torch.linalg.qr(torch.randn(int(model.cfg.d_model), 60, dtype=torch.float64)).Q.T
    inner = Removal(basis.T, basis, (LAYER, LAYER + 1))
    shift = LeastShift(weight, bias, LAYER, 0.8)
    return {
        "at prompt": lambda: At(inner, "prompt"),
        "at last": lambda: At(inner, "last prompt token"),
        "at generated": lambda: At(inner, "generated"),
        "gated": lambda: Gated(inner, ProbeGate(weight, bias, LAYER)),
        "gated lower": lambda: Gated(inner, ProbeGate(weight, lower, 0)),
        "prompt shift": lambda: PromptLeastShift(shift),
        "per token": lambda: Gated(inner, ProbeGate(weight, bias, LAYER, per="token")),
    }[kind]()


@contextmanager
def by_hand(plain, edit, n):
    """Hooks of plain torch on one prompt of ``n`` tokens and all that follows it."""
    opened = {}

    def change(layer):
        def hook(module, args, output):
            resid = output[0] if isinstance(output, tuple) else output
            new = altered(resid, layer)
            return (new, *output[1:]) if isinstance(output, tuple) else new

        return hook

    def altered(resid, layer):
        if isinstance(edit, PromptLeastShift):
            unit = edit.shift.weight / edit.shift.weight.norm()
            return resid + edit.shift.step(resid[0, n - 1]) * unit
        new = edit.inner.edit(resid) if layer in edit.inner.layers else resid
        if isinstance(edit, At):
            places = torch.arange(resid.shape[1])
            chosen = {
                "prompt": places < n,
                "last prompt token": places == n - 1,
                "generated": places >= n,
            }[edit.positions]
            return torch.where(chosen[None, :, None], new, resid)
        if layer == edit.gate.layer:
            logit = resid @ edit.gate.weight + edit.gate.bias
            opened["now"] = logit > 0 if edit.gate.per == "token" else logit[:, n - 1 : n] > 0
        return torch.where(opened["now"][..., None], new, resid)

    blocks = plain.get_decoder().layers
    handles = [blocks[layer].register_forward_hook(change(layer)) for layer in edit.layers]
    yield
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("kind", KINDS)
def test_edits_of_rows_are_right_in_batches_and_while_text_is_generated(pair, prompts, edit, kind):
    model, plain = pair
    log_probs = next_token_log_probs(model, prompts, edits=[edit])
    clean = next_token_log_probs(model, prompts)
    made = generate_tokens(model, prompts, max_new_tokens=N_NEW, edits=[edit])
    with torch.inference_mode():
        for row, tokens in enumerate(prompts.tokens):
            with by_hand(plain, edit, len(tokens)):
                alone = plain(torch.tensor([tokens])).logits[0, -1].log_softmax(-1)
                text = list(tokens)
                for _ in range(N_NEW):
                    text.append(int(plain(torch.tensor([text])).logits[0, -1].argmax()))
            torch.testing.assert_close(log_probs[row], alone, atol=1e-4, rtol=0)
            assert made[row] == text[len(tokens) :]
    changed = (log_probs - clean).abs().amax(1) > 1e-4
    if kind == "at generated":
        assert not changed.any()
        assert made != generate_tokens(model, prompts, max_new_tokens=N_NEW)
    else:
        assert changed.any()
    if kind in ("gated", "gated lower"):
        assert not changed.all()
        closed = (~changed).nonzero()[:, 0]
        torch.testing.assert_close(log_probs[closed], clean[closed], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["gated lower", "prompt shift"])
@pytest.mark.parametrize("left", [True, False])
def test_context_reads_the_mask_of_either_padding_side(pair, prompts, edit, left):
    model, _ = pair
    longest = max(map(len, prompts.tokens))
    ids = torch.zeros(len(prompts.tokens), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(prompts.tokens):
        places = slice(longest - len(tokens), None) if left else slice(len(tokens))
        ids[row, places], mask[row, places] = torch.tensor(tokens), 1
    last = torch.full((len(ids),), longest - 1) if left else mask.sum(1) - 1
    expected = next_token_log_probs(model, prompts, edits=[edit])
    with applied(model, [edit]), torch.inference_mode():
        logits = model.forward(ids, attention_mask=mask)
        maskless = model.forward(ids)
    rows = torch.arange(len(ids))
    got = logits[rows, last].log_softmax(-1)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)
    assert (maskless[rows, last].log_softmax(-1) - expected).abs().max() > 1e-2


@pytest.mark.parametrize("kind", ["gated lower", "prompt shift", "at generated"])
def test_context_holds_while_transformer_lens_generates(pair, prompts, edit):
    model, _ = pair
    expected = generate_tokens(model, prompts, max_new_tokens=N_NEW, edits=[edit])
    options = {"max_new_tokens": N_NEW, "do_sample": False, "verbose": False, "stop_at_eos": False}
    for row in (2, 3, 4):
        ids = torch.tensor([prompts.tokens[row]])
        with applied(model, [edit]):
            made = model.generate(ids, **options)
        assert made[0, ids.shape[1] :].tolist() == expected[row]


def test_full_ablation_leaves_nothing_along_the_direction_anywhere(pair, prompts):
    model, _ = pair
    vector = torch.randn(int(model.cfg.d_model), generator=torch.Generator().manual_seed(4))
    along = vector / vector.norm()
    edit = full_ablation(model, vector)
    layers = range(int(model.cfg.n_layers))
    resid = read_prompts(model, prompts, layers=layers, edits=[edit]).resid
    assert (resid @ along).abs().max() < 1e-3
    assert (read_prompts(model, prompts, layers=layers).resid @ along).abs().mean() > 0.05
    tokens = torch.tensor([prompts.tokens[3]])
    with applied(model, [edit]):
        logits = model(tokens)[0, -1].log_softmax(-1)
    got = next_token_log_probs(model, prompts, edits=[edit])
    torch.testing.assert_close(got[3], logits, atol=1e-4, rtol=0)


def test_edits_compose_in_order(pair, prompts):
    model, _ = pair
    d_model = int(model.cfg.d_model)
    e = torch.eye(d_model, dtype=torch.float64)
    one = Removal(e[:, :1], e[:1], (LAYER,))
    back = Removal(e[:, :1], e[1:2], (LAYER,), strength=-1.0)
    there = read_prompts(model, prompts, layers=[LAYER], edits=[one, back]).resid[:, 0]
    other = read_prompts(model, prompts, layers=[LAYER], edits=[back, one]).resid[:, 0]
    torch.testing.assert_close(there[:, 0], there[:, 1], atol=1e-5, rtol=0)
    assert other[:, 0].abs().max() < 1e-5
    assert there[:, 0].abs().max() > 1e-2
