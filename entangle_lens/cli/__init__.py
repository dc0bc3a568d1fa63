"""The command line: arguments in, the library called, paths and verdicts out.

Everything heavy is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from entangle_lens.cli import measure, multiverse, organism, ratings, repair, stimuli
from entangle_lens.cli.app import app, in_options
from entangle_lens.errors import EntangleError, printable

__all__ = ["app", "main", "measure", "multiverse", "organism", "ratings", "repair", "stimuli"]

# Click's UsageError, of whichever click this typer carries.
_UsageError: Any = typer.BadParameter.__base__


def main() -> None:
    """Run the command line; a user's error is one sentence and exit code 2."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        sys.exit(app(standalone_mode=False))
    except EntangleError as error:
        _refuse(in_options(str(error)))
    except _UsageError as error:
        _refuse(printable(error.format_message()))
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("entangle-lens: stopped; nothing was written", err=True)
        sys.exit(130)


def _refuse(message: str) -> None:
    shown = message if message.startswith("Usage: ") else f"entangle-lens: {message}"
    typer.echo(shown, err=True)
    sys.exit(2)
