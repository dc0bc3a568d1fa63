"""Activations at every hook point, layer and position: what TransformerLens itself shows there."""

import importlib
import weakref

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import entangle_lens as el
from entangle_lens.errors import EntangleError
from entangle_lens.interventions import ablation
from entangle_lens.models import info
from entangle_lens.organisms.build import word_tokenizer
from entangle_lens.running import (
    PromptGroup,
    capture,
    capture_moments,
    chat_prompts,
    counted,
    forward,
    plain_prompts,
    prefix,
    read_prompts,
)
from entangle_lens.running.decoder import decoder_of
from entangle_lens.running.moments import RunningMoments
from entangle_lens.running.positions import POSITIONS
from entangle_lens.running.prefix import each_beginning, prefix_tree
from entangle_lens.running.sites import SITES, hook_name

LAYERS = [0, 1, 2, 3]
TEXTS = [
    "you swept the market .",
    "you swept the market and the yard of the boats .",
    "we carried the old lamp to the market .",
    "we swept .",
    "you swept the market .",
]


def plainly(model, tokens, edits=(), sites=SITES, n_layers=4):
    """Run one prompt through the bridge alone: every site at every token and layer."""
    seen = {}
    hooks = [
        (f"blocks.{layer}.hook_resid_post", lambda resid, hook, edit=edit: edit.edit(resid))
        for edit in edits
        for layer in edit.layers
    ]
    hooks += [
        (
            hook_name(site, layer),
            lambda value, hook, key=(site, layer): seen.update({key: value[0]}),
        )
        for site in sites
        for layer in range(n_layers)
    ]
    with torch.inference_mode(), model.hooks(fwd_hooks=hooks):
        model.forward(torch.tensor([tokens]), attention_mask=torch.ones(1, len(tokens)).long())
    return {
        site: torch.stack([seen[site, layer] for layer in range(n_layers)], 1) for site in sites
    }


def item_tokens(model, tokens, text):
    """Where the item stands: found in what the tokens say one by one, its last mention."""
    tokenizer = info(model).tokenizer
    said = [tokenizer.decode([token]).replace(" ", "") for token in tokens]
    ends = np.cumsum([0, *map(len, said)])
    wanted = "".join(
        tokenizer.decode([token])
        for token in tokenizer(text, add_special_tokens=False)["input_ids"]
    ).replace(" ", "")
    first = "".join(said).rindex(wanted)
    return list(ends).index(first), list(ends).index(first + len(wanted))


def at(position, activation, span):
    return {
        "last": activation[-1:],
        "item_last": activation[span[1] - 1 : span[1]],
        "item_mean": activation[span[0] : span[1]].mean(0, keepdim=True),
        "all": activation,
    }[position]


def close(one, other, what=None):
    torch.testing.assert_close(
        one, other, atol=1e-4, rtol=0, msg=None if what is None else lambda text: f"{what}: {text}"
    )


def depths(tokens):
    """How much of each prompt is run as part of a shared beginning."""
    walk = each_beginning(prefix_tree(tokens), lambda depth, shared: depth + len(shared), 0)
    return {index: depth for depth, prompts in walk for index in prompts}


@pytest.mark.parametrize("pass_cost", [4, 10_000])
@pytest.mark.parametrize("edited", [False, True])
def test_every_site_holds_at_every_position_what_transformerlens_shows(
    short, ask, random_vector, monkeypatch, edited, pass_cost
):
    monkeypatch.setattr(prefix, "PASS_COST", pass_cost)
    model, _ = short
    group = ask(model, texts=TEXTS)
    edits = [ablation(model, random_vector(model), layers=[1, 3])] if edited else []
    right = [plainly(model, tokens, edits) for tokens in group.tokens]
    spans = list(map(item_tokens, [model] * 5, group.tokens, TEXTS))
    for site in SITES:
        for position in POSITIONS:
            found = capture(model, group, site=site, position=position, edits=edits)
            assert (found.site, found.position, found.layers) == (site, position, (0, 1, 2, 3))
            expected = [
                at(position, each[site], span) for each, span in zip(right, spans, strict=True)
            ]
            close(found.values, torch.cat(expected), (site, position))
            assert found.prompt.tolist() == [row for row, each in enumerate(expected) for _ in each]


