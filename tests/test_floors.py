"""The floors of the house, read from the imports with ``ast``: imports go down, never up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import entangle_lens

PACKAGE = Path(entangle_lens.__file__).parent
FLOORS = (
    {"errors", "published", "statistics", "stimuli", "directions"},
    {"organisms", "models", "running", "interventions"},
    {"entanglement"},
    {"results", "cli", "__init__"},
)
MODEL_LIBRARIES = {"transformers", "transformer_lens", "tokenizers", "huggingface_hub"}
MODEL_ROOMS = {"models", "running", "organisms"}
STATISTICS_MAY = {"numpy", "scipy", "jaxtyping", "entangle_lens"}


def room_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def floor_of(room):
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def imports(source):
    """Return every imported module, dotted, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module


def climbs(room, source):
    """Return the imports of a module in ``room`` that go up."""
    own = [name.split(".") for name in imports(source) if name.startswith("entangle_lens.")]
    return [".".join(name) for name in own if floor_of(name[1]) > floor_of(room)]


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


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_imports_go_down(path):
    assert climbs(room_of(path), path.read_text()) == []


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_only_the_rooms_that_run_models_name_their_libraries(path):
    named = libraries(path.read_text()) & MODEL_LIBRARIES
    assert room_of(path) in MODEL_ROOMS or not named


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_package_prints_nothing_and_knows_no_experiments(path):
    source = path.read_text()
    assert prints(source) == []
    assert not libraries(source) & {"experiments", "tests", "pickle"}


def test_statistics_knows_numpy_and_scipy_only():
    for path in (PACKAGE / "statistics").rglob("*.py"):
        source = path.read_text()
        assert libraries(source) <= STATISTICS_MAY | set(sys.stdlib_module_names)
        own = {name for name in imports(source) if name.startswith("entangle_lens")}
        assert all(
            name.startswith(("entangle_lens.statistics", "entangle_lens.errors")) for name in own
        )


def test_checks_notice_what_they_forbid():
    """The control: planted offences."""
    assert climbs("running", "def f():\n    from entangle_lens.results import report")
    assert climbs("statistics", "import entangle_lens.models")
    assert not climbs("results", "from entangle_lens.models import load")
    assert libraries("def f():\n    import transformers.utils") & MODEL_LIBRARIES
    assert prints("x = 1\nprint(x)") == [2]


@pytest.mark.parametrize("module", ["entangle_lens", "entangle_lens.cli"])
def test_import_costs_no_torch(module):
    code = f"import sys, {module}; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    for name in entangle_lens.__all__:
        assert getattr(entangle_lens, name) is not None
    assert set(dir(entangle_lens)) == set(entangle_lens.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = entangle_lens.nonsense
