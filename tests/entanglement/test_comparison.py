"""The comparison of interventions on organisms whose truth is known."""

import numpy as np
import pytest
import torch

import entangle_lens as el
from entangle_lens.entanglement.comparison import CLEAN, CONTROLS
from entangle_lens.entanglement.damage import repetition
from entangle_lens.entanglement.methods import METHODS
from entangle_lens.entanglement.validation import Candidate, Validation, best
from entangle_lens.interventions import applied
from entangle_lens.results.figures.comparison import _front

FEW = ("ablation", "subspace, pair differences", "LEACE", "steering")


@pytest.fixture(scope="module")
def entangled():
    return el.compare(el.load(), methods=FEW, quick=True, layers=(2,))


@pytest.fixture(scope="module")
def disentangled():
    model = el.load("organism:qwen3-disentangled")
    return el.compare(model, methods=("ablation",), quick=True, layers=(0, 1))


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
    model, study = el.load(), el.study(el.load(), quick=True)
    edit = row.validation.candidate.edits[0]
    item_set = study.stimuli.items["grammar"]
    ratings = np.zeros(len(item_set))
    asked = study.stimuli.questions_for("grammar", study.design.n_repair_paraphrases)
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