@pytest.mark.parametrize("site", SITES)
def test_capture_under_hooks_on_the_bridge_sees_them(short, ask, random_vector, site):
    model, _ = short
    group, vector = ask(model, texts=TEXTS), random_vector(model)
    edits = [ablation(model, vector, layers=1)]
    for position in POSITIONS:
        with el.ablate(model, vector, layers=1):
            hooked = capture(model, group, site=site, position=position).values
        edited = capture(model, group, site=site, position=position, edits=edits).values
        close(hooked, edited, position)
        clean = capture(model, group, site=site, position=position).values
        assert (hooked - clean).abs().max() > 1e-2


def test_sites_and_positions_read_different_numbers(short, ask):
    model, _ = short
    group = ask(model, texts=TEXTS)
    read = [capture(model, group, position=each).values for each in POSITIONS[:3]]
    read += [capture(model, group, site=each).values for each in SITES if each[:5] != "resid"[:5]]
    read += [capture(model, group, site=each).values for each in ("resid_pre", "resid_mid")]
    for number, one in enumerate(read):
        for other in read[:number]:
            assert one.shape != other.shape or (one - other).abs().max() > 1e-2


def test_item_partly_in_the_shared_beginning_is_read_whole(short, ask):
    model, _ = short
    group = ask(model, texts=TEXTS)
    depth = depths(group.tokens)
    spans = list(map(item_tokens, [model] * 5, group.tokens, TEXTS))
    assert any(first < depth[row] < end for row, (first, end) in enumerate(spans))
    assert any(end <= depth[row] for row, (_, end) in enumerate(spans))
    found = capture(model, group, position="item_mean").values
    for row, (first, end) in enumerate(spans):
        resid = plainly(model, group.tokens[row])["resid_post"]
        close(found[row], resid[first:end].mean(0))
        if first < depth[row] < end:
            own = resid[depth[row] : end].mean(0)
            assert (found[row] - own).abs().max() > 1e-2


@pytest.mark.parametrize("through_bridge", [False, True])
@pytest.mark.parametrize("edited", [False, True])
def test_lengths_from_1_to_200_are_captured_as_alone(
    short, rng, random_vector, monkeypatch, edited, through_bridge
):
    model, _ = short
    lengths = [1, 2, 7, 40, 199, 200, 3]
    tokens = [tuple(rng.integers(6, model.cfg.d_vocab, length).tolist()) for length in lengths]
    tokens.append(tokens[4][:150] + tokens[3])
    firsts = [int(rng.integers(0, len(each))) for each in tokens]
    spans = [
        (at, int(rng.integers(at, len(each))) + 1) for at, each in zip(firsts, tokens, strict=True)
    ]
    group = PromptGroup(tuple(tokens), (), tuple(spans))
    edits = [ablation(model, random_vector(model), layers=2)] if edited else []
    right = [plainly(model, each, edits, ["resid_post"])["resid_post"] for each in tokens]
    if through_bridge:
        monkeypatch.setattr(forward, "decoder_of", lambda *given: None)
    else:
        assert max(depths(tokens).values()) == 150
    for position in POSITIONS:
        for budget in (None, 300):
            found = capture(model, group, position=position, edits=edits, tokens_per_batch=budget)
            close(found.values, torch.cat(list(map(at, [position] * 8, right, spans))), position)


def test_layers_come_in_the_order_asked_for(short, ask):
    model, _ = short
    group = ask(model)
    for position in ("last", "item_mean", "all"):
        every = capture(model, group, position=position).values
        some = capture(model, group, position=position, layers=[2, 0])
        assert some.layers == (2, 0)
        close(some.values, every[:, [2, 0]])
    assert (every[:, 2] - every[:, 0]).abs().max() > 1e-2


