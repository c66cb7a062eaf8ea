"""Messages into jobs and back: the native form on the wire (JSON), and job files for people (TOML). Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, time
from typing import Any, NoReturn

import msgspec

from agent import toml
from agent.errors import InvalidInput, JobError
from agent.model.job import API, Job, parse_job

MAX_BYTES = 4 * 1024**2
MAX_DEPTH = 64
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"


def decode(body: bytes, attributes: Mapping[str, str]) -> Job:
    """Return the job that a message is. `attributes` are the message's; the native form needs none of them.

    Raises JobError for everything that is no valid native job: wrong encoding, JSON that is broken, ambiguous
    (a key twice, NaN) or too large, no `api`, unknown keys, wrong values.
    """
    table = read_json(body)
    if "api" not in table:
        raise JobError('no "api" key: not a native job', hint=f'a native job says "api": "{API}"')
    return parse_job(table)


def describe(body: bytes, attributes: Mapping[str, str]) -> dict[str, Any]:
    """Return what becomes of a message: {"disposition", "reason", "form", "job"}.

    disposition "run" with the native job as plain data, or "dead-letter" with the reason and job None; form
    is None when the message does not say what it is.
    """
    try:
        job = decode(body, attributes)
    except JobError as error:
        return {"disposition": "dead-letter", "reason": str(error), "form": _form(body), "job": None}
    return {"disposition": "run", "reason": None, "form": "native", "job": plain(job)}


def _form(body: bytes) -> str | None:
    try:
        return "native" if "api" in read_json(body) else None
    except JobError:
        return None


def plain(job: Job) -> dict[str, Any]:
    """Return the job as plain data with `api`, keys that have their default value left out."""
    return {"api": API, **msgspec.to_builtins(job)}


def encode(job: Job) -> bytes:
    """Return the job as canonical JSON: UTF-8, keys sorted, no white space; `decode` gives an equal job."""
    return json.dumps(plain(job), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def read_json(body: bytes) -> dict[str, Any]:
    """Return the one JSON object in `body`, read strictly. Raises JobError saying what is wrong with it."""
    if len(body) > MAX_BYTES:
        raise JobError(f"a message of {len(body)} bytes", hint=f"at most {MAX_BYTES} bytes")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JobError(f"not UTF-8: byte {error.start} is 0x{body[error.start]:02x}") from None
    value = _parsed(text)
    if not isinstance(value, dict):
        raise JobError(f"a JSON {_json_kind(value)}, not an object", hint="a job is one JSON object")
    return value


def _parsed(text: str) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=_table, parse_constant=_refuse_constant, parse_float=_number)
        _check_depth(value)
        # A lone surrogate can be written as an escape but is no text: it could not be stored or sent on.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise JobError(f"not JSON: {error.msg}, line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise JobError(_TOO_DEEP) from None
    except UnicodeEncodeError:
        raise JobError("a text with half a surrogate pair") from None
    except ValueError as error:  # integers with thousands of digits
        raise JobError(f"not JSON that can be read: {error}") from None
    return value


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise JobError(f'the key "{key}" is there twice')
        table[key] = value
    return table


def _refuse_constant(text: str) -> NoReturn:
    raise JobError(f"{text} is not a JSON number")


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise JobError(f"the number {text} is too large")
    return number


def _check_depth(value: Any, levels: int = MAX_DEPTH) -> None:
    if not isinstance(value, (dict, list)):
        return
    if levels == 0:
        raise JobError(_TOO_DEEP)
    for below in value.values() if isinstance(value, dict) else value:
        _check_depth(below, levels - 1)


def _json_kind(value: Any) -> str:
    kinds = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return kinds.get(type(value), "null")


def read_job_file(text: str, source: str) -> Job:
    """Return the job that a TOML file describes. Raises JobError with `source` (the file's name) and line."""
    try:
        document = toml.parse(text, source)
    except InvalidInput as error:
        raise JobError(error.what, source=error.source, hint=error.hint) from None
    for path, value in toml.leaves(document.table):
        if isinstance(value, float) and not math.isfinite(value):
            raise JobError(f"{path} = {value}", source=f"{source}:{document.lines[path]}", hint="a finite number")
    try:
        return parse_job(_dates_as_text(document.table))
    except JobError as error:
        line = document.lines.get(_key_of(error.what, document))
        raise error.from_source(f"{source}:{line}" if line else source) from None


def _key_of(what: str, document: toml.Document) -> str:
    """Return the key that an error is about: it begins with the key, or quotes the value."""
    key = toml.blamed(what, document.lines)
    quoted = (path for path, value in toml.leaves(document.table) if isinstance(value, str) and f'"{value}"' in what)
    return key or next(quoted, "")


def _dates_as_text(value: Any) -> Any:
    """TOML has dates, JSON has not: `expires = 2030-01-01T00:00:00Z` is the same with and without quotes."""
    if isinstance(value, dict):
        return {key: _dates_as_text(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_dates_as_text(below) for below in value]
    return value.isoformat() if isinstance(value, (date, time)) else value
