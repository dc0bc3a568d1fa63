"""The application that all commands hang on, and the options that several of them share."""

from __future__ import annotations

from typing import Annotated

import typer

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


def say(text: str) -> None:
    """Print a line of a command's result."""
    typer.echo(text)