@pytest.fixture
def blocks_run(short):
    """The blocks of the bare decoder that were called, and how often."""
    calls = [0] * 4

    def count(number):
        def hook(*given):
            calls[number] += 1

        return hook

    blocks = info(short[0]).plain.get_decoder().layers
    handles = [block.register_forward_hook(count(number)) for number, block in enumerate(blocks)]
    yield calls
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(("layers", "n_run"), [([0], 1), ([2, 1], 3), (None, 4)])
def test_layers_above_the_last_one_asked_for_are_not_run(
    short, ask, blocks_run, site, layers, n_run
):
    model, _ = short
    group = ask(model)
    decoder_of(model, {site})  # the checks, which run it all, are made once a model
    blocks_run[:] = [0] * 4
    with counted() as account:
        capture(model, group, site=site, layers=layers)
    assert [calls > 0 for calls in blocks_run] == [layer < n_run for layer in LAYERS]
    assert len(set(blocks_run[:n_run])) == 1
    assert account.tokens_run < account.prompt_tokens * n_run / 4


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize(
    ("site", "position"),
    [("resid_post", "last"), ("resid_mid", "all"), ("mlp_pre", "item_mean"), ("attn_out", "last")],
)
def test_moments_are_those_of_what_is_captured(short, ask, random_vector, site, position, edited):
    model, _ = short
    group = ask(model)
    where = {"site": site, "position": position, "layers": [3, 1]}
    if edited:
        where["edits"] = [ablation(model, random_vector(model), layers=0)]
    rows = capture(model, group, **where).values.double().numpy()
    for budget in (None, 30, 1):
        moments = capture_moments(model, group, tokens_per_batch=budget, **where)
        assert moments.count == len(rows)
        assert moments.mean.dtype == moments.covariance.dtype == torch.float64
        np.testing.assert_allclose(moments.mean, rows.mean(0), atol=1e-5)
        for column in range(2):
            right = np.cov(rows[:, column].T)
            np.testing.assert_allclose(moments.covariance[column], right, atol=1e-5)
            assert np.abs(right).max() > 1e-2
    assert np.abs(rows[:, 0].mean(0) - rows[:, 1].mean(0)).max() > 1e-2


def test_mean_alone_is_kept_where_no_covariance_is_asked_for(short, ask):
    model, _ = short
    both = capture_moments(model, ask(model))
    mean = capture_moments(model, ask(model), covariance=False)
    assert mean.covariance is None
    close(mean.mean, both.mean)


def watched(monkeypatch, *, hoards):
    """Count numbers kept after every batch, and batches of rows that are still alive then."""
    kept, alive, given, hoard = [], [], [], []

    class Watched(RunningMoments):
        def add(self, activation):
            super().add(activation)
            if hoards:
                hoard.append(activation)
            alive.append(sum(each() is not None for each in given))
            given.append(weakref.ref(activation))
            tensors = [each for each in vars(self).values() if isinstance(each, torch.Tensor)]
            kept.append(sum(each.numel() for each in tensors))

    module = importlib.import_module("entangle_lens.running.capture")
    monkeypatch.setattr(module, "RunningMoments", Watched)
    return kept, alive


@pytest.mark.parametrize("hoards", [False, True])
def test_moments_hold_no_rows_however_many_there_are(loaded_once, ask, monkeypatch, hoards):
    model, _ = loaded_once("qwen3")
    kept, alive = watched(monkeypatch, hoards=hoards)
    capture_moments(model, ask(model, texts=TEXTS * 8), layers=[1, 2], tokens_per_batch=4)
    d_model = int(model.cfg.d_model)
    assert len(kept) > 8
    assert set(kept) == {2 * d_model + 2 * d_model**2}
    assert (max(alive) == 0) != hoards


@pytest.fixture
def low_precision(tiny_folder):
    return el.load(tiny_folder("qwen3"), dtype="bfloat16")


@pytest.mark.parametrize("position", ["last", "all"])
def test_moments_of_a_bfloat16_model_are_summed_in_float64(low_precision, ask, position):
    group = ask(low_precision)
    rows = capture(low_precision, group, position=position, tokens_per_batch=40).values
    moments = capture_moments(low_precision, group, position=position, tokens_per_batch=40)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(moments.mean, rows.double().mean(0), rtol=0, atol=1e-9)
    right = np.cov(rows[:, 2].double().numpy().T)
    np.testing.assert_allclose(moments.covariance[2], right, atol=1e-9)
    summed_low = rows.bfloat16().cumsum(0)[-1].double() / len(rows)
    assert (summed_low - rows.double().mean(0)).abs().max() > 1e-4


