"""A folder may leave optional tables out: the study then lacks what needs them, and no more."""

import shutil

import pytest

import entangle_lens as el
from entangle_lens.models import info

OPTIONAL = ("phrases", "controls", "neutral", "minimal_pairs")


def without(folder, tables):
    for name in tables:
        (folder / f"{name}.csv").unlink()
    return el.load_stimuli(folder)


@pytest.fixture
def own(tmp_path):
    return shutil.copytree(info(el.load()).stimuli, tmp_path / "own")


def test_study_runs_without_any_optional_table_and_writes_its_report(mini_study, own, tmp_path):
    study = mini_study(
        stimuli=without(own, OPTIONAL), layers=(2,), n_random=5, n_scenarios=9, n_pairs=8
    )
    report = study.run(progress=False).save(tmp_path / "run")
    assert report.is_file()
    for finding in study.findings.pairs.values():
        assert finding.embedding is None
        assert finding.entangled.word == "entangled"
    assert set(study.summary()["measure"]) >= {"behaviour", "residual"}
