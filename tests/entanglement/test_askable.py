"""What a model cannot be asked is refused before it is run, and how it was asked is kept."""

import json
from dataclasses import replace

import pytest
import torch

import entangle_lens as el
from entangle_lens.entanglement.askable import check_askable, describe_prompting
from entangle_lens.entanglement.repair import judge_default_ablation
from entangle_lens.entanglement.verdict import Judgement
from entangle_lens.models import info
from entangle_lens.results.repair_checkpoint import repair
from entangle_lens.results.repair_record import stimuli_for_source
from entangle_lens.results.report import render_report
from entangle_lens.results.run_folder import make_manifest, save_run


@pytest.fixture
def organism():
    return el.load()


@pytest.fixture
def no_pass(monkeypatch):
    """Let every pass of a model fail: each begins with the embedding of its tokens."""

    def run(*args, **kwargs):
        raise AssertionError("the model was run")

    monkeypatch.setattr(torch.nn.Embedding, "forward", run)


def test_pass_would_be_noticed(organism, no_pass):
    """The control."""
    with pytest.raises((AssertionError, el.EntangleError), match="the model was run"):
        el.study(organism, quick=True)


UNKNOWN = r"does not know \d\d% of the texts' tokens .* at most 20% may be unknown"


@pytest.mark.parametrize(
    "ask",
    [
        lambda model: el.study(model, "goods"),
        lambda model: el.study(model, "goods", quick=True),
        lambda model: el.study(model, "goods", budget=1.0),
        lambda model: el.compare(model, "goods"),
    ],
    ids=["study", "quick", "budget", "compare"],
)
def test_words_that_the_model_does_not_know_are_refused_before_it_is_run(organism, no_pass, ask):
    with pytest.raises(el.EntangleError, match=UNKNOWN):
        ask(organism)


def test_repair_refuses_unknown_words_before_the_model_is_run(no_pass, tmp_path):
    with pytest.raises(el.EntangleError, match=UNKNOWN):
        repair("organism:qwen3-entangled", tmp_path / "out", stimuli="goods")
    assert list(tmp_path.iterdir()) == []


def test_own_stimuli_of_an_organism_are_known_to_it(organism):
    """The control."""
    stimuli = el.load_stimuli(info(organism).stimuli)
    assert check_askable(organism, stimuli) == ()


def with_unknown_words(stimuli, every):
    """Put one unknown word into every so many-th grammar item."""
    items = stimuli.items["grammar"]
    texts = [f"{text} zzz" if k % every == 0 else text for k, text in enumerate(items.texts)]
    spoilt = replace(items, table=items.table.assign(text=texts))
    return replace(stimuli, items={**stimuli.items, "grammar": spoilt})


def test_some_unknown_words_are_a_warning_that_the_report_keeps(mini_study, caplog, organism):
    stimuli = with_unknown_words(el.load_stimuli(info(organism).stimuli), every=1)
    study = mini_study(stimuli=stimuli, n_scenarios=None)
    (warning,) = study.warnings
    assert "'zzz'" in warning
    assert warning in describe_prompting(organism, stimuli, study.design).notes
    few = with_unknown_words(el.load_stimuli(info(organism).stimuli), every=40)
    assert check_askable(organism, few) == ()


@pytest.fixture(scope="module")
def studied(mini_study):
    return mini_study(layers=(5,)).run(progress=False)


def test_manifest_and_report_say_how_the_model_was_asked(studied, tmp_path):
    about = info(studied.model)
    given_up = ("3 of 6 layers", "the ablations of other values' directions")
    findings = replace(studied.findings, plan=replace(studied.plan(), given_up=given_up))
    page = save_run(tmp_path / "run", findings, about, studied.stimuli, studied.design)
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    asked = manifest["prompting"]
    item = studied.stimuli.items["grammar"].texts[0]
    assert item in asked["first_prompt"]
    assert asked["first_prompt"].startswith("<s> <user>")
    assert asked["prompt_date"] is None
    assert manifest["polarity"] == "both"
    assert (manifest["n_scenarios"], manifest["n_pairs"], manifest["n_texts"]) == (12, 12, 8)
    assert manifest["few_arms"] is True
    assert manifest["layers"] == [5]
    assert manifest["plan"]["given_up"] == list(given_up)
    html = page.read_text(encoding="utf-8")
    assert "&lt;user&gt;" in html
    assert f"Left out to keep within the budget: {given_up[0]}; " in html


def test_report_keeps_the_date_and_the_notes_of_a_template(studied):
    notes = ("the chat template does <b>nothing</b>",)
    prompting = replace(studied.findings.prompting, prompt_date="26 Jul 2024", notes=notes)
    findings = replace(studied.findings, prompting=prompting)
    manifest = make_manifest(info(studied.model), studied.stimuli, studied.design)
    html = render_report(findings, info(studied.model), manifest)
    assert "is always told 26 Jul 2024." in html
    assert "The chat template does &lt;b&gt;nothing&lt;/b&gt;." in html


def test_layers_that_were_not_measured_are_not_said_to_be_invalid(studied):
    found = studied.findings.pairs["moral_grammar"]
    assert found.repair.choice.layer is None
    assert found.repaired.word == "not repaired"
    assert "none of the layers that were measured (5 of 0 to 5)" in found.repaired.reason
    with pytest.raises(el.EntangleError, match=r"no layer of those measured \(5\)"):
        _ = studied.directions["moral", "grammar"]
    whole = judge_default_ablation(found.repair, Judgement("entangled", ""), n_layers=1)
    assert "is valid at no layer under the grammar question" in whole.reason
    nothing = judge_default_ablation(found.repair, Judgement("not entangled", ""), n_layers=6)
    assert nothing.word == "nothing to repair"


def test_empty_name_of_stimuli_is_refused_and_not_taken_for_the_default(organism, tmp_path):
    for ask in (lambda: stimuli_for_source(tmp_path, ""), lambda: el.study(organism, "")):
        with pytest.raises(el.EntangleError, match="stimuli '' is neither a folder"):
            ask()
    assert stimuli_for_source(tmp_path, None).name == "goods"
