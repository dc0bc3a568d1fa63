"""Models that answer all items alike, or hardly ever on the scale: a verdict, and no crash."""

import pytest
import torch
from safetensors.torch import load_file, save_file

import entangle_lens as el
from entangle_lens.models import info
from entangle_lens.organisms.bundle import organism_folder


def constant(head, digits):
    """All digits alike, up to rounding: every rating is the middle of the scale."""
    head[digits] = head[digits].mean(0)


def unspoken(head, digits):
    """Another token takes nearly all of the probability; the digits' proportions stay."""
    other = next(row for row in range(len(head)) if row not in digits)
    head[other] = 10 * head[digits].mean(0)


def flat(head, digits):
    """The digits differ by so little that ratings move in the seventh decimal."""
    mean = head[digits].mean(0)
    head[digits] = mean + 1e-7 * (head[digits] - mean)


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    """Give the organism with another unembedding, from a folder as a user would have it."""
    made = {}

    def model(edit):
        if edit not in made:
            source = organism_folder("qwen3-entangled")
            folder = tmp_path_factory.mktemp("edited") / edit.__name__
            folder.mkdir()
            for path in source.iterdir():
                if path.is_file() and path.suffix != ".safetensors":
                    (folder / path.name).write_bytes(path.read_bytes())
            tensors = load_file(source / "model.safetensors")
            embedding = tensors["model.embed_tokens.weight"]
            head = tensors.get("lm_head.weight", embedding).float().clone()
            tokenizer = info(el.load()).tokenizer
            edit(head, [tokenizer.convert_tokens_to_ids(str(digit)) for digit in range(1, 10)])
            tensors["lm_head.weight"] = head.to(embedding.dtype) if edit is not flat else head
            save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
            config = folder / "config.json"
            config.write_text(
                config.read_text().replace(
                    '"tie_word_embeddings": true', '"tie_word_embeddings": false'
                )
            )
            made[edit] = el.load(folder)
        return made[edit]

    return model


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (constant, "hardly vary"),
        (unspoken, "does not answer the moral question on the scale"),
        (flat, "hardly vary"),
    ],
)
def test_study_without_answers_is_inconclusive_and_saved(
    edited, mini_study, unchecked, tmp_path, edit, reason
):
    organism = mini_study(layers=(2,))
    with unchecked():
        study = el.Study(edited(edit), organism.stimuli, organism.design).run(progress=False)
    for finding in study.findings.pairs.values():
        assert finding.entangled.word == "inconclusive"
        assert reason in finding.entangled.reason
        assert finding.repaired.word == "nothing to repair"
    assert study.save(tmp_path / "run").is_file()
    summary = (tmp_path / "run/summary.json").read_text()
    assert "NaN" not in summary


def test_correlations_hold_where_the_mass_is_tiny(edited, mini_study):
    """The control: the digits' proportions are untouched, so r is that of the whole organism."""
    organism = mini_study(layers=(2,))
    texts = organism.stimuli.items["grammar"].texts[:8]
    hidden = el.Study(edited(unspoken), organism.stimuli, organism.design)
    with torch.inference_mode():
        assert hidden.rate(texts, "grammar").tolist() == pytest.approx(
            organism.rate(texts, "grammar").tolist(), abs=0.05
        )
