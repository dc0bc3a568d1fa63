"""Where the bundled organisms lie."""

from __future__ import annotations

from pathlib import Path

from entangle_lens.errors import EntangleError, choices

_DATA = Path(__file__).parent.parent / "data" / "organisms"
ORGANISM_PREFIX = "organism:"
DEFAULT_ORGANISM = "organism:qwen3-entangled"


def bundled_organisms() -> list[str]:
    """Return the names of the organisms that ship with the package."""
    return sorted(path.parent.name for path in _DATA.glob("*/config.json"))


def organism_folder(name: str) -> Path:
    """Return the checkpoint folder of a bundled organism."""
    folder = _DATA / name
    if not (folder / "config.json").is_file():
        raise EntangleError(
            f"organism {name!r} is not bundled; the bundled organisms are "
            f"{choices(bundled_organisms())}"
        )
    return folder
