"""``entangle-lens stimuli``: stimulus tables looked at."""

from __future__ import annotations

from typing import Annotated

import typer

from entangle_lens.cli.app import app, say
from entangle_lens.errors import EntangleError, printable

stimuli_app = typer.Typer(help="Look at stimulus tables.", no_args_is_help=True)
app.add_typer(stimuli_app, name="stimuli")


@stimuli_app.command("check")
def check_stimuli(
    folder: Annotated[str, typer.Argument(help="A folder of tables, or a bundled name.")],
) -> None:
    """Say precisely what is wrong with a stimulus folder, and how far its levels go together."""
    from entangle_lens.stimuli import check_stimuli as check
    from entangle_lens.stimuli import describe_design, design_warnings, load_stimuli
    from entangle_lens.text import count_text

    problems = check(folder)
    for problem in problems:
        typer.echo(str(problem), err=True)
    if problems:
        found = count_text(len(problems), "problem")
        raise EntangleError(f"stimuli {folder!r} have {found}, listed above")
    loaded = load_stimuli(folder)
    for line in describe_design(loaded):
        say(line)
    for warning in design_warnings(loaded):
        typer.echo(f"warning: {warning}", err=True)
    n_pairs = sum(map(len, loaded.contrasts.values()))
    say(
        f"{printable(folder, one_line=True)}: sound ({count_text(n_pairs, 'contrast pair')}, "
        f"{count_text(len(loaded.questions), 'question')}; sha256 {loaded.digest[:16]})"
    )
