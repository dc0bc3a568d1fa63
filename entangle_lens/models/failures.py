"""The many ways in which a checkpoint cannot be loaded, in one sentence each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from entangle_lens.errors import EntangleError
from entangle_lens.organisms.bundle import DEFAULT_ORGANISM
from entangle_lens.paths import is_folder

_NO_CONNECTION = {"ConnectError", "ConnectionError", "OfflineModeIsEnabled", "ConnectTimeout"}
_log = logging.getLogger(__name__)


@contextmanager
def in_one_sentence(name: str, source: str, what: str) -> Iterator[None]:
    """Turn whatever a library raises over ``what`` of a model into an :class:`EntangleError`.

    Broken and hostile files make the libraries behind raise almost any kind of error.
    """
    try:
        yield
    except EntangleError:
        raise
    except Exception as error:
        _log.debug("loading %s of %s failed", what, name, exc_info=error)
        raise EntangleError(_reason(error, source, name, what)) from error


def _reason(error: BaseException, source: str, name: str, what: str) -> str:
    causes = _causes(error)
    message = " ".join(str(error).split())
    if "trust_remote_code" in message:
        return (
            f"model {name!r} needs code that comes with its checkpoint, and remote code is never "
            "run unless asked for; read it, then load with trust_remote_code=True"
        )
    failed = f"the {what} of model {name!r} cannot be loaded ({_detail(error, message)})"
    if is_folder(source):
        return failed
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return f"model {name!r} is gated: accept its licence on the hub, then run 'hf auth login'"
    if any(isinstance(cause, RevisionNotFoundError) for cause in causes):
        return f"model {name!r} has no such revision on the hub"
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return f"model id {name!r} is not on the hub (or is private and you are not logged in)"
    offline = {type(cause).__name__ for cause in causes} & _NO_CONNECTION
    if offline or any(isinstance(cause, LocalEntryNotFoundError) for cause in causes):
        return (
            f"model {name!r} is not on this machine and the hub cannot be reached; give a local "
            f"folder, or {DEFAULT_ORGANISM}, which needs no network"
        )
    return failed


def _causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return causes


def _detail(error: BaseException, message: str) -> str:
    """Return what the library says, without pointing to a report that nobody sees."""
    if "above report" in message:
        return "they are not in the form that its config.json describes"
    return f"{type(error).__name__}: {message[:300]}" if message else type(error).__name__
