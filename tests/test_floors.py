"""The floors of the house, read from the imports with ``ast``: imports go down, never up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import entangle_lens

PACKAGE = Path(entangle_lens.__file__).parent
FLOORS = (
    {
        "csv_text",
        "directions",
        "errors",
        "paths",
        "published",
        "staging",
        "statistics",
        "stimuli",
        "text",
    },
    {"organisms", "models", "model_names", "running", "interventions", "export"},
    {"entanglement", "panel"},
    {"results", "cli", "__init__"},
)
MODEL_LIBRARIES = {"transformers", "transformer_lens", "tokenizers", "huggingface_hub"}
MODEL_ROOMS = {"models", "running", "organisms", "export"}
STATISTICS_MAY_USE = ("statistics", "errors", "text")
STATISTICS_MAY = {"numpy", "scipy", "statsmodels", "jaxtyping", "entangle_lens"}


def room_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def floor_of(room):
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def imports(source):
    """Return every imported module, dotted, inside functions too.

    ``from entangle_lens import models`` counts as ``entangle_lens.models``.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "entangle_lens":
                yield from (f"entangle_lens.{alias.name}" for alias in node.names)
            else:
                yield node.module


def room_named(module):
    """Return the room of an imported module; the package's public names live in ``__init__``."""
    name = module.split(".")[1] if "." in module else "__init__"
    return name if any(name in rooms for rooms in FLOORS) else "__init__"


def climbs(room, source):
    """Return the imports of a module in ``room`` that go up."""
    own = [name for name in imports(source) if name.split(".")[0] == "entangle_lens"]
    return [name for name in own if floor_of(room_named(name)) > floor_of(room)]


def dynamic_imports(source):
    """Return the lines that import by a string, which no reader of imports can follow."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and {getattr(node.func, "id", ""), getattr(node.func, "attr", "")}
        & {"import_module", "__import__"}
    ]


def libraries(source):
    return {name.split(".")[0] for name in imports(source)}


def prints(source):
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]


MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [path.relative_to(PACKAGE).as_posix() for path in MODULES]


def test_every_room_stands_on_one_floor():
    rooms = [room for floor in FLOORS for room in floor]
    assert sorted({room_of(path) for path in MODULES}) == sorted(rooms)


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_imports_go_down(path):
    source = path.read_text()
    assert climbs(room_of(path), source) == []
    assert room_of(path) == "__init__" or dynamic_imports(source) == []


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_only_the_rooms_that_run_models_name_their_libraries(path):
    named = libraries(path.read_text()) & MODEL_LIBRARIES
    assert room_of(path) in MODEL_ROOMS or not named


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_package_prints_nothing_and_knows_no_experiments(path):
    source = path.read_text()
    assert prints(source) == []
    assert not libraries(source) & {"experiments", "tests", "pickle"}


def test_statistics_knows_numpy_scipy_and_statsmodels_only():
    for path in (PACKAGE / "statistics").rglob("*.py"):
        source = path.read_text()
        assert libraries(source) <= STATISTICS_MAY | set(sys.stdlib_module_names)
        own = {name for name in imports(source) if name.startswith("entangle_lens")}
        assert all(
            name.startswith(tuple(f"entangle_lens.{room}" for room in STATISTICS_MAY_USE))
            for name in own
        )


def test_checks_notice_what_they_forbid():
    """The control: planted offences."""
    assert climbs("running", "def f():\n    from entangle_lens.results import report")
    assert climbs("statistics", "import entangle_lens.models")
    assert climbs("stimuli", "from entangle_lens import errors, interventions")
    assert climbs("entanglement", "import entangle_lens as el")
    assert climbs("entanglement", "from entangle_lens import load")
    assert climbs("models", "if TYPE_CHECKING:\n    from entangle_lens.entanglement import study")
    assert not climbs("results", "from entangle_lens.models import load")
    assert not climbs("stimuli", "from entangle_lens import errors, statistics")
    assert dynamic_imports("import importlib\nimportlib.import_module('entangle_lens.cli')") == [2]
    assert dynamic_imports("def f():\n    __import__('transformers')") == [2]
    assert not dynamic_imports("from importlib.metadata import version\nversion('numpy')")
    assert libraries("def f():\n    import transformers.utils") & MODEL_LIBRARIES
    assert prints("x = 1\nprint(x)") == [2]


@pytest.mark.parametrize(
    "module", ["entangle_lens", "entangle_lens.cli", "entangle_lens.statistics"]
)
def test_import_costs_no_torch(module):
    heavy = ("torch", "pandas", "statsmodels")
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    for name in entangle_lens.__all__:
        assert getattr(entangle_lens, name) is not None
    assert set(dir(entangle_lens)) == set(entangle_lens.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = entangle_lens.nonsense
