"""A repair that is killed leaves nothing behind that passes for a finished checkpoint."""

import json
import shutil

import pytest
import torch

import entangle_lens as el
from entangle_lens.entanglement.checkpoint_basis import Removable, RepairChoice
from entangle_lens.results import repair_checkpoint as room


@pytest.fixture
def left_behind(tiny_folder, tmp_path, monkeypatch, without_type_checks):
    """A copy of the stage at the moment when the repair was killed while it measured."""
    basis = torch.randn(1, 128, generator=torch.Generator().manual_seed(0)).double()
    removed = Removable("moral", ("grammar",), 1, "by hand", 0.9, True, basis)
    decided = room._Decided("tiny", "rev", "float32", RepairChoice(removed, {}), None, None, None)
    stages = []

    def write(source, out, *args, **kwargs):
        stages.append(out)
        return el.orthogonalise_checkpoint(source, out, *args, **kwargs)

    def killed(*args, **kwargs):
        shutil.copytree(stages[0], tmp_path / "left")
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "_decide", lambda *args: decided)
    monkeypatch.setattr(room, "orthogonalise_checkpoint", write)
    monkeypatch.setattr(room, "measure_costs", killed)
    with pytest.raises(KeyboardInterrupt):
        el.repair(tiny_folder("qwen3"), tmp_path / "out")
    return tmp_path / "left"


def test_stage_of_a_killed_repair_says_that_it_is_unfinished(left_behind):
    for verify in (el.verify_repair, el.verify_checkpoint):
        with pytest.raises(el.EntangleError, match="is unfinished: the repair that wrote it"):
            verify(left_behind)
    assert json.loads((left_behind / "repair.json").read_text())["finished"] is False
    assert "Do not use it" in (left_behind / "README.md").read_text()
    assert not (left_behind.parent / "out").exists()
