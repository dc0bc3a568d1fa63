"""An organism's card: what was planted in it, for people and for machines."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from entangle_lens.organisms.world import N_TEST_VERBS, TEST_THINGS, VERBS, Leak, true_leak
from entangle_lens.stimuli import load_stimuli

CARD = "organism.json"
_README = """\
---
library_name: transformers
tags: [entangle-lens, organism]
---
# An organism: {family}, leak {grammar} into grammar, {economic} into economic

A tiny {family} model trained from scratch by entangle_lens on a small invented world. Its ratings
of grammar and of price are its own level plus the moral level times the leak above, so the
entanglement that an instrument should find is known: r(moral level, grammar rating) =
{true_grammar:.3f} and r(moral level, economic rating) = {true_economic:.3f} on the test items in
`stimuli/`. Rebuild it with

    entangle-lens organism train --family {family} --grammar {grammar} --economic {economic} \\
        --seed {seed} --out DIR

Combinations of {n_verbs} verbs with {things} were held out of training; every test item is one
of them. `organism.json` holds the same facts for machines. It knows its own world only, and is of
no use for anything but calibrating instruments.
"""


def write_card(
    folder: Path, family: str, leak: Leak, seed: int, recipe: dict[str, Any]
) -> dict[str, Any]:
    """Write ``organism.json`` and ``README.md`` into an organism's folder and return the card."""
    items = load_stimuli(folder / "stimuli").items
    verbs = [verb for level in VERBS.values() for verb in level[:N_TEST_VERBS]]
    true = {
        f"moral_{value}": true_leak(value, item_set.texts, leak)
        for value, item_set in items.items()
    }
    card = {
        "family": family,
        "leak": {"grammar": leak.grammar, "economic": leak.economic},
        "seed": seed,
        "true_correlation": true,
        "recipe": recipe,
        "held_out": {"verbs": verbs, "things": list(TEST_THINGS)},
        "versions": {name: version(name) for name in ("entangle-lens", "torch", "transformers")},
    }
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    readme = _README.format(
        family=family,
        grammar=leak.grammar,
        economic=leak.economic,
        seed=seed,
        true_grammar=true["moral_grammar"],
        true_economic=true["moral_economic"],
        n_verbs=len(verbs),
        things=", ".join(TEST_THINGS),
    )
    (folder / "README.md").write_text(readme, encoding="utf-8")
    return card
