"""Studies of the bundled organisms, made once for all tests that look at them."""

import json

import pytest

import entangle_lens as el
from entangle_lens.models import info


@pytest.fixture(scope="session")
def entangled_study() -> el.Study:
    return el.study(el.load(), quick=True).run(progress=False)


@pytest.fixture(scope="session")
def disentangled_study() -> el.Study:
    return el.study(el.load("organism:qwen3-disentangled"), quick=True).run(progress=False)


@pytest.fixture(scope="session")
def truths(entangled_study, disentangled_study) -> dict[str, dict[str, float]]:
    """The correlations that the generator itself gives, as written in the organisms' cards."""
    studies = {"entangled": entangled_study, "disentangled": disentangled_study}
    cards = {
        name: info(each.model).stimuli.parent / "organism.json" for name, each in studies.items()
    }
    return {name: json.loads(card.read_text())["true_correlation"] for name, card in cards.items()}


@pytest.fixture(scope="session")
def run_folder(entangled_study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "one"
    entangled_study.save(folder)
    return folder
