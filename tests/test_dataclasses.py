"""Dataclasses that hold arrays are compared as the objects they are, not number by number."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
from typing import Any

import pytest
import torch

import entangle_lens
from entangle_lens.directions import Direction, Quality

# Whatever is an array, or holds one that its own comparison asks: `==` of it is no single answer.
ARRAYS = re.compile(r"\b(Tensor|ndarray|DataFrame|Series|Index|Generator)\b|np\.random")


def modules():
    for found in pkgutil.walk_packages(entangle_lens.__path__, "entangle_lens."):
        yield importlib.import_module(found.name)


def dataclasses_of_the_package():
    for module in modules():
        for each in vars(module).values():
            own = inspect.isclass(each) and each.__module__ == module.__name__
            if own and dataclasses.is_dataclass(each):
                yield each


def spelled(annotation: str, module: Any) -> str:
    """Return an annotation with the aliases of its module written out."""
    names = set(re.findall(r"\b[A-Z_]\w+\b", annotation))
    aliases = [vars(module).get(name) for name in names]
    said = [repr(each) for each in aliases if each is not None and not inspect.isclass(each)]
    return " ".join([annotation, *said])


def holds_arrays(kind) -> bool:
    module = importlib.import_module(kind.__module__)
    fields = dataclasses.fields(kind)
    return any(ARRAYS.search(spelled(str(each.type), module)) for each in fields)


def compares_fields(kind) -> bool:
    return kind.__dataclass_params__.eq and "__eq__" in vars(kind)


def test_dataclasses_that_hold_arrays_do_not_compare_them():
    found = list(dataclasses_of_the_package())
    assert len(found) > 100
    holding = [each for each in found if holds_arrays(each)]
    assert Direction in holding
    assert Quality not in holding
    wrong = [f"{each.__module__}.{each.__qualname__}" for each in holding if compares_fields(each)]
    assert not wrong, wrong


@pytest.fixture
def directions():
    quality = Quality(0.9, 1.0, 0.8)
    return [Direction("moral", "moral", 1, torch.ones(3), torch.zeros(3), quality) for _ in "ab"]


def test_directions_can_be_compared_and_kept_in_a_set(directions):
    one, other = directions
    assert one != other
    assert hash(one) != hash(other)
    assert len({one, other, one}) == 2
    assert other in directions