def test_site_that_is_nowhere_in_the_blocks_goes_through_the_bridge(short, ask, monkeypatch):
    model, _ = short
    group = ask(model)
    right = capture(model, group, site="mlp_pre").values
    used = []
    monkeypatch.setattr(forward, "decoder_of", lambda *given: used.append(given[1:]))
    close(capture(model, group, site="mlp_pre").values, right)
    assert used == [({"mlp_pre"},)]


OTHERS = {
    "llama": {},
    "olmo2": {},
    "exaone4": {},
    "granite": {"residual_multiplier": 0.3},
    "cohere": {},
}
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 4,
}


@pytest.fixture
def other(request, tmp_path):
    """A family whose blocks are put together in another way, its weights large enough to matter."""
    tokenizer = word_tokenizer(["a", "b", "c"])
    options = SMALL | OTHERS[request.param] | {"vocab_size": len(tokenizer)}
    noise = torch.Generator().manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(request.param, **options))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(
                1.0 * (parameter.ndim == 1) + 0.1 * torch.randn(parameter.shape, generator=noise)
            )
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return el.load(tmp_path)


@pytest.mark.parametrize("other", [each for each in OTHERS if each != "cohere"], indirect=True)
def test_blocks_put_together_in_another_way_are_captured_as_transformerlens_shows_them(other):
    """Norms after attention and MLP, or scaled outputs: never silently another number."""
    group = plain_prompts(other, ["a b c", "c c b a b", "b"])
    right = [plainly(other, tokens, n_layers=2) for tokens in group.tokens]
    for site in SITES:
        every = torch.cat([each[site] for each in right])
        last = torch.stack([each[site][-1] for each in right])
        close(capture(other, group, site=site, position="all").values, every, site)
        close(capture(other, group, site=site).values, last, site)
        assert last.abs().max() > 1e-2


@pytest.mark.parametrize("other", ["cohere"], indirect=True)
def test_site_that_the_family_has_not_is_refused(other):
    """Attention and MLP side by side: nothing stands between them."""
    group = plain_prompts(other, ["a b c"])
    with pytest.raises(EntangleError, match=r"no hook point blocks\.0\.hook_resid_mid"):
        capture(other, group, site="resid_mid")
    assert capture(other, group, site="attn_out").values.abs().max() > 1e-2


def test_last_position_is_what_a_reading_reads(short, ask):
    model, _ = short
    group = ask(model)
    close(capture(model, group).values, read_prompts(model, group, layers=LAYERS).resid)


@pytest.mark.parametrize("read", [capture, capture_moments])
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"site": "resid"}, "site 'resid' is unknown; the sites are resid_pre, resid_mid"),
        ({"position": "first"}, "position 'first' is unknown; the choices are last, item_last"),
        ({"layers": [4]}, "layer 4 is out of range: the model has layers 0 to 3"),
        ({"layers": [-1]}, "layer -1 is out of range"),
        ({"layers": []}, "no layer was given"),
    ],
)
def test_what_is_not_there_is_refused(loaded_once, ask, read, asked, message):
    model, _ = loaded_once("qwen3")
    with pytest.raises(EntangleError, match=message):
        read(model, ask(model), **asked)


@pytest.mark.parametrize("read", [capture, capture_moments])
def test_item_whose_place_is_not_known_is_refused(loaded_once, read):
    model, _ = loaded_once("qwen3")
    group = chat_prompts(model, ["we swept ."])
    for position in ("item_last", "item_mean"):
        with pytest.raises(EntangleError, match="where the item stands"):
            read(model, group, position=position)
    read(model, group, position="last")


@pytest.mark.parametrize("read", [capture, capture_moments])
def test_no_prompts_are_refused(loaded_once, read):
    with pytest.raises(EntangleError, match="no prompt was given"):
        read(loaded_once("qwen3")[0], PromptGroup(()))


def test_edit_that_never_fires_is_an_error(loaded_once, ask, random_vector):
    """Each of several edits: one that is beyond the last layer run changes nothing."""
    model, _ = loaded_once("qwen3")
    low, high = (ablation(model, random_vector(model), layers=layer) for layer in (0, 3))
    for edits in ([high], [low, high]):
        with pytest.raises(EntangleError, match="never fired"):
            capture(model, ask(model), layers=[1], edits=edits)
    capture(model, ask(model), layers=[1], edits=[low])
    capture(model, ask(model), layers=[3], edits=[low, high])
