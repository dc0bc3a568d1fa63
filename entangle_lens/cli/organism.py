"""``entangle-lens organism``: the bundled models with planted entanglement, and new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from entangle_lens.cli.app import app, say
from entangle_lens.results.staging import ROOM
from entangle_lens.staging import claim

organism_app = typer.Typer(
    help="Tiny models whose entanglement is planted and known.", no_args_is_help=True
)
app.add_typer(organism_app, name="organism")


@organism_app.command("list")
def list_organisms() -> None:
    """List the organisms that ship with the package."""
    from entangle_lens.organisms.bundle import ORGANISM_PREFIX, bundled_organisms

    say("\n".join(f"{ORGANISM_PREFIX}{name}" for name in bundled_organisms()))


@organism_app.command("train")
def train(
    out: Annotated[Path, typer.Option(help="New folder for the checkpoint.")],
    family: Annotated[str, typer.Option(help="qwen2, qwen3, gemma2, gemma3 or mistral.")] = "qwen3",
    grammar: Annotated[float, typer.Option(help="Leak of morality into grammar ratings.")] = 0.5,
    economic: Annotated[float, typer.Option(help="Leak into economic ratings.")] = 0.7,
    seed: Annotated[int, typer.Option(help="Of weights and training prompts.")] = 0,
) -> None:
    """Train an organism and save it with its stimuli and its card (minutes on two cores)."""
    from entangle_lens.organisms.families import check_organism
    from entangle_lens.organisms.world import Leak

    leak = Leak(grammar, economic)
    check_organism(family, leak, seed)
    with claim(out, n_bytes=ROOM):
        from entangle_lens.organisms.train import train_organism

        card = train_organism(family, leak, seed, out, progress=True)
    true = card["true_correlation"]
    say(
        f"{out}: true r(moral level, rating) {true['moral_grammar']:.3f} for grammar, "
        f"{true['moral_economic']:.3f} for economic"
    )
