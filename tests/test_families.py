"""Every architecture passes the doctor, or is refused in one sentence before any work."""

from importlib.util import find_spec

import pytest
import torch
from architectures import (
    ARCHITECTURES,
    D_MODEL,
    MULTIMODAL,
    NEED_TORCHVISION,
    save,
    save_multimodal,
)

import entangle_lens as el
from entangle_lens.entanglement.comparison import compare_interventions
from entangle_lens.entanglement.design import Design
from entangle_lens.entanglement.doctor import FULL, examine, examine_briefly
from entangle_lens.export import hooked
from entangle_lens.interventions import full_ablation
from entangle_lens.models import info, load_plain
from entangle_lens.results.repair_checkpoint import repair
from entangle_lens.running import Ablation, PromptGroup, generate_tokens

TOKENS = ((1, 7, 8, 9, 10, 11, 12), (1, 9), (1, 30, 20, 10))
N_NEW, END = 4, 4


@pytest.fixture(scope="module")
def stimuli():
    return el.load_stimuli(info(el.load()).stimuli)


def refusal(words):
    return pytest.raises(el.EntangleError, match=words)


def n_hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def greedily(plain, tokens):
    text = list(tokens)
    with torch.inference_mode():
        for _ in range(N_NEW):
            token = int(plain(torch.tensor([text]), use_cache=False).logits[0, -1].argmax())
            if token == END:
                break
            text.append(token)
    return text[len(tokens) :]


def check_full_mode(model, plain, expected):
    """Both ways remove a direction, and to the same numbers, or are refused and leave no hook."""
    unit = torch.nn.functional.normalize(torch.arange(1.0, D_MODEL + 1), dim=0)
    layers = tuple(range(info(model).n_layers))
    ids = torch.tensor([TOKENS[0]])
    if expected.full:
        with refusal(expected.full):
            full_ablation(model, unit)
    else:
        edit = full_ablation(model, unit)
        with el.applied(model, [edit]), torch.inference_mode():
            through_bridge = model(ids)
    before = n_hooks(plain)
    if expected.hooked:
        with refusal(expected.hooked), hooked(plain, [Ablation(unit, layers)], full=True):
            pass
    else:
        with hooked(plain, [Ablation(unit, layers)], full=True), torch.inference_mode():
            torch.testing.assert_close(plain(ids).logits, through_bridge, atol=1e-3, rtol=1e-3)
    assert n_hooks(plain) == before


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture_passes_the_doctor_or_is_refused_in_a_sentence(name, tmp_path, stimuli):
    expected, folder = ARCHITECTURES[name], save(name, tmp_path)
    if expected.at_load:
        for load in (el.load, load_plain):
            with refusal(expected.at_load):
                load(folder)
        return
    model, plain = el.load(folder), load_plain(folder)
    failed = {check.name for check in examine(model, plain) if not check.passed}
    check_full_mode(model, plain, expected)
    if expected.at_start:
        assert failed
        assert FULL not in failed
        with refusal(expected.at_start):
            examine_briefly(model, stimuli, Design.make())
        return
    assert failed == set()
    examine_briefly(model, stimuli, Design.make())
    made = generate_tokens(model, PromptGroup(TOKENS), max_new_tokens=N_NEW)
    assert made == [greedily(plain, tokens) for tokens in TOKENS]


@pytest.mark.parametrize("name", MULTIMODAL)
def test_text_of_a_multimodal_model_passes_the_doctor_or_the_library_that_it_needs_is_named(
    name, tmp_path
):
    folder = save_multimodal(name, tmp_path)
    if name in NEED_TORCHVISION and find_spec("torchvision") is None:
        with refusal("torchvision"):
            el.load(folder)
        return
    checks = examine(el.load(folder), load_plain(folder))
    assert [check for check in checks if not check.passed] == []


SMALL = Design(
    n_paraphrases=1,
    n_repair_paraphrases=1,
    n_resamples=100,
    n_random=2,
    n_scenarios=8,
    n_pairs=8,
    n_texts=4,
    few_arms=True,
)
FULL_ABLATION = "ablation, full mode"
# One of each way of running: with a decoder of its own, through the bridge, blocks in a list of
# another name, blocks without attention, and a branch beside the attention. The words are those by
# which repair refuses it.
WAYS = {
    "qwen3": "",
    "phi3": "",
    "gpt2": "exactly one was looked for",
    "qwen3_5": "exactly one was looked for",
    "falcon_h1": "it is not known whether they write",
}


@pytest.mark.parametrize(("name", "words"), WAYS.items())
def test_study_and_comparison_end_and_repair_does_or_is_refused(
    name, words, tmp_path, stimuli, without_type_checks
):
    folder = save(name, tmp_path / "model")
    model = el.load(folder)
    study = el.Study(model, stimuli, SMALL).run(progress=False)
    assert set(study.findings.pairs) == {"moral_grammar", "moral_economic"}
    compared = compare_interventions(
        model, SMALL.asked(stimuli), SMALL, ("ablation", FULL_ABLATION)
    )
    compared_methods = {row.method for row in compared.rows}
    refused = bool(ARCHITECTURES[name].full)
    assert "ablation" in compared_methods
    assert (FULL_ABLATION in compared_methods) != refused
    assert any(FULL_ABLATION in note for note in compared.notes) == refused
    ask = {"design": SMALL, "stimuli": info(el.load()).stimuli, "anyway": True}
    if words:
        with refusal(words):
            repair(folder, tmp_path / "out", None, **ask)
        assert not (tmp_path / "out").exists()
    else:
        written = repair(folder, tmp_path / "out", None, **ask)
        assert (written.folder / "model.safetensors").is_file()
