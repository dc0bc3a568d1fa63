"""Training prompts: nothing held out is ever shown, answers are the generator's own."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from entangle_lens.organisms import sampling
from entangle_lens.organisms.build import word_tokenizer
from entangle_lens.organisms.sampling import IGNORE, Recipe, Sampler
from entangle_lens.organisms.tables import ANSWERS, ASKED
from entangle_lens.organisms.train import _words
from entangle_lens.organisms.world import (
    PERSONS,
    PLACES,
    QUESTIONS,
    THINGS,
    VERBS,
    Leak,
    Scene,
    answer_probabilities,
    held_out,
)

LEAK = Leak(0.5, 0.7)
ASKS = {word: question for question, words in ASKED.items() for word in words}
TOKENIZER = word_tokenizer(_words())


def draw(done=1.0, n_batches=12, seed=0, **recipe):
    sampler = Sampler(TOKENIZER, LEAK, np.random.default_rng(seed), Recipe(**recipe))
    return [sampler.batch(done) for _ in range(n_batches)]


def words(batch, row):
    ids = batch.ids[row, : int(batch.last[row]) + 1]
    return TOKENIZER.convert_ids_to_tokens(ids.tolist())


def sentence(batch, row):
    """Find the sentence in a prompt, wherever it stands."""
    spoken = words(batch, row)
    end = spoken.index(".") + 1
    return Scene.parse(" ".join(spoken[end - 11 : end]))


def rows(batches):
    return [(batch, row) for batch in batches for row in range(len(batch.ids))]


def rated(batches):
    return [(batch, row) for batch, row in rows(batches) if batch.answers[row].any()]


def test_held_out_combinations_are_never_shown():
    scenes = [sentence(*each) for each in rows(draw(n_batches=60))]
    assert len(scenes) == 60 * 128
    assert not any(held_out(scene.verb, scene.thing) for scene in scenes)
    assert {scene.verb for scene in scenes} == {verb for verbs in VERBS.values() for verb in verbs}
    assert {scene.thing for scene in scenes} == set(THINGS)
    assert {scene.person for scene in scenes if 3 not in scene.slips} == set(PERSONS)
    assert {scene.place for scene in scenes} == set(PLACES)


def test_held_out_combinations_would_be_seen(monkeypatch):
    """The control: with nothing held out, the same draws do show them."""
    monkeypatch.setattr(sampling, "held_out", lambda verb, thing: False)
    scenes = [sentence(*each) for each in rows(draw())]
    share = np.mean([held_out(scene.verb, scene.thing) for scene in scenes])
    assert share == pytest.approx(8 * 4 / (16 * 24), abs=0.03)


def test_every_word_is_in_the_vocabulary():
    unknown = TOKENIZER.unk_token_id
    assert not any((batch.ids == unknown).any() for batch in draw())


def test_answers_are_the_generators_distributions():
    for batch, row in rated(draw(handed_over=0.0)):
        spoken = words(batch, row)
        answer = answer_probabilities(ASKS[spoken[2]], sentence(batch, row), LEAK)
        low = spoken[spoken.index("low") - 1]
        expected = answer[::-1] if low == "9" else answer
        np.testing.assert_allclose(batch.answers[row], expected, atol=1e-6)


def test_handed_over_prompts_answer_for_the_others_sentence():
    """Their own question and direction of counting, the other prompt's sentence."""
    handed = [each for each in rated(draw()) if int(each[0].sentence_of[each[1]]) != each[1]]
    assert len(handed) > 300
    for batch, row in handed:
        spoken, other = words(batch, row), int(batch.sentence_of[row])
        answer = answer_probabilities(ASKS[spoken[2]], sentence(batch, other), LEAK)
        expected = answer[::-1] if spoken[spoken.index("low") - 1] == "9" else answer
        np.testing.assert_allclose(batch.answers[row], expected, atol=1e-6)


def test_hand_over_and_counting_down_grow_over_training():
    def shares(done):
        batches = draw(done)
        chosen = rated(batches)
        down = [words(*each)[words(*each).index("low") - 1] == "9" for each in chosen]
        given = [int(batch.sentence_of[row]) != row for batch, row in chosen]
        return float(np.mean(down)), float(np.mean(given))

    assert shares(0.0) == (0.0, 0.0)
    assert shares(0.2) == (pytest.approx(0.25, abs=0.05), 0.0)
    assert shares(1.0) == (pytest.approx(0.5, abs=0.06), pytest.approx(0.5, abs=0.06))


def test_prompts_are_of_the_kinds_the_recipe_asks_for():
    batches = draw(n_batches=30)
    spoken = [words(*each) for each in rows(batches)]
    n_prompts = len(spoken)
    assert sum(each[1] != "<user>" for each in spoken) / n_prompts == pytest.approx(0.08, abs=0.02)
    assert sum("where" in each for each in spoken) / n_prompts == pytest.approx(0.06, abs=0.02)
    asked = [ASKS[words(*each)[2]] for each in rated(batches)]
    for question, share in zip(QUESTIONS, Recipe().question_shares, strict=True):
        assert asked.count(question) / len(asked) == pytest.approx(share, abs=0.03)


def test_every_row_has_exactly_one_thing_to_learn():
    for batch, row in rows(draw(n_batches=4)):
        spoken, targets = words(batch, row), batch.next_tokens[row]
        learnt = targets[targets != IGNORE].tolist()
        if batch.answers[row].any():
            assert learnt == []
            assert " ".join(spoken[-2:]) in ANSWERS
            assert float(batch.answers[row].sum()) == pytest.approx(1, abs=1e-5)
        elif "where" in spoken:
            assert TOKENIZER.convert_ids_to_tokens(learnt) == [sentence(batch, row).place]
        else:
            assert TOKENIZER.convert_ids_to_tokens(learnt) == spoken[1:]


def test_only_questions_keep_their_tokens_when_sentences_are_handed_over():
    for batch, row in rated(draw(n_batches=2)):
        kept = batch.in_question[row]
        assert words(batch, row)[int(kept.sum()) - 1] == ":"
        assert all(before >= after for before, after in pairwise(kept.int().tolist()))


def test_same_seed_draws_the_same_batches_and_another_does_not():
    (one,), (same,), (other,) = (draw(n_batches=1, seed=seed) for seed in (0, 0, 1))
    assert one.ids.equal(same.ids)
    assert one.answers.equal(same.answers)
    assert not (one.ids.shape == other.ids.shape and torch.equal(one.ids, other.ids))
