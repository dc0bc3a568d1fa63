"""The whole study, on organisms whose truth is known."""

import numpy as np
import pytest
import torch

import entangle_lens as el
from entangle_lens.entanglement import validation
from entangle_lens.entanglement.selection import most_valid_layer
from entangle_lens.running import rating_prompts
from entangle_lens.stimuli import Scale

PAIRS = ("moral_grammar", "moral_economic")


@pytest.mark.parametrize("pair", PAIRS)
def test_study_of_an_entangled_organism_finds_the_planted_leak(entangled_study, truths, pair):
    finding = entangled_study.findings.pairs[pair]
    assert finding.entangled.word == "entangled"
    assert abs(finding.behaviour.leak.value - truths["entangled"][pair]) < 0.08
    assert abs(finding.behaviour.entanglement.value - truths["entangled"][pair]) < 0.08


@pytest.mark.parametrize("pair", PAIRS)
def test_study_of_a_disentangled_organism_finds_nothing(disentangled_study, truths, pair):
    finding = disentangled_study.findings.pairs[pair]
    assert finding.entangled.word == "not entangled"
    assert finding.repaired.word == "nothing to repair"
    assert abs(finding.behaviour.leak.value - truths["disentangled"][pair]) < 0.08
    assert finding.behaviour.moral_accuracy.value > 0.9


def test_default_ablation_repairs_the_entangled_organism(entangled_study):
    grammar, economic = (entangled_study.findings.pairs[pair].repair for pair in PAIRS)
    assert grammar.after.judgement.word == "repaired"
    assert abs(economic.after.leak.value) <= 0.4 * abs(economic.before.leak.value)
    assert economic.after.accuracy.value >= economic.before.accuracy.value


@pytest.mark.parametrize("pair", PAIRS)
def test_random_directions_of_the_same_removed_variance_repair_nothing(entangled_study, pair):
    repair = entangled_study.findings.pairs[pair].repair
    assert repair.null.distance > 0.7 * abs(repair.before.leak.value)
    assert 0.2 < repair.null.removed_variance < 5


@pytest.mark.parametrize("pair", PAIRS)
def test_sweep_at_the_chosen_layer_is_the_default_ablation(entangled_study, pair):
    repair = entangled_study.findings.pairs[pair].repair
    own = repair.sweeps[0]
    at = own.layers.index(repair.choice.layer)
    assert own.leak[at] == pytest.approx(repair.after.leak.value, abs=1e-4)
    assert own.accuracy[at] == pytest.approx(repair.after.accuracy.value, abs=1e-4)
    assert own.judgements[at].word == repair.after.judgement.word


def test_seeming_repairs_are_named_where_the_moral_rating_broke_and_the_leak_stayed(
    entangled_study,
):
    """The correlation of the two ratings fell, that with the design did not."""
    sweep = entangled_study.tables()["layer_sweep"]
    clean = {pair: entangled_study.findings.pairs[pair].repair.before for pair in PAIRS}
    leak = sweep["pair"].map(lambda pair: abs(clean[pair].leak.value))
    apparent = sweep["pair"].map(lambda pair: abs(clean[pair].apparent.value))
    only_apparent = (sweep["apparent"].abs() < 0.5 * apparent) & (sweep["leak"].abs() > 0.5 * leak)
    assert set(sweep.loc[only_apparent, "repaired"]) <= {"seeming repair"}
    untouched = (sweep["leak"].abs() > 0.9 * leak) & (sweep["apparent"].abs() > 0.9 * apparent)
    assert untouched.any()
    assert set(sweep.loc[untouched, "repaired"]) == {"not repaired"}


def test_study_is_the_same_for_the_same_seed_and_resamples_anew_for_another(mini_study, unchecked):
    with unchecked():
        one, again, other = (
            mini_study(layers=(2,), seed=seed).run(progress=False) for seed in (0, 0, 1)
        )
    for name, table in one.tables().items():
        assert table.equals(again.tables()[name]), name
    first, second = (each.summary().set_index(["pair", "measure"]) for each in (one, other))
    behaviour = ("moral_grammar", "behaviour")
    assert first.loc[behaviour, "r"] == second.loc[behaviour, "r"]
    assert first.loc[behaviour, "low"] != second.loc[behaviour, "low"]


def test_study_leaves_the_model_as_it_came(entangled_study):
    fresh = el.load()
    for (name, left), (_, right) in zip(
        entangled_study.model.named_parameters(), fresh.named_parameters(), strict=True
    ):
        assert left.equal(right), name
    assert not any(point.fwd_hooks for point in entangled_study.model.hook_dict.values())


