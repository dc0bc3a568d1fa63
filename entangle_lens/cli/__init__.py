"""The command line: arguments in, the library called, paths and verdicts out.

Everything heavy is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import typer

from entangle_lens.cli import measure, multiverse, organism, ratings, repair, stimuli
from entangle_lens.cli.app import app, in_options
from entangle_lens.cli.checks import check_words
from entangle_lens.errors import EntangleError, printable
from entangle_lens.staging import failure_to_write, shown_path

__all__ = ["app", "main", "measure", "multiverse", "organism", "ratings", "repair", "stimuli"]

# Click's UsageError, of whichever click this typer carries.
_UsageError: Any = typer.BadParameter.__base__
_STOPPED = 128  # and the number of the signal: what a shell calls the exit code


class Stopped(BaseException):
    """Say which signal has asked the command to stop; nothing on the way takes it for its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = _STOPPED + number


def main() -> None:
    """Run the command line; a user's error is one sentence and exit code 2."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        with _stopping():
            check_words(sys.argv[1:])
            code = app(standalone_mode=False)
    except EntangleError as error:
        _refuse(in_options(str(error)))
    except _UsageError as error:
        _refuse(printable(error.format_message()))
    except OSError as error:  # such as a disk that is full, or a file that went away
        name = f"{shown_path(error.filename)}: " if error.filename else ""
        _refuse(f"{name}{failure_to_write(error)}")
    except (typer.Abort, KeyboardInterrupt, Stopped) as stopped:
        _stop(stopped)
    sys.exit(code)


@contextmanager
def _stopping() -> Iterator[None]:
    """Turn the signals that ask to stop into an exception, so that what is half done is removed."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Stopped(number)

    wanted = [signal.SIGINT, signal.SIGTERM]
    if threading.current_thread() is not threading.main_thread():
        wanted = []  # other threads get no signals
    signals = [each for each in wanted if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, stop) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _stop(stopped: BaseException) -> NoReturn:
    kept = getattr(stopped, "__notes__", None) or ["nothing was written"]
    typer.echo(f"entangle-lens: stopped; {'; '.join(kept)}", err=True)
    sys.exit(getattr(stopped, "exit_code", _STOPPED + signal.SIGINT))


def _refuse(message: str) -> NoReturn:
    shown = message if message.startswith("Usage: ") else f"entangle-lens: {message}"
    typer.echo(shown, err=True)
    sys.exit(2)
