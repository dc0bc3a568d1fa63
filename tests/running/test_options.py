"""Probabilities of ratings: whole continuations, each told apart from those it begins."""

import math
from itertools import product

import pytest
import torch

from entangle_lens.interventions import ablation
from entangle_lens.models import load_plain
from entangle_lens.running import read_prompts
from entangle_lens.running.options import OptionTree
from entangle_lens.stimuli import Scale

# After the prompt: a .5, b .3; after a: c .4, d .1; after a c: d .2.
A, B, C, D = range(4)
NEXT = {
    (): torch.tensor([[0.5, 0.3]]).log(),
    (A,): torch.tensor([[0.4, 0.1]]).log(),
    (A, C): torch.tensor([[0.2]]).log(),
}


def probabilities(*options):
    tree = OptionTree(options)
    chosen = {context: NEXT[context][:, : len(tree.next_tokens(context))] for context in NEXT}
    return tree.log_probs(chosen).exp()[0].tolist()


def brute_force(plain, prompt, options):
    """Walk every option token by token with the unwrapped model."""
    probs = []
    for option in options:
        ids = torch.tensor([[*prompt, *option]])
        with torch.no_grad():
            log_probs = plain(ids).logits.log_softmax(-1)[0]
        steps = range(len(prompt) - 1, ids.shape[1] - 1)
        probs.append(float(sum(log_probs[step, ids[0, step + 1]] for step in steps).exp()))
    return probs


def test_single_token_options_are_read_off_at_once():
    tree = OptionTree(((A,), (B,)))
    assert tree.contexts == [()]
    assert probabilities((A,), (B,)) == pytest.approx([0.5, 0.3])


def test_options_come_back_in_the_order_they_were_given():
    assert probabilities((B,), (A,)) == pytest.approx([0.3, 0.5])


def test_longer_option_is_the_product_of_its_steps():
    assert probabilities((A, C), (A, D), (B,)) == pytest.approx([0.2, 0.05, 0.3])


def test_option_that_begins_another_counts_what_does_not_go_on():
    assert probabilities((A,), (A, C), (A, D), (B,)) == pytest.approx([0.25, 0.2, 0.05, 0.3])


def test_option_within_an_option_within_an_option_is_taken_off_once():
    """As 1, 10 and 100: what goes on to 100 has already been taken from 1 with 10."""
    found = probabilities((A,), (A, C), (A, C, D), (B,))
    assert found == pytest.approx([0.3, 0.16, 0.04, 0.3])
    assert sum(found) == pytest.approx(0.8)


def test_every_beginning_of_an_option_is_a_context():
    tree = OptionTree(((A, C, D), (A,), (B,)))
    assert tree.contexts == [(), (A,), (A, C)]
    assert [tree.next_tokens(context) for context in tree.contexts] == [[A, B], [C], [D]]


def test_impossible_option_has_a_finite_log_probability():
    tree = OptionTree(((A,), (A, C)))
    never = {(): torch.zeros(1, 1), (A,): torch.zeros(1, 1)}
    log_probs = tree.log_probs(never)
    assert log_probs.isfinite().all()
    assert log_probs[0, 0] < -80
    assert log_probs[0, 1] == 0


@pytest.mark.parametrize("scarcity", [0.0, 30.0, 90.0, 300.0])
def test_proportions_of_options_hold_however_unlikely_they_all_are(scarcity):
    """At a mass of exp(-90) a probability in float32 is 0, and all options would look alike."""
    options = ((A,), (A, C), (A, D), (B,))
    tree = OptionTree(options)
    steps = {
        context: NEXT[context][:, : len(tree.next_tokens(context))]
        - (scarcity if not context else 0)
        for context in ((), (A,))
    }
    log_probs = tree.log_probs(steps)[0].double()
    assert log_probs.softmax(-1).tolist() == pytest.approx([0.3125, 0.25, 0.0625, 0.375], rel=1e-4)
    assert float(log_probs.logsumexp(-1)) == pytest.approx(math.log(0.8) - scarcity, abs=1e-4)


@pytest.mark.parametrize(
    ("family", "scale"),
    [
        *product(("qwen2", "qwen3", "gemma2", "gemma3", "mistral"), ("1:9", "-10:10", "-9:-1")),
        ("qwen3", "0:100"),
        ("gemma3", "0:100"),
    ],
)
def test_ratings_have_the_probabilities_of_their_continuations(
    tiny, family, tiny_folder, ask, scale
):
    """By brute force; "1" counts only where no rating goes on from it."""
    group, names = ask(tiny, scale), Scale.parse(scale).options
    plain = load_plain(tiny_folder(family))
    fast = read_prompts(tiny, group).log_probs
    for row in (0, 1):
        whole = dict(zip(names, brute_force(plain, group.tokens[row], group.options), strict=True))
        for name, log_prob in zip(names, fast[row], strict=True):
            longer = [
                whole[other] for other in names if other[:-1] == name and other not in ("-", name)
            ]
            assert float(log_prob.exp()) == pytest.approx(
                whole[name] - sum(longer), abs=1e-7, rel=1e-4
            )
    assert float(fast.exp().sum(1).max()) < 1


@pytest.mark.parametrize("scale", ["1:9", "-10:10"])
def test_option_mass_is_the_probability_of_the_first_tokens(tiny, family, tiny_folder, ask, scale):
    """All of what begins with a digit or a minus, less the minus that no digit follows."""
    group = ask(tiny, scale)
    plain = load_plain(tiny_folder(family))
    ids = torch.tensor([group.tokens[0]])
    firsts = sorted({option[0] for option in group.options})
    inner = sorted(set(firsts) - {option[0] for option in group.options if len(option) == 1})
    with torch.no_grad():
        first = plain(ids).logits[0, -1].softmax(-1)
        mass = sum(float(first[token]) for token in firsts if token not in inner)
        for token in inner:
            after = plain(torch.tensor([[*group.tokens[0], token]])).logits[0, -1].softmax(-1)
            follow = {option[1] for option in group.options if option[0] == token}
            mass += float(first[token]) * sum(float(after[each]) for each in follow)
    assert float(read_prompts(tiny, group).log_probs[0].exp().sum()) == pytest.approx(
        mass, rel=1e-4
    )
    assert len(inner) == (scale != "1:9")


def test_first_token_alone_would_be_another_number(tiny, ask, random_vector):
    """The control: scored by their first token only, 1 and 10 could not be told apart."""
    group = ask(tiny, "-10:10")
    one, ten = (Scale.parse("-10:10").options.index(name) for name in ("1", "10"))
    assert group.options[one][0] == group.options[ten][0]
    for edits in ([], [ablation(tiny, random_vector(tiny), layers=1)]):
        log_probs = read_prompts(tiny, group, edits=edits).log_probs
        assert (log_probs[:, one] - log_probs[:, ten]).abs().min() > 1e-2
