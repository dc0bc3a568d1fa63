"""The program that renders chat templates, run as a process of its own by ``rendering.py``.

A chat template comes with a checkpoint, so it may loop for ever or take all memory, and no way of
stopping it from inside its own process stops all of them. This process has little memory, knows
nothing but what it is sent, imports nothing but jinja2, and can be ended at any time.

Every line of its input is a request in JSON, every line of its output the reply.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

READY = "ready"


class _Generation(Extension):
    """The tag that marks what the assistant wrote; for a prompt it only holds its content."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _PublicNamespace(Namespace):
    """A namespace without the names by which Python's own machinery could be reached."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(f"the name {name!r} begins with an underscore")
        super().__setitem__(name, value)


def _namespace(*args: Any, **values: Any) -> _PublicNamespace:
    made = _PublicNamespace()
    for name, value in dict(*args, **values).items():
        made[name] = value
    return made


def _tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _raise_exception(message: Any) -> None:
    raise TemplateError(str(message))


@lru_cache(maxsize=16)
def _compiled(source: str) -> Any:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _raise_exception, "namespace": _namespace}
    return environment.from_string(source)


def _rendered(request: dict[str, Any]) -> dict[str, Any]:
    """Render every chat of a request; say whether the template asked what day it is."""
    template = _compiled(request["template"])
    today = datetime.fromisoformat(request["date"])
    asked: list[str] = []

    def strftime_now(form: str) -> str:
        asked.append(form)
        return today.strftime(form)

    texts = []
    for messages in request["chats"]:
        pieces, size = [], 0
        variables = {**request["variables"], "messages": messages, "strftime_now": strftime_now}
        for piece in template.generate(variables):
            pieces.append(piece)
            size += len(piece)
            if size > request["longest"]:
                raise TemplateError(f"it writes more than {request['longest']} letters")
        texts.append("".join(pieces))
    return {"texts": texts, "dated": bool(asked)}


def _bound_memory(n_bytes: int) -> None:
    with suppress(ImportError, ValueError, OSError):  # a system without such limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))


def main(n_bytes: int) -> None:
    """Answer requests until there are no more."""
    _bound_memory(n_bytes)
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        try:
            reply = _rendered(json.loads(line))
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"[:300]}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
