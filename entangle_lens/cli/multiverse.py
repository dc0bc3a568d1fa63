"""``entangle-lens multiverse``: the headline of a run under every reasonable choice."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from entangle_lens.cli.app import app, say


@app.command()
def multiverse(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A folder that entangle-lens run has written.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="New or empty folder; by default multiverse/ in the run folder."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of resamples and permutations.")] = 0,
) -> None:
    """Compute the headline of RUN under every reasonable choice; no model is needed.

    The choices are layer rule, position, centring, prompts, scaling, items or scenario means,
    kind of correlation and covariate. Writes the specification curves, the table of all universes
    and a summary.
    """
    from entangle_lens.results.multiverse import multiverse as explore
    from entangle_lens.results.multiverse_folder import FOLDER, check_multiverse_folder

    folder = out or run / FOLDER
    check_multiverse_folder(folder)
    found = explore(run, seed=seed)
    say(str(found))
    say(f"\nreport: {found.save(folder)}")
