"""``entangle-lens stimuli``: stimulus tables looked at."""

from __future__ import annotations

from typing import Annotated

import typer

from entangle_lens.cli.app import app, say
from entangle_lens.errors import EntangleError

stimuli_app = typer.Typer(help="Look at stimulus tables.", no_args_is_help=True)
app.add_typer(stimuli_app, name="stimuli")


@stimuli_app.command("check")
def check_stimuli(
    folder: Annotated[str, typer.Argument(help="A folder of tables, or a bundled name.")],
) -> None:
    """Say precisely what is wrong with a stimulus folder, row and column."""
    from entangle_lens.stimuli import check_stimuli as check
    from entangle_lens.stimuli import load_stimuli

    problems = check(folder)
    for problem in problems:
        typer.echo(str(problem), err=True)
    if problems:
        counted = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise EntangleError(f"stimuli {folder!r} have {counted}, listed above")
    loaded = load_stimuli(folder)
    sizes = ", ".join(
        f"{len(each)} {name}"
        for name, each in (
            ("items", [item for items in loaded.items.values() for item in items.texts]),
            ("contrast pairs", [t for c in loaded.contrasts.values() for t in c.positive]),
            ("questions", loaded.questions),
        )
    )
    say(f"{folder}: sound ({sizes}; sha256 {loaded.digest[:16]})")
