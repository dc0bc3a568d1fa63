"""Studies of the bundled organisms, made once for all tests that look at them."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

import entangle_lens as el
from entangle_lens.entanglement.design import Design
from entangle_lens.models import info

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread each, or processes fight for the cores
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


STUDIES = {"entangled_study", "disentangled_study", "truths", "run_folder"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items) -> None:
    """Keep tests that share a dear fixture in one process, where it is made once."""
    for item in items:
        given = getattr(item, "callspec", None)
        names = {*item.fixturenames, *map(str, given.params.values() if given else ())}
        used = item._fixtureinfo.name2fixturedefs.values()
        if names & STUDIES:
            item.add_marker(pytest.mark.xdist_group("studies"))
        elif any(fixtures[-1].scope == "module" for fixtures in used):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


@contextmanager
def types_unchecked() -> Iterator[None]:
    """Run without checks of types and shapes, which take a third of the time of a whole study."""
    from jaxtyping import config

    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", before)


def whole_study(model: str) -> el.Study:
    """Run a study of all items and pairs, with few wordings, samples and random directions."""
    loaded = el.load(model)
    stimuli = el.load_stimuli(info(loaded).stimuli)
    with types_unchecked():
        return el.Study(loaded, stimuli, Design.make(quick=True)).run(progress=False)


@pytest.fixture(scope="session")
def entangled_study() -> el.Study:
    return whole_study("organism:qwen3-entangled")


@pytest.fixture(scope="session")
def disentangled_study() -> el.Study:
    return whole_study("organism:qwen3-disentangled")


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


MINI = Design(
    n_paraphrases=1,
    n_repair_paraphrases=1,
    n_resamples=300,
    n_random=20,
    n_scenarios=12,
    n_pairs=12,
    n_texts=8,
    few_arms=True,
)


@pytest.fixture(scope="session")
def mini_study():
    """Give a small study of an organism, with other stimuli or settings where they are named."""

    def study(name="qwen3-entangled", stimuli=None, **settings) -> el.Study:
        loaded = el.load(f"organism:{name}")
        given = stimuli or el.load_stimuli(info(loaded).stimuli)
        return el.Study(loaded, given, replace(MINI, **settings))

    return study


FAMILY_NAMES = ("qwen2", "qwen3", "gemma2", "gemma3", "mistral")
WORDS = "i you we swept carried the a old lamp yard to from market boats rate this from of scale"


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """Give a folder with a random model of a family, its weights large enough to matter."""
    import torch
    from tokenizers.pre_tokenizers import Digits, Sequence, Split, WhitespaceSplit

    from entangle_lens.organisms.build import Shape, tiny_model, word_tokenizer

    made = {}

    def folder(family: str):
        if family not in made:
            words = [*WORDS.split(), *map(str, range(11)), "-", ":", "."]
            tokenizer = word_tokenizer(words)
            tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
                [WhitespaceSplit(), Split("-", "isolated"), Digits(individual_digits=True)]
            )
            model = tiny_model(family, len(tokenizer), 1, Shape(n_layers=4, n_ctx=512))
            noise = torch.Generator().manual_seed(1)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise))
            if getattr(model.config, "sliding_window", None):
                model.config.sliding_window = 8
            path = tmp_path_factory.mktemp("tiny") / family
            model.save_pretrained(path)
            tokenizer.save_pretrained(path)
            made[family] = path
        return made[family]

    return folder


@pytest.fixture(params=FAMILY_NAMES)
def family(request) -> str:
    return request.param


@pytest.fixture
def tiny(family, tiny_folder):
    """A random model of each family, loaded as users load theirs."""
    return el.load(tiny_folder(family))


@pytest.fixture
def without_type_checks():
    """Call the package as its users do: the checks of types and shapes are on in tests only."""
    with types_unchecked():
        yield


@pytest.fixture
def rng():
    import numpy as np

    return np.random.default_rng(0)
