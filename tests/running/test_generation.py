"""Generation in batches with keys and values kept, against one prompt run anew for every token."""

import pytest
import torch

import entangle_lens as el
from entangle_lens.errors import EntangleError
from entangle_lens.interventions import ablation
from entangle_lens.models import info
from entangle_lens.running import Ablation, capture_moments, decoded, generate_tokens

N_NEW = 6


@pytest.fixture
def lively(endless, ask):
    """An edit without which a random model says one word for ever: less what all texts share."""
    mean = capture_moments(endless, ask(endless), layers=[3], position="all").mean[0]
    return Ablation(torch.nn.functional.normalize(mean.float(), dim=0), (3,))


def greedily(model, tokens, edits=(), stop=()):
    """The likeliest token after the whole text so far, over and over, by the bridge alone."""
    text = list(tokens)
    hooks = [
        (f"blocks.{layer}.hook_resid_post", lambda resid, hook, edit=edit: edit.edit(resid))
        for edit in edits
        for layer in edit.layers
    ]
    for _ in range(N_NEW):
        ids = torch.tensor([text])
        with torch.inference_mode(), model.hooks(fwd_hooks=hooks):
            logits = model.forward(ids, attention_mask=torch.ones_like(ids))
        token = int(logits[0, -1].argmax())
        if token in stop:
            break
        text.append(token)
    return text[len(tokens) :]


@pytest.fixture
def endless(tiny):
    """A model whose text does not end before it has to."""
    hf_model = info(tiny).plain
    for config in (hf_model.generation_config, hf_model.config):
        config.eos_token_id = None
    return tiny


@pytest.mark.parametrize("edited", [False, True])
def test_batched_generation_is_what_each_prompt_gives_alone(
    endless, ask, lively, random_vector, edited
):
    group = ask(endless)
    edits = [lively]
    if edited:
        edits = [ablation(endless, random_vector(endless), layers=[0, 1, 2]), lively]
    made = generate_tokens(endless, group, max_new_tokens=N_NEW, edits=edits)
    assert made == [greedily(endless, tokens, edits) for tokens in group.tokens]
    assert len({token for each in made for token in each}) > 1
    if edited:
        assert made != generate_tokens(endless, group, max_new_tokens=N_NEW, edits=[lively])


def test_generation_ends_before_the_end_token(endless, ask, lively):
    group = ask(endless)
    whole = generate_tokens(endless, group, max_new_tokens=N_NEW, edits=[lively])
    end = whole[0][2]
    info(endless).plain.generation_config.eos_token_id = end
    made = generate_tokens(endless, group, max_new_tokens=N_NEW, edits=[lively])
    assert made == [greedily(endless, tokens, [lively], [end]) for tokens in group.tokens]
    assert made != whole
    assert all(end not in each for each in made)


def test_samples_follow_the_seed_and_leave_the_global_one_alone(endless, ask, lively):
    group = ask(endless)
    state = torch.get_rng_state()

    def sampled(seed):
        options = {"temperature": 2.0, "seed": seed, "edits": [lively]}
        return generate_tokens(endless, group, max_new_tokens=N_NEW, **options)

    assert sampled(0) == sampled(0)
    assert sampled(0) != sampled(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_stays_on_the_model_after_generation_fails(endless, ask, random_vector):
    blocks = info(endless).plain.get_decoder().layers
    group = ask(endless)

    class Broken(type(ablation(endless, random_vector(endless), layers=1))):
        def edit(self, resid):
            raise ArithmeticError("planted")

    edit = Broken(random_vector(endless), (1,))
    with pytest.raises(ArithmeticError, match="planted"):
        generate_tokens(endless, group, edits=[edit])
    assert not any(block._forward_hooks for block in blocks)


def test_tokens_are_decoded_without_special_ones(tiny):
    tokenizer = info(tiny).tokenizer
    words = tokenizer.convert_tokens_to_ids(["swept", "yard"])
    (text,) = decoded(tiny, [[words[0], tokenizer.eos_token_id, words[1]]])
    assert "swept" in text
    assert "yard" in text
    assert tokenizer.eos_token not in text


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"temperature": -1.0}, "temperature of 0 or more"), ({"max_new_tokens": 0}, "one token")],
)
def test_what_cannot_be_generated_is_refused(tiny, ask, asked, message):
    with pytest.raises(EntangleError, match=message):
        generate_tokens(tiny, ask(tiny), **asked)


def test_generation_under_hooks_on_the_bridge_is_refused(tiny, ask, random_vector):
    with el.ablate(tiny, random_vector(tiny), layers=1):
        with pytest.raises(EntangleError, match=r"model\.generate"):
            generate_tokens(tiny, ask(tiny))
        tiny.forward(torch.tensor([[1, 2]]))  # the intervention has to fire once
