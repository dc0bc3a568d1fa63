"""The comparison of interventions on organisms whose truth is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import entangle_lens as el
from entangle_lens.entanglement import asking, residual
from entangle_lens.entanglement.comparison import CLEAN, CONTROLS, compare_interventions
from entangle_lens.entanglement.contrasts import read_contrasts
from entangle_lens.entanglement.damage import repetition
from entangle_lens.entanglement.methods import METHODS
from entangle_lens.entanglement.validation import Candidate, Validation, best
from entangle_lens.interventions import applied
from entangle_lens.models import info
from entangle_lens.results.figures.comparison import _front

FEW = ("ablation", "subspace, pair differences", "LEACE", "steering")


@pytest.fixture(scope="module")
def asked():
    """Every reading of the items in the comparison below: question, edits, layers."""
    return []


@pytest.fixture(scope="module")
def entangled(asked, unchecked):
    with pytest.MonkeyPatch.context() as patch, unchecked():
        rate = asking.rate

        def counted(model, texts, questions, scale, *, layers=(), edits=(), desc=None):
            preambles = questions[0].instruction
            asked.append((tuple(texts), preambles, tuple(map(id, edits))))
            return rate(model, texts, questions, scale, layers=layers, edits=edits, desc=desc)

        patch.setattr(asking, "rate", counted)
        return el.compare(el.load(), methods=FEW, quick=True, layers=(2,))


@pytest.fixture(scope="module")
def disentangled(mini_study, unchecked):
    few = mini_study("qwen3-disentangled")
    with unchecked():
        return el.compare(few.model, few.stimuli, ("ablation",), quick=True, layers=(0, 1))


def test_every_question_is_asked_once_under_each_set_of_edits(asked, entangled):
    assert len(asked) == len(set(asked))
    n_rows = len(entangled.findings.rows)
    n_questions = 3
    assert len(asked) == n_rows * n_questions


def test_contrast_pairs_are_read_once(mini_study, monkeypatch):
    """The moral pairs' residuals that methods are fitted on are those that directions come from."""
    study = mini_study(layers=(2,))
    read = []
    original = residual._fit

    def fit(model, stimuli, design, layers, value, question, positions, progress):
        read.append((value, question))
        return original(model, stimuli, design, layers, value, question, positions, progress)

    monkeypatch.setattr(residual, "_fit", fit)
    contrasts = {
        question: read_contrasts(study.model, study.stimuli, study.design, "moral", question, (2,))
        for question in ("moral", "grammar", "economic")
    }
    arguments = study.model, study.stimuli, study.design, (2,), tuple(contrasts)
    shared = residual.fit_directions(*arguments, known=contrasts)["last"]
    assert all(value != "moral" for value, _ in read)
    again = residual.fit_directions(*arguments)["last"]
    for pair, fitted in again.items():
        assert torch.allclose(shared[pair].vectors, fitted.vectors, atol=1e-6), pair
        assert shared[pair].auc == pytest.approx(fitted.auc)


@pytest.mark.parametrize(("leak", "word"), [(0.0, "entangled"), (0.62, "not entangled")])
def test_comparison_and_study_hold_a_model_against_the_same_people(mini_study, leak, word):
    """People who rate as the organism does make its correlation the right one."""
    stimuli = el.load_stimuli(info(el.load()).stimuli)
    grammar = {"grammar": stimuli.items["grammar"]}
    asked = replace(stimuli, human=people(grammar["grammar"], leak), items=grammar)
    study = mini_study(stimuli=asked, layers=(2,)).run(progress=False)
    compared = compare_interventions(study.model, study.stimuli, study.design, ("ablation",))
    finding = study.findings.pairs["moral_grammar"]
    assert finding.entangled.word == compared.entangled("moral_grammar").word == word
    assert finding.entangled == compared.entangled("moral_grammar")
    ablation = compared.row("moral_grammar", "ablation").outcome
    assert ablation.judgement.word == finding.repaired.word
    assert ablation.leak.value == pytest.approx(finding.repair.after.leak.value, abs=1e-4)
    assert compared.row("moral_grammar", "ablation").validation.candidate.layer == 2


def people(item_set, leak):
    """Ratings in which the secondary one takes up some of the moral level."""
    level = item_set.level / item_set.level.std()
    moral = item_set.moral / item_set.moral.std()
    means = {"moral": moral, "grammar": level + leak * moral}
    return pd.concat(
        pd.DataFrame(
            {"item_id": item_set.table["item_id"], "value": value, "mean": mean, "se": 0.1, "n": 9}
        )
        for value, mean in means.items()
    )


def test_recommendation_tells_the_price_and_any_disagreement(entangled):
    for pair in ("moral_grammar", "moral_economic"):
        text = entangled.recommendation(pair)
        judgement = entangled.findings.row(
            pair, entangled.findings.recommended[pair]
        ).outcome.judgement
        assert judgement.headline in text
        assert all(sentence in text for sentence in judgement.price.sentences)
        disagrees = judgement.word not in ("repaired", "partly repaired")
        assert ("the two disagree" in text) == disagrees


def test_filter_on_held_out_pairs_asks_what_the_verdict_asks(entangled):
    """A method that keeps less than half of the spread there is not recommended."""
    for row in entangled.findings.rows:
        if row.validation is None:
            continue
        flattened = any("spread" in failure for failure in row.validation.failures)
        assert flattened == (row.validation.spread < 0.5)
    for pair in ("moral_grammar", "moral_economic"):
        chosen = entangled.findings.row(pair, entangled.findings.recommended[pair])
        assert chosen.validation.passes
        assert chosen.outcome.judgement.word in ("repaired", "partly repaired")


