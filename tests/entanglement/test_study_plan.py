"""The plan of a study is a ceiling on what the study runs, and not a distant one."""

import json

import pytest

import entangle_lens as el


@pytest.mark.parametrize("which", ["entangled_study", "disentangled_study"])
def test_study_runs_no_more_than_was_planned(request, which):
    findings = request.getfixturevalue(which).findings
    plan, cost = findings.plan.total, findings.cost
    assert cost.prompts <= plan.prompts
    assert cost.prompt_tokens <= plan.prompt_tokens
    assert cost.tokens_run <= plan.tokens_run


def test_plan_of_an_entangled_organism_is_near_what_is_run(entangled_study):
    plan, cost = entangled_study.findings.plan.total, entangled_study.findings.cost
    assert plan.prompts <= 1.15 * cost.prompts
    assert plan.tokens_run <= 1.6 * cost.tokens_run


def test_plan_grows_with_the_design():
    model = el.load()
    quick, whole = (el.study(model, quick=quick).plan() for quick in (True, False))
    assert whole.total.tokens_run > 3 * quick.total.tokens_run
    assert whole.total.share_run < 0.6
    assert whole.seconds > 0
    stages = list(whole.stages.values())
    assert sum(each.tokens_run for each in stages) == pytest.approx(whole.total.tokens_run)
    assert all(each.tokens_run > 0 for each in stages)


def test_plan_and_cost_are_kept_with_the_run(entangled_study, run_folder):
    manifest = json.loads((run_folder / "manifest.json").read_text())
    engine = json.loads((run_folder / "summary.json").read_text())["engine"]
    assert manifest["plan"] == entangled_study.plan().as_dict()
    assert engine["tokens_run"] == round(entangled_study.findings.cost.tokens_run)
    share = engine["tokens_run"] / engine["prompt_tokens"]
    assert engine["share_run"] == pytest.approx(share, abs=1e-6)
    assert share < 0.6
