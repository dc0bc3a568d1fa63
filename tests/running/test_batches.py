"""Batches: every prompt once, no batch too large, halved when memory runs out."""

import pytest
import torch

from entangle_lens.running import batches, prefix, rating_prompts, read_ablated, read_prompts
from entangle_lens.running.batches import each_batch, padded
from entangle_lens.stimuli import Question, Scale

LENGTHS = [3, 9, 1, 4, 9, 2, 7, 5, 5]
PROMPTS = [list(range(1, length + 1)) for length in LENGTHS]
ASKED = Question("moral", "1", "ascending", "rate this from {low} to {high} :", ":")
TEXTS = ["i swept .", "we carried the old lamp to the market .", "you swept the yard .", "i ."]


def batches_of(**options):
    seen = []
    each_batch(LENGTHS, seen.append, **options)
    return seen


def out_of_memory_above(limit, run, tried):
    """Return ``run`` as a device would have it on which ``limit`` prompts fit at once."""

    def limited(batch):
        tried.append(len(batch))
        if len(batch) > limit:
            raise torch.OutOfMemoryError("planted")
        run(batch)

    return limited


@pytest.mark.parametrize("budget", [1, 10, 20, 1000])
def test_batches_hold_every_prompt_once(budget):
    seen = batches_of(budget=budget)
    assert sorted(index for batch in seen for index in batch) == list(range(len(PROMPTS)))


@pytest.mark.parametrize("budget", [10, 20, 1000])
def test_batches_stay_within_their_tokens_with_padding(budget):
    seen = batches_of(budget=budget)
    sizes = [len(batch) * max(LENGTHS[index] for index in batch) for batch in seen]
    assert max(sizes) <= budget
    assert len(seen) == 1 or max(sizes) > budget / 2


def test_longest_prompts_come_first():
    order = [LENGTHS[index] for batch in batches_of(budget=12) for index in batch]
    assert order == sorted(LENGTHS, reverse=True)


def test_prompt_longer_than_a_batch_runs_alone():
    assert [1] in batches_of(budget=8)


@pytest.mark.parametrize("left", [True, False])
def test_padding_is_where_the_mask_is_zero(left):
    ids, mask = padded(PROMPTS[:3], left=left)
    assert ids.shape == mask.shape == (3, 9)
    for row, prompt in enumerate(PROMPTS[:3]):
        assert ids[row][mask[row].bool()].tolist() == prompt
        assert ids[row][~mask[row].bool()].eq(0).all()
        assert mask[row, 0 if left else -1] == (len(prompt) == 9)


def test_batch_is_halved_until_it_fits():
    seen, tried = [], []
    each_batch(LENGTHS, out_of_memory_above(2, seen.append, tried), budget=1000)
    assert tried[:3] == [9, 4, 2]
    assert max(map(len, seen)) == 2
    assert sorted(index for batch in seen for index in batch) == list(range(len(PROMPTS)))


def test_single_prompt_that_does_not_fit_is_an_error():
    tried = []
    with pytest.raises(torch.OutOfMemoryError, match="planted"):
        each_batch(LENGTHS, out_of_memory_above(0, list, tried), budget=1000)
    assert tried[-1] == 1


def test_other_errors_are_not_tried_again():
    tried = []

    def run(batch):
        tried.append(batch)
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        each_batch(LENGTHS, run, budget=1000)
    assert len(tried) == 1


@pytest.mark.parametrize("limit", [1, 3])
def test_reading_is_the_same_on_a_device_with_little_memory(tiny, monkeypatch, limit):
    from entangle_lens.interventions import ablation

    monkeypatch.setattr(prefix, "PASS_COST", 10_000)  # batches as large as they can be
    group = rating_prompts(tiny, TEXTS * 3, ASKED, Scale())
    direction = torch.randn(128, generator=torch.Generator().manual_seed(0))
    edits = [ablation(tiny, direction, layers=layer) for layer in (0, 2)]
    ample = read_prompts(tiny, group, layers=[1, 3])
    swept = read_ablated(tiny, group, edits)
    halving, tried = batches._run_or_halve, []
    monkeypatch.setattr(
        batches,
        "_run_or_halve",
        lambda batch, run: halving(batch, out_of_memory_above(limit, run, tried)),
    )
    scarce = read_prompts(tiny, group, layers=[1, 3])
    assert max(tried) > limit
    torch.testing.assert_close(scarce.resid, ample.resid, atol=1e-4, rtol=0)
    torch.testing.assert_close(scarce.log_probs, ample.log_probs, atol=1e-4, rtol=0)
    torch.testing.assert_close(read_ablated(tiny, group, edits), swept, atol=1e-4, rtol=0)
    assert ample.log_probs.std(0).max() > 1e-2
