"""Two prompts before a study: a model whose numbers cannot be trusted is refused in a sentence."""

import dataclasses
import json
import shutil

import pytest
import torch

import entangle_lens as el
from entangle_lens.entanglement import comparison, doctor, plan, study
from entangle_lens.entanglement.design import Design
from entangle_lens.entanglement.doctor import examine_briefly
from entangle_lens.models import info
from entangle_lens.organisms.bundle import organism_folder
from entangle_lens.results import repair_checkpoint
from entangle_lens.running import bridge, scoring

FOLDER = organism_folder("qwen3-entangled")


@pytest.fixture
def stimuli():
    return el.load_stimuli(info(el.load()).stimuli)


@pytest.fixture
def broken(tmp_path):
    """Give a copy of the organism's folder, with one number of its weights replaced."""

    def folder(value, name="lm_head", row=7):
        from safetensors.torch import load_file, save_file

        shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
        (path,) = tmp_path.glob("*.safetensors")
        weights = load_file(path)
        key = next(key for key in weights if "embed_tokens" in key or name in key)
        weights[key][row] = value
        save_file(weights, path, metadata={"format": "pt"})
        return tmp_path

    return folder


def no_work(*args, **options):
    raise AssertionError("work has begun")


@pytest.fixture
def starts(monkeypatch, tmp_path_factory):
    """Give every verb that works for long, each with its first piece of work made to fail."""
    monkeypatch.setattr(plan, "tokens_per_second", no_work)
    monkeypatch.setattr(study, "fit_directions", no_work)
    monkeypatch.setattr(comparison, "read_contrasts", no_work)
    monkeypatch.setattr(repair_checkpoint, "measure_costs", no_work)
    out = tmp_path_factory.mktemp("out")
    return {
        "run": lambda folder: el.study(el.load(folder)).run(progress=False),
        "quick": lambda folder: el.study(el.load(folder), quick=True),
        "compare": lambda folder: el.compare(el.load(folder), methods=["ablation"]),
        "repair": lambda folder: el.repair(folder, out / "repaired"),
    }


@pytest.mark.parametrize("verb", ["run", "quick", "compare", "repair"])
def test_numbers_that_are_none_are_found_before_any_work(starts, broken, verb):
    with pytest.raises(el.EntangleError, match=r"not finite for \d of \d prompts"):
        starts[verb](broken(float("nan")))


@pytest.mark.parametrize("verb", ["run", "quick", "compare", "repair"])
def test_sound_model_goes_on_to_work(starts, verb):
    """The control: the work that was made to fail is reached."""
    with pytest.raises(AssertionError, match="work has begun"):
        starts[verb](FOLDER)


def test_float16_that_overflows_is_named_with_what_to_do(stimuli, broken):
    model = el.load(broken(65_000.0, row=slice(None)), dtype="float16")
    with pytest.raises(
        el.EntangleError, match="float16 may be too narrow for it, so load it in bf"
    ):
        examine_briefly(model, stimuli, Design.make())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_organism_is_sound_in_every_dtype(stimuli, dtype):
    examine_briefly(el.load(dtype=dtype), stimuli, Design.make())


@pytest.mark.parametrize("scale", ["1:9", "-10:10", "0:100"])
def test_scales_whose_options_are_several_tokens_are_examined_too(stimuli, tiny_folder, scale):
    examine_briefly(el.load(tiny_folder("qwen3")), stimuli, Design.make(scale=scale))


def test_prompts_of_one_length_are_padded_all_the_same(stimuli, monkeypatch):
    """The bridge does not see the mask; the items of the organism are all equally long."""
    model = el.load()
    monkeypatch.setattr(
        bridge,
        "forward",
        lambda model, ids, mask, **options: model.forward(ids, return_type="logits", **options),
    )
    monkeypatch.setattr(model, "entangle_info", dataclasses.replace(info(model), plain=None))
    with pytest.raises(el.EntangleError, match="a prompt in a batch and the same prompt alone"):
        examine_briefly(model, stimuli, Design.make())


def test_bridge_that_differs_from_transformers_is_refused(stimuli, monkeypatch):
    model = el.load()
    read = doctor.read_plainly

    def otherwise(*args, **options):
        reading = read(*args, **options)
        return dataclasses.replace(reading, log_probs=reading.log_probs + 0.1)

    monkeypatch.setattr(doctor, "read_plainly", otherwise)
    with pytest.raises(
        el.EntangleError, match=r"plain transformers differ by 0\.1 nats, and 0\.01"
    ):
        examine_briefly(model, stimuli, Design.make())


def test_fast_way_that_differs_from_the_bridge_is_refused(stimuli, monkeypatch):
    score = scoring.option_log_probs
    monkeypatch.setattr(
        scoring, "option_log_probs", lambda *args, **options: score(*args, **options) - 0.5
    )
    with pytest.raises(el.EntangleError, match="with and without TransformerLens's hook points"):
        examine_briefly(el.load(), stimuli, Design.make())


def test_two_items_that_give_one_prompt_are_refused(stimuli, monkeypatch):
    prompts = doctor.rating_prompts

    def lost(*args):
        group = prompts(*args)
        return dataclasses.replace(group, tokens=(group.tokens[0],) * 2)

    monkeypatch.setattr(doctor, "rating_prompts", lost)
    with pytest.raises(el.EntangleError, match=r"give one and the same prompt .* loses the item"):
        examine_briefly(el.load(), stimuli, Design.make())


def test_model_under_an_intervention_is_not_held_against_the_plain_one(stimuli):
    """Inside a block the bridge is edited, and the plain model is not."""
    model = el.load()
    with el.ablate(model, torch.arange(1.0, 129.0), layers=2):
        examine_briefly(model, stimuli, Design.make())


@pytest.mark.parametrize("factor", [1, 16])
def test_frequencies_that_depend_on_the_length_are_found(stimuli, tmp_path, factor):
    """Dynamic scaling beyond the original length, which then depends on what is in the batch."""
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
    config |= {"max_position_embeddings": 256 // factor, "rope_parameters": rope}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = el.load(tmp_path)
    if factor == 1:
        examine_briefly(model, stimuli, Design.make())
    else:
        with pytest.raises(el.EntangleError, match="longer than the context of model"):
            examine_briefly(model, stimuli, Design.make())
