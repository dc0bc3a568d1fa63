"""The application that all commands hang on, and the options that several of them share."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

from entangle_lens.errors import printable

app = typer.Typer(
    name="entangle-lens",
    help="Measure value entanglement in language models, find where it lives, and repair it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

DEFAULT_MODEL = "organism:qwen3-entangled"
Model = Annotated[
    str,
    typer.Argument(help="Hub id, local model folder, or organism:NAME.", show_default=True),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, or balanced over all GPUs.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
RemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with the checkpoint.")
]


def in_options(text: str) -> str:
    """Write the arguments that a sentence of the library names as options of this command.

    ``item=...`` becomes ``--item``, ``allow_missing=True`` ``--allow-missing`` and
    ``missing_codes=(-99,)`` ``--missing-code -99``; names that are no option stay.
    """
    command = typer.main.get_command(app)
    for word in sys.argv[1:]:
        command = getattr(command, "commands", {}).get(word, command)
    options = {each.name: max(each.opts, key=len) for each in command.params}
    text = re.sub(r"\bhuman_columns=\{'(\w+)': \.\.\.\}", r"human_\1=...", text)

    def option(found: re.Match[str]) -> str:
        name, value = options.get(found[1]), found[2]
        if name is None:
            return found[0]
        if not value.startswith("("):
            return name
        codes = [each.strip() for each in value.strip("()").split(",") if each.strip()]
        return " ".join(f"{name} {code}" for code in codes or ["none"])

    return re.sub(r"\b([a-z_]+)=(\.\.\.|True|\([^()]*\))", option, text)


def say(text: str) -> None:
    """Print a line of a command's result, which may hold text of a file."""
    typer.echo(printable(text))