def test_two_methods_repair_both_leaks_and_the_controls_none(entangled):
    table = entangled.table().set_index(["method", "pair"])
    clean = table.loc[CLEAN]
    assert (clean["leak"] > 0.4).all()
    for method in ("subspace, pair differences", "LEACE"):
        assert (table.loc[method, "leak"].abs() < 0.12).all()
        assert (table.loc[method, "accuracy"] >= clean["accuracy"]).all()
    for control in CONTROLS:
        assert not table.loc[control, "verdict"].isin(["repaired", "partly repaired"]).any()
    assert (table.loc["steering", "leak"] > 0.3).all()


def test_the_rule_chooses_a_method_that_repairs(entangled):
    chosen = entangled.findings.recommended
    table = entangled.table().set_index(["pair", "method"])
    assert set(chosen) == {"moral_grammar", "moral_economic"}
    for pair, method in chosen.items():
        assert abs(table.loc[(pair, method), "leak"]) < 0.2
        assert table.loc[(pair, method), "passes"]


def test_nothing_is_a_repair_where_nothing_leaks(disentangled):
    table = disentangled.table()
    assert set(table["verdict"]) == {CLEAN, "nothing to repair"}
    assert set(disentangled.findings.recommended.values()) == {None}
    assert "nothing to repair" in str(disentangled)


def test_leakage_and_damage_are_those_of_the_edits(entangled):
    row = next(each for each in entangled.findings.rows if each.method == "LEACE")
    model, edit = el.load(), row.validation.candidate.edits[0]
    stimuli = el.load_stimuli(info(model).stimuli)
    item_set = stimuli.items["grammar"]
    ratings = np.zeros(len(item_set))
    asked = stimuli.questions_for("grammar", 1)
    with applied(model, [edit]), torch.inference_mode():
        for question in asked:
            for number, text in enumerate(item_set.texts):
                ratings[number] += by_hand(model, question, text) / len(asked)
    leak = np.corrcoef(item_set.moral, ratings)[0, 1]
    assert row.leakage["moral", "grammar"] == pytest.approx(leak, abs=1e-3)
    assert row.outcome.leak.value == pytest.approx(leak, abs=1e-3)
    clean = next(each for each in entangled.findings.rows if each.method == CLEAN)
    assert clean.leakage["moral", "grammar"] - leak > 0.2
    assert clean.damage.kl == pytest.approx(0, abs=1e-9)
    assert clean.size == 0 < row.size


def by_hand(model, question, text):
    """One prompt, one forward pass, the expectation over the scale's digits."""
    from entangle_lens.running import rating_prompts
    from entangle_lens.stimuli import Scale

    group = rating_prompts(model, [text], question, Scale())
    logits = model(torch.tensor(group.tokens))[0, -1].double()
    p = logits[[each[0] for each in group.options]].softmax(-1).numpy()
    mean = float(p @ np.arange(1, 10))
    return 10 - mean if question.descending else mean


def test_saved_comparison_holds_tables_figures_and_methods(entangled, tmp_path):
    report = entangled.save(tmp_path / "new").read_text()
    assert all(method in report for method in (*FEW, *CONTROLS))
    assert (tmp_path / "new/tables/leakage.parquet").exists()
    with pytest.raises(el.EntangleError, match="holds another run"):
        entangled.save(tmp_path / "new")


def test_choice_takes_what_passes_before_what_removes_most():
    def validation(left, kept, kl):
        return Validation(Candidate("any", "", 0, ()), left, kept, 1.0, kl)

    strong, good, dull = (
        validation(0.0, 0.5, 0.0),
        validation(0.1, 1.0, 0.0),
        validation(0.9, 1.0, 0.0),
    )
    assert best([strong, good, dull]) is good
    assert best([strong, validation(0.0, 1.0, 0.2), dull]) is dull
    assert not strong.passes
    blunt, sharp = validation(0.001, 1.0, 0.0), validation(0.03, 1.5, 0.0)
    assert best([blunt, sharp, good]) is sharp
    assert best([blunt, good]) is blunt
    unknown = validation(float("nan"), float("nan"), 0.0)
    assert best([unknown, dull]) is best([dull, unknown]) is dull
    assert Validation(Candidate("any", "", 0, ()), 0.0, 1.0, 1.0, float("nan")).passes


def test_unknown_methods_are_refused_with_the_known_ones():
    with pytest.raises(el.EntangleError, match=r"'magic' is unknown.*LEACE"):
        el.compare(el.load(), methods=("magic",))
    with pytest.raises(el.EntangleError, match="no method"):
        el.compare(el.load(), methods=())


def test_every_method_says_its_formula_source_and_use():
    assert all(each.formula and each.source and each.when for each in METHODS.values())


def test_repetition_is_the_share_of_sequences_that_stood_before():
    assert repetition([[1, 2, 3, 1, 2, 3]]) == 0.25
    assert repetition([[1, 2, 3, 4, 5]]) == 0
    assert np.isnan(repetition([[1, 2]]))


def test_front_keeps_what_no_other_beats():
    damage, left = np.array([0.0, 0.1, 0.2, 0.3]), np.array([0.5, 0.2, 0.4, 0.1])
    assert _front(damage, left) == [0, 1, 3]
