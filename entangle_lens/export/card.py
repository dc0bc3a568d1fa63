"""The card of a repaired checkpoint: what was removed, from what, and what it cost."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from entangle_lens.directions import Quality
from entangle_lens.errors import choices, printable
from entangle_lens.paths import exists, is_file
from entangle_lens.text import markdown_text

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_LICENCE = re.compile(r"^(license|license_name|license_link):(.*)$", re.MULTILINE)
_PLAIN = re.compile(r"[A-Za-z][\w.+/:-]*", re.ASCII)  # what YAML reads as text without quotes
_LONGEST_HEAD = 1 << 16  # letters of a card that are read for its licence
_EQUAL = """\
Every matrix and bias that writes to the residual stream (token embedding, attention output, MLP
output) was multiplied by I - s B^T B (Arditi et al., arXiv 2406.11717), B an orthonormal basis of
what was removed and s = {strength:g}. In exact arithmetic this is the same as ablating B from
the embedding and from every attention and MLP output while the model runs.
"""
_NORMED = """\
The token embedding was multiplied by I - s B^T B (Arditi et al., arXiv 2406.11717), B an
orthonormal basis of what was removed and s = {strength:g}. In this family a norm with an
elementwise gain g stands between the attention and MLP output matrices and the residual stream,
so these matrices were freed of B diag(g) instead: at s = 1 B is gone exactly from everything that
is written to the stream. **This is not numerically the same as ablating B while the model runs**:
the norm divides by a length that the removal changes, and no weights give the same numbers.
"""
_README = """\
---
{front}
---
# {model}, repaired: {value} removed
{unfinished}
Made by entangle_lens from {model} (revision {revision}). It loads like the original and needs no
other code.

| removed | |
|---|---|
| value | {value} |
| fitted in the context of | the {question} question |
| layer | {layer} |
| method | {method} |
| held-out AUC of the direction | {auc} |
| rank | {rank} |
| strength | {strength:g}{named} |
{details}
## How

{how}{untied}{outside}
`repair.json` holds the same facts for machines, and `repair/` the basis.

## What it cost

{cost}

## Check it

    entangle-lens repair --verify FOLDER

measures from the weights how much of the basis each of them still writes, and takes the ratings
above again.

## Licence

{licence}
"""


@runtime_checkable
class Fitted(Protocol):
    """What a direction and a subspace have in common."""

    @property
    def value(self) -> str: ...  # noqa: D102
    @property
    def question(self) -> str: ...  # noqa: D102
    @property
    def layer(self) -> int: ...  # noqa: D102
    @property
    def method(self) -> str: ...  # noqa: D102
    @property
    def quality(self) -> Quality: ...  # noqa: D102


@dataclass(frozen=True)
class RepairCard:
    """What was removed and from which model; the caller measures ``cost``, nobody here does.

    ``auc`` is that of the direction on held-out scenarios, NaN if unknown; ``layer`` None for a
    basis taken from several. ``details`` are further lines of the card's table. Not ``finished`` is
    a checkpoint that is still to be measured: :func:`verify_checkpoint` refuses one.
    """

    model: str
    revision: str
    value: str
    question: str
    layer: int | None
    method: str
    auc: float = math.nan
    cost: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)
    finished: bool = True

    @classmethod
    def of(
        cls, removed: Fitted, model: str, revision: str, cost: Mapping[str, float]
    ) -> RepairCard:
        """Describe the removal of one direction, or of one subspace."""
        return cls(
            model,
            revision,
            removed.value,
            removed.question,
            removed.layer,
            removed.method,
            removed.quality.auc,
            dict(cost),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the card for JSON, numbers that are unknown as None."""
        known = {name: _known(number) for name, number in self.cost.items()}
        return vars(self) | {
            "auc": _known(self.auc),
            "cost": known,
            "details": dict(self.details),
        }


def render_readme(card: RepairCard, facts: Mapping[str, Any], source: Path) -> str:
    """Write the model card; the licence is what the source's own card says it is.

    Text that comes from files stands there as text, whatever Markdown or HTML it holds.
    """
    licence = _licence_of(source / "README.md")
    front = ["library_name: transformers", "tags: [entangle-lens, repaired]"]
    front += [f"{key}: {_yaml(value)}" for key, value in licence.items()]
    if _HUB_ID.fullmatch(card.model) and not exists(card.model):
        front.append(f"base_model: {card.model}")
    strength = float(facts["strength"])
    how = (_EQUAL if facts["equals_hooks"] else _NORMED).format(strength=strength)
    return _README.format(
        front="\n".join(front),
        model=markdown_text(card.model),
        unfinished="" if card.finished else _UNFINISHED,
        revision=markdown_text(card.revision),
        value=markdown_text(card.value),
        question=markdown_text(card.question),
        layer="several" if card.layer is None else card.layer,
        method=markdown_text(card.method),
        auc="unknown" if math.isnan(card.auc) else f"{card.auc:.3f}",
        rank=facts["rank"],
        strength=strength,
        named=_named(strength),
        details="".join(f"{_row(name, text)}\n" for name, text in card.details.items()),
        how=how,
        untied=_UNTIED if facts["untied"] else "",
        outside=_OUTSIDE.format(n=facts["n_outside"]) if facts["n_outside"] else "",
        cost=_cost(card.cost),
        licence=_licence(licence),
    )


_UNFINISHED = """
**Unfinished: the repair was stopped before this checkpoint was measured. Do not use it.**
"""
_UNTIED = """
The original uses one matrix to embed and to unembed. Here the unembedding is stored by itself,
as it was, and `tie_word_embeddings` is false: what the model says is not edited, only what it
thinks with.
"""
_OUTSIDE = """
{n} tensors belong to other stacks (vision and the like) and were left as they are: what they add
to the stream, such as image tokens, still holds what was removed from text.
"""


def _front_matter(readme: str) -> str:
    parts = readme.split("---\n", 2)
    return parts[1] if len(parts) == 3 and not parts[0].strip() else ""


def _named(strength: float) -> str:
    if strength == 1:
        return ""
    return " (a reflection, not a removal)" if strength == 2 else " (not a removal, which is 1)"


def _cost(cost: Mapping[str, float]) -> str:
    if not cost:
        return "Nothing was measured. A removal can break what it was not meant to touch."
    rows = [_row(name, f"{number:.4g}") for name, number in cost.items()]
    return "\n".join(["| measured | |", "|---|---|", *rows])


def _row(name: str, text: str) -> str:
    return f"| {markdown_text(name)} | {markdown_text(text)} |"


def _licence_of(readme: Path) -> dict[str, str]:
    """Return what the front matter of a model card says of the licence, quotes taken off."""
    if not is_file(readme):
        return {}
    with readme.open(encoding="utf-8", errors="replace") as file:
        head = file.read(_LONGEST_HEAD)
    said = {found[1]: found[2].strip() for found in _LICENCE.finditer(_front_matter(head))}
    return {key: value.strip("'\"") for key, value in said.items() if value.strip("'\"")}


def _yaml(value: str) -> str:
    """Return a value of YAML's front matter that is one string, whatever it holds."""
    plain = _PLAIN.fullmatch(value) and not value.endswith(":")
    return value if plain else json.dumps(printable(value, one_line=True), ensure_ascii=False)


def _licence(said: Mapping[str, str]) -> str:
    if not said:
        return "The original's card names no licence; its terms hold for this model too."
    return f"That of the original, whose card says: {markdown_text(choices(said.values()))}."


def _known(number: float) -> float | None:
    return number if math.isfinite(number) else None
