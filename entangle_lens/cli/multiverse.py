"""``entangle-lens multiverse``: the headline of a run under every reasonable choice."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from entangle_lens.cli.app import app, say
from entangle_lens.cli.checks import check_seed
from entangle_lens.results.run_files import MULTIVERSE, read_manifest
from entangle_lens.results.staging import ROOM
from entangle_lens.staging import claim


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
    check_seed(seed)
    read_manifest(run)
    folder = out or run / MULTIVERSE
    with claim(folder, n_bytes=ROOM):
        from entangle_lens.results.multiverse import multiverse as explore

        found = explore(run, seed=seed)
        say(str(found))
        say(f"\nreport: {found.save(folder)}")
