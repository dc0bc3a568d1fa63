"""The process in which chat templates are rendered, seen from this side.

It runs ``template_program.py``, is started when it is first needed, and answers one request after
the other. A request that takes too long ends it; the next one starts another.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from entangle_lens.errors import EntangleError
from entangle_lens.running import template_program

SECONDS, MEMORY = 10, 1 << 30  # what a request may take
LETTERS = 1 << 20  # what a prompt may have
_START_SECONDS = 120
_BOUNDS = f"{SECONDS} seconds, {MEMORY >> 30} GiB of memory and {LETTERS} letters per prompt"


class OutOfBoundsError(EntangleError):
    """A template took more than it may, so it is not tried again in another way."""


def ask(request: dict[str, Any]) -> dict[str, Any]:
    """Have some chats rendered, and return the program's reply.

    Raises:
        OutOfBoundsError: no reply in time, or the process came to its end over it.
    """
    return _PROCESS.ask(request)


class _Process:
    """The process that renders, started when it is first needed and ended with this one."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[str] | None = None
        self._of = 0
        self._lock = threading.Lock()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the reply, see :func:`ask`."""
        with self._lock:
            process = self._started()
            try:
                process.stdin.write(json.dumps(request) + "\n")  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
                line = _line_of(process, SECONDS)
            except OSError:
                line = ""
            except BaseException:  # interrupted: a late reply must not answer the next request
                self.end()
                raise
            if not line:
                self.end()
                raise OutOfBoundsError(
                    f"the chat template takes more than it may ({_BOUNDS}); it cannot be used"
                )
        reply: dict[str, Any] = json.loads(line)
        return reply

    def end(self) -> None:
        """End the process, if this is the one that started it."""
        if self._running is not None and self._of == os.getpid():
            self._running.kill()
            self._running.communicate()
        self._running = None

    def _started(self) -> subprocess.Popen[str]:
        if self._of != os.getpid() or (self._running and self._running.poll() is not None):
            self._running = None
        if self._running is None:
            self._running, self._of = _start(), os.getpid()
        return self._running


def _start() -> subprocess.Popen[str]:
    """Start the program with this process's packages, and without importing this one's."""
    program = str(Path(template_program.__file__))
    code = (
        f"import sys; sys.path[:] = {[str(each) for each in sys.path]!r}; import runpy; "
        f"runpy.run_path({program!r}, run_name='__main__')"
    )
    try:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", code, str(MEMORY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="ascii",
            start_new_session=True,  # Ctrl-C is for this process
        )
    except OSError as error:
        raise EntangleError(
            f"no process can be started to render the chat template ({error})"
        ) from error
    if _line_of(process, _START_SECONDS).strip() != template_program.READY:
        process.kill()
        process.communicate()
        raise EntangleError("the process that renders chat templates does not start")
    return process


def _line_of(process: subprocess.Popen[str], seconds: int) -> str:
    """Read a line of a process's output; nothing where it ends before, or has to be ended."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        return process.stdout.readline()  # type: ignore[union-attr]
    finally:
        timer.cancel()


_PROCESS = _Process()
atexit.register(_PROCESS.end)
