"""Generation in batches with keys and values kept, against one prompt run anew for every token."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from entangle_lens.errors import EntangleError
from entangle_lens.interventions import ablation, applied
from entangle_lens.models import info
from entangle_lens.running import (
    Ablation,
    PromptGroup,
    capture_moments,
    counted,
    decoded,
    generate_tokens,
    generation,
)

N_NEW = 6


@pytest.fixture
def endless(short, monkeypatch):
    """A model whose text does not end before it has to, and the same checkpoint unwrapped."""
    for hf_model in (info(short[0]).plain, short[0].original_model):
        for config in (hf_model.generation_config, hf_model.config):
            monkeypatch.setattr(config, "eos_token_id", None)
    return short


@pytest.fixture
def lively(endless, ask):
    """An edit without which a random model says one word for ever: less what all texts share."""
    model, _ = endless
    mean = capture_moments(model, ask(model), layers=[3], position="all").mean[0]
    return Ablation(torch.nn.functional.normalize(mean.float(), dim=0), (3,))


@pytest.fixture
def mixed(rng, endless):
    """Prompts of 1 to 200 tokens."""
    vocab = int(endless[0].cfg.d_vocab)
    lengths = (1, 2, 9, 30, 200)
    return PromptGroup(tuple(tuple(rng.integers(6, vocab, each).tolist()) for each in lengths))


@contextmanager
def edited(plain, edits):
    """Hooks of plain torch on the blocks of a plain model."""
    blocks = plain.get_decoder().layers

    def hook(edit):
        def change(module, args, output):
            if isinstance(output, tuple):
                return (edit.edit(output[0]), *output[1:])
            return edit.edit(output)

        return change

    handles = [
        blocks[layer].register_forward_hook(hook(edit)) for edit in edits for layer in edit.layers
    ]
    yield
    for handle in handles:
        handle.remove()


def greedily(plain, tokens, edits=(), stop=()):
    """The likeliest token after the whole text so far, over and over, with nothing kept."""
    text = list(tokens)
    with edited(plain, edits), torch.inference_mode():
        for _ in range(N_NEW):
            logits = plain(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1]
            if int(logits.argmax()) in stop:
                break
            text.append(int(logits.argmax()))
    return text[len(tokens) :]


@pytest.mark.parametrize("budget", [None, 60])
@pytest.mark.parametrize("ablated", [False, True])
def test_batched_generation_is_what_each_prompt_gives_alone(
    endless, mixed, lively, random_vector, ablated, budget
):
    model, plain = endless
    edits = [lively]
    if ablated:
        edits = [ablation(model, random_vector(model), layers=[0, 1, 2]), lively]
    options = {"max_new_tokens": N_NEW, "tokens_per_batch": budget}
    made = generate_tokens(model, mixed, edits=edits, **options)
    assert made == [greedily(plain, tokens, edits) for tokens in mixed.tokens]
    assert len({token for each in made for token in each}) > 2
    if ablated:
        assert made != generate_tokens(model, mixed, edits=[lively], **options)


def test_generation_without_edits_is_what_each_prompt_gives_alone(endless, ask):
    model, plain = endless
    group = ask(model)
    made = generate_tokens(model, group, max_new_tokens=N_NEW)
    assert made == [greedily(plain, tokens) for tokens in group.tokens]


@pytest.mark.parametrize("as_list", [False, True])
def test_generation_ends_before_the_end_token(endless, mixed, lively, monkeypatch, as_list):
    """The one of the generation config, where the config names another one."""
    model, plain = endless
    whole = generate_tokens(model, mixed, max_new_tokens=N_NEW, edits=[lively])
    said = {token for each in whole for token in each}
    ends = [max(said, key=lambda token: sum(token in each for each in whole))]
    other = next(each[0] for each in whole if each and ends[0] not in each)
    hf_model = info(model).plain
    monkeypatch.setattr(hf_model.config, "eos_token_id", other)
    monkeypatch.setattr(hf_model.generation_config, "eos_token_id", ends if as_list else ends[0])
    made = generate_tokens(model, mixed, max_new_tokens=N_NEW, edits=[lively])
    assert made == [greedily(plain, tokens, [lively], ends) for tokens in mixed.tokens]
    assert made != whole
    assert any(other in each for each in made)
    assert all(each == full[: len(each)] for each, full in zip(made, whole, strict=True))
    assert all(ends[0] not in each for each in made)


def test_end_token_of_the_config_is_used_where_the_generation_config_has_none(
    endless, mixed, lively, monkeypatch
):
    model, plain = endless
    end = generate_tokens(model, mixed, max_new_tokens=N_NEW, edits=[lively])[0][0]
    monkeypatch.setattr(info(model).plain.config, "eos_token_id", end)
    made = generate_tokens(model, mixed, max_new_tokens=N_NEW, edits=[lively])
    assert made == [greedily(plain, tokens, [lively], [end]) for tokens in mixed.tokens]
    assert made[0] == []


PENALTIES = {
    "repetition_penalty": 50.0,
    "no_repeat_ngram_size": 1,
    "top_k": 1,
    "top_p": 0.1,
    "temperature": 0.1,
    "do_sample": True,
    "min_new_tokens": 3,
}


def test_greedy_text_is_the_models_own_whatever_its_checkpoint_suggests(
    endless, ask, lively, monkeypatch
):
    """Penalties in the generation config change what transformers would say, not what we say."""
    model, plain = endless
    group = ask(model)
    own = info(model).plain.generation_config
    for name, value in PENALTIES.items():
        monkeypatch.setattr(own, name, value)
    made = generate_tokens(model, group, max_new_tokens=N_NEW, edits=[lively])
    assert made == [greedily(plain, tokens, [lively]) for tokens in group.tokens]
    assert info(model).plain.generation_config is own
    assert own.repetition_penalty == 50.0
    ids = torch.tensor([group.tokens[0]])
    with edited(info(model).plain, [lively]):
        suggested = info(model).plain.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=N_NEW,
        )
    assert suggested[0, ids.shape[1] :].tolist() != made[0]


def test_samples_follow_the_seed_and_leave_the_global_one_alone(endless, ask, lively):
    model, _ = endless
    group = ask(model)
    state = torch.get_rng_state()

    def sampled(seed, temperature=2.0):
        options = {"temperature": temperature, "seed": seed, "edits": [lively]}
        return generate_tokens(model, group, max_new_tokens=N_NEW, **options)

    assert sampled(0) == sampled(0)
    assert sampled(0) != sampled(1)
    assert sampled(0, 0.0) == sampled(1, 0.0) != sampled(0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("family", ["qwen3"])
def test_global_randomness_is_left_alone_after_an_exception_too(endless, ask, broken):
    state = torch.get_rng_state()
    with pytest.raises(ArithmeticError, match="planted"):
        generate_tokens(endless[0], ask(endless[0]), temperature=1.0, edits=[broken])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("family", ["qwen3"])
def test_samples_of_a_prompt_differ_between_batches(endless, ask, lively):
    model, _ = endless
    prompt = ask(model).tokens[0]
    made = generate_tokens(
        model,
        PromptGroup((prompt,) * 12),
        max_new_tokens=N_NEW,
        temperature=5.0,
        edits=[lively],
        tokens_per_batch=2 * (len(prompt) + N_NEW),
    )
    assert len(set(map(tuple, made))) > 6


@pytest.mark.parametrize("family", ["qwen3"])
@pytest.mark.parametrize("temperature", [0.7, 2.0])
def test_samples_come_from_the_whole_distribution(endless, ask, lively, monkeypatch, temperature):
    """Also where the checkpoint suggests to keep the likeliest token only."""
    model, plain = endless
    prompt = ask(model).tokens[0]
    for name, value in {"top_k": 1, "top_p": 0.1, "min_p": 0.9}.items():
        monkeypatch.setattr(info(model).plain.generation_config, name, value)
    made = generate_tokens(
        model,
        PromptGroup((prompt,) * 2000),
        max_new_tokens=1,
        temperature=temperature,
        edits=[lively],
    )
    with edited(plain, [lively]), torch.inference_mode():
        logits = plain(input_ids=torch.tensor([prompt]), use_cache=False).logits[0, -1]
    found = np.bincount([token for (token,) in made], minlength=len(logits)) / 2000

    def far(temperature):
        right = (logits / temperature).softmax(-1).double().numpy()
        return (np.abs(found - right) / np.sqrt(right * (1 - right) / 2000)).max()

    assert far(temperature) < 4.5
    assert far(0.7 if temperature == 2.0 else 2.0) > 6


@pytest.fixture
def broken(random_vector, endless):
    class Broken(Ablation):
        def edit(self, resid):
            raise ArithmeticError("planted")

    return Broken(random_vector(endless[0]), (1,))


def test_nothing_stays_on_the_model_after_generation(endless, ask, lively, broken):
    model, _ = endless
    hf_model = info(model).plain
    own, settings = hf_model.generation_config, hf_model.generation_config.to_dict()
    generate_tokens(model, ask(model), max_new_tokens=2, edits=[lively])
    with pytest.raises(ArithmeticError, match="planted"):
        generate_tokens(model, ask(model), edits=[lively, broken])
    assert not any(block._forward_hooks for block in hf_model.get_decoder().layers)
    assert hf_model.generation_config is own
    assert own.to_dict() == settings


def test_generation_costs_every_token_once(endless, mixed, lively):
    """The last new token is read off, not run."""
    with counted() as account:
        generate_tokens(endless[0], mixed, max_new_tokens=N_NEW, edits=[lively])
    assert account.prompts == 5
    assert account.prompt_tokens == 1 + 2 + 9 + 30 + 200
    assert account.tokens_run == account.prompt_tokens + 5 * (N_NEW - 1)


def test_tokens_are_decoded_without_special_ones(short):
    model, _ = short
    tokenizer = info(model).tokenizer
    words = tokenizer.convert_tokens_to_ids(["swept", "yard"])
    (text,) = decoded(model, [[words[0], tokenizer.eos_token_id, words[1]]])
    assert "swept" in text
    assert "yard" in text
    assert tokenizer.eos_token not in text
    assert tokenizer.eos_token in tokenizer.decode([tokenizer.eos_token_id])
    assert decoded(model, [[], [words[0]]])[0] == ""


@pytest.mark.parametrize("family", ["qwen3"])
@pytest.mark.parametrize(
    ("asked", "message"),
    [({"temperature": -1.0}, "temperature of 0 or more"), ({"max_new_tokens": 0}, "one token")],
)
def test_what_cannot_be_generated_is_refused(short, ask, asked, message):
    model, _ = short
    with pytest.raises(EntangleError, match=message):
        generate_tokens(model, ask(model), **asked)


@pytest.mark.parametrize("family", ["qwen3"])
def test_edit_out_of_range_is_refused(short, ask, random_vector):
    model, _ = short
    with pytest.raises(EntangleError, match="layer 4 is out of range"):
        generate_tokens(model, ask(model), edits=[Ablation(random_vector(model), (4,))])


@pytest.fixture
def without_decoder(monkeypatch):
    """Every model runs through the bridge, as many families do."""
    monkeypatch.setattr(generation, "decoder_of", lambda model, sites=(): None)


@pytest.mark.parametrize("budget", [None, 60])
def test_generation_through_the_bridge_is_what_each_prompt_gives_alone(
    endless, mixed, lively, random_vector, without_decoder, budget
):
    """In one batch and in several, prompts and new tokens edited."""
    model, plain = endless
    edits = [ablation(model, random_vector(model), layers=[0, 1, 2]), lively]
    made = generate_tokens(model, mixed, edits=edits, max_new_tokens=N_NEW, tokens_per_batch=budget)
    assert made == [greedily(plain, tokens, edits) for tokens in mixed.tokens]
    assert len({token for each in made for token in each}) > 2


@pytest.mark.parametrize("family", ["qwen3", "gemma3"])
def test_generation_through_the_bridge_ends_before_the_end_token(
    endless, mixed, lively, monkeypatch, without_decoder
):
    model, plain = endless
    whole = generate_tokens(model, mixed, max_new_tokens=N_NEW, edits=[lively])
    said = [token for each in whole for token in each]
    end = max(set(said), key=said.count)
    monkeypatch.setattr(model.original_model.generation_config, "eos_token_id", end)
    made = generate_tokens(model, mixed, max_new_tokens=N_NEW, edits=[lively])
    assert made == [greedily(plain, tokens, [lively], {end}) for tokens in mixed.tokens]
    assert made != whole


@pytest.mark.parametrize("family", ["qwen3"])
def test_samples_through_the_bridge_depend_on_the_seed(endless, ask, without_decoder):
    model, _ = endless

    def sampled(seed):
        return generate_tokens(model, ask(model), max_new_tokens=N_NEW, temperature=5.0, seed=seed)

    assert sampled(0) == sampled(0)
    assert sampled(0) != sampled(1)


def test_generation_under_hooks_on_the_bridge_is_generation_under_the_edit(endless, mixed, lively):
    model, _ = endless
    with applied(model, [lively]):
        hooked = generate_tokens(model, mixed, max_new_tokens=N_NEW)
    assert hooked == generate_tokens(model, mixed, max_new_tokens=N_NEW, edits=[lively])


@pytest.mark.parametrize("family", ["qwen3"])
def test_text_longer_than_the_context_is_refused_before_it_is_made(short, monkeypatch):
    model, _ = short
    monkeypatch.setattr(generation, "each_batch", None)
    group = PromptGroup(((1, 7, 8), (1,) * 500))
    with pytest.raises(EntangleError, match=r"500 tokens and 64 new ones .* which is 512 tokens"):
        generate_tokens(model, group)


@pytest.mark.parametrize("family", ["qwen3"])
def test_edit_of_no_layer_and_prompt_without_a_token_are_refused(short, ask, random_vector):
    model, _ = short
    with pytest.raises(EntangleError, match="names no layer"):
        generate_tokens(model, ask(model), edits=[Ablation(random_vector(model), ())])
    with pytest.raises(EntangleError, match="prompt 2 of 2 has no token"):
        generate_tokens(model, PromptGroup(((1, 7), ())))


@pytest.mark.parametrize("family", ["qwen3"])
def test_no_prompts_give_no_texts(short):
    assert generate_tokens(short[0], PromptGroup(())) == []
