"""JSON of ratings: a list of records, columns, or one record per line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd

from entangle_lens.errors import EntangleError
from entangle_lens.panel.reading import shown


def json_rows(text: str, source: str) -> pd.DataFrame:
    """Return the rows of a JSON text: records, or columns; one record per line is read too.

    Records are numbered from 1.

    Raises:
        EntangleError: text that is not JSON, or JSON of another form.
    """
    try:
        value = _parsed(text, source)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return json_line_rows(text, source)
        raise EntangleError(
            f"{source!r} line {error.lineno} is not JSON ({error.msg}, letter {error.colno})"
        ) from None
    if isinstance(value, dict):
        value = _records_of_columns(value, source)
    if not isinstance(value, list):
        raise _of_no_form(source)
    return _frame(dict(enumerate(value, start=1)), source)


def json_line_rows(text: str, source: str) -> pd.DataFrame:
    """Return the rows of a text with one JSON record per line, numbered by their lines.

    Raises:
        EntangleError: a line that is not a JSON object.
    """
    numbered: dict[int, Any] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            numbered[number] = _parsed(line, f"{source!r} row {number}")
        except json.JSONDecodeError as error:
            raise EntangleError(
                f"{source!r} row {number} is not JSON ({error.msg}, letter {error.colno})"
            ) from None
    return _frame(numbered, source)


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_repeats(where))
    except RecursionError:
        raise EntangleError(f"{where} is nested too deeply") from None


def _without_repeats(where: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def record(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        known: dict[str, Any] = {}
        for name, value in pairs:
            if name in known:
                raise EntangleError(f"{where} names {shown(name)} twice in one object")
            known[name] = value
        return known

    return record


def _records_of_columns(columns: dict[str, Any], source: str) -> list[dict[str, Any]]:
    """Return the records of columns: lists of one length, or objects with the same keys."""
    if all(isinstance(each, dict) for each in columns.values()):
        keys = {tuple(each) for each in columns.values()}
        columns = {name: list(each.values()) for name, each in columns.items()}
    else:
        keys = set()
    lists = [each for each in columns.values() if isinstance(each, list)]
    if len(lists) < len(columns) or len({len(each) for each in lists}) > 1 or len(keys) > 1:
        raise _of_no_form(source)
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*lists, strict=True)]


def _frame(records: dict[int, Any], source: str) -> pd.DataFrame:
    for number, record in records.items():
        if not isinstance(record, dict):
            raise EntangleError(f"{source!r} row {number} is not a JSON object, {{...}}")
    return pd.DataFrame(list(records.values()), index=list(records), dtype=object)


def _of_no_form(source: str) -> EntangleError:
    return EntangleError(
        f'{source!r} holds neither a list of records, [{{"item": ...}}, ...], nor columns of one '
        'length, {"item": [...], ...}'
    )