def test_directions_are_kept_by_value_and_question(entangled_study):
    directions = entangled_study.directions
    assert directions["moral"].question == "moral"
    moral = directions["moral", "grammar"]
    assert (moral.value, moral.question) == ("moral", "grammar")
    assert moral.quality.auc > 0.8
    assert moral.provenance["stimuli_sha256"] == entangled_study.stimuli.digest
    with pytest.raises(el.EntangleError, match="no direction 'joy'"):
        directions["joy"]


@pytest.mark.parametrize("which", ["entangled_study", "disentangled_study"])
def test_directions_keep_the_protocol_of_mappings(request, which):
    directions = request.getfixturevalue(which).directions
    assert "joy" not in directions
    assert directions.get("joy") is None
    listed = dict(directions)
    assert len(listed) == len(directions) == len(list(directions.items()))
    assert all(key in directions for key in listed)
    invalid = set(directions.fitted) - set(listed)
    assert bool(invalid) == (which == "disentangled_study")
    for key in invalid:
        assert key not in directions
        with pytest.raises(el.EntangleError, match="valid at no layer"):
            directions[key]
        assert directions.at_layers(key).question == key[1]


@pytest.mark.parametrize("pair", PAIRS)
def test_the_direction_of_a_pair_is_the_one_that_the_report_judged(entangled_study, pair):
    repair = entangled_study.findings.pairs[pair].repair
    direction = entangled_study.directions["moral", repair.item_set.secondary]
    assert direction.layer == repair.direction.layer == repair.choice.layer
    assert direction.vector.equal(repair.direction.vector)
    assert direction.provenance == repair.direction.provenance
    assert direction.provenance["model"] == "organism:qwen3-entangled"


def test_the_direction_of_a_pair_is_ablated_where_the_rule_chose_and_not_where_it_reads_best(
    mini_study, monkeypatch
):
    """With another rule, which takes the last of the valid layers, the two layers differ."""
    monkeypatch.setattr(validation, "best", lambda validations: validations[-1])
    study = mini_study("mistral-entangled", layers=(0, 1, 2)).run(progress=False)
    repair = study.findings.pairs["moral_economic"].repair
    direction = study.directions["moral", "economic"]
    fitted = study.directions.at_layers(("moral", "economic"))
    assert direction.layer == repair.choice.layer != most_valid_layer([fitted], 6)
    assert direction.vector.equal(repair.direction.vector)


def test_ablating_the_direction_of_a_pair_leaves_the_leak_that_is_reported(entangled_study):
    repair = entangled_study.findings.pairs["moral_grammar"].repair
    direction = entangled_study.directions["moral", "grammar"]
    left = leak_by_hand(entangled_study, repair.item_set, direction)
    assert repair.after.leak.value == pytest.approx(left, abs=1e-3)
    assert repair.before.leak.value - left > 0.2


def leak_by_hand(study, item_set, direction):
    """Ablate a direction with ``el.ablate`` and ask one prompt at a time."""
    asked = study.design.repair_questions(study.stimuli, item_set.secondary)
    ratings = np.zeros(len(item_set))
    with el.ablate(study.model, direction), torch.inference_mode():
        for question in asked:
            for row, text in enumerate(item_set.texts):
                ratings[row] += rating_by_hand(study.model, question, text) / len(asked)
    return np.corrcoef(item_set.moral, ratings)[0, 1]


def rating_by_hand(model, question, text):
    """One prompt, one forward pass, the expectation over the scale's digits."""
    group = rating_prompts(model, [text], question, Scale())
    logits = model(torch.tensor(group.tokens))[0, -1].double()
    p = logits[[each[0] for each in group.options]].softmax(-1).numpy()
    mean = float(p @ np.arange(1, 10))
    return 10 - mean if question.descending else mean


def test_study_takes_any_sentence_embedding(entangled_study):
    """An embedding that only counts letters knows no values; the model's own does."""
    from entangle_lens.entanglement.embedding import measure_embedding

    def letters(texts):
        rng = np.random.default_rng(0)
        axes = rng.standard_normal((128, 8))
        return np.stack(
            [np.bincount([ord(c) % 128 for c in t], minlength=128) @ axes for t in texts]
        )

    items = entangled_study.stimuli.items["grammar"]
    found = measure_embedding(
        items, entangled_study.stimuli, letters, np.random.default_rng(0), 200
    )
    own = entangled_study.findings.pairs["moral_grammar"].embedding
    assert np.isfinite(found.entanglement.value)
    assert found.moral.shape == own.moral.shape
    assert not np.allclose(found.moral, own.moral)
    with pytest.raises(el.EntangleError, match="one finite vector a text"):
        measure_embedding(
            items, entangled_study.stimuli, lambda t: np.zeros(3), np.random.default_rng(0), 200
        )


def test_study_that_was_not_run_says_so(entangled_study):
    study = el.study(entangled_study.model)
    with pytest.raises(el.EntangleError, match=r"call \.run\(\) first"):
        study.summary()
