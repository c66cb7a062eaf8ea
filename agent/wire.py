"""Messages into jobs and back: every form on the wire (JSON), and job files for people (TOML). Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

import msgspec

from agent import toml
from agent.errors import Dropped, InvalidInput, JobError
from agent.jsontext import MAX_BYTES as MAX_BYTES
from agent.jsontext import read_object
from agent.model.cargo import Decoded
from agent.model.job import API, Job, parse_job
from agent.model.units import parse_duration
from agent.signing import UNJUDGED, Signing, is_signed, opened, refuse_unsigned
from agent.studioml import request
from agent.studioml.reading import ANYWHERE, Reading


def decode(body: bytes, attributes: Mapping[str, str], submitted_at: float, reading: Reading) -> Decoded:
    """Return the job that a message of any form is, with what it brings along.

    `submitted_at`: seconds since the epoch, by the queue's clock. Raises JobError for a message that nobody can run;
    Dropped, a kind of it, where its form wants no dead letter.
    """
    if request.is_request(body):
        return request.decode(body, reading)
    job, signer = _native(body, reading.signing)
    lifetime = lifetime_of(job)
    return Decoded(job, expires_at=None if lifetime is None else submitted_at + lifetime, signer=signer)


def lifetime_of(job: Job) -> float | None:
    """Return the seconds after its submission at which the job expires; None = never. Raises JobError.

    An end given as a date counts from the job's own `submitted_at`, both by the submitter's clock, so that the age by
    the server's clock decides and no host's.
    """
    if job.expires is None:
        return None
    try:
        return parse_duration(job.expires)
    except InvalidInput:
        pass
    try:
        end, start = _date(job.expires), _date(job.submitted_at or "")
    except ValueError:
        hint = 'a duration such as "36h", or two dates such as 2026-05-01T12:00:00Z in expires and submitted_at'
        raise JobError(f'expires = "{job.expires}"', hint=hint) from None
    return (end - start).total_seconds()


def _date(text: str) -> datetime:
    date = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if date.tzinfo is None:
        raise ValueError(f"{text} does not say in which time zone")
    return date


def decode_native(body: bytes, attributes: Mapping[str, str]) -> Job:
    """Return the job that a native message is, whoever signed it: to be looked at, not to be run.

    `attributes` are the message's; this form needs none of them. Raises JobError for everything that is no valid native
    job: wrong encoding, JSON that is broken, ambiguous (a key twice, NaN) or too large, no `api`, unknown keys, wrong
    values.
    """
    return _native(body, UNJUDGED)[0]


def _native(body: bytes, signing: Signing) -> tuple[Job, str | None]:
    """Return the job, and who signed it."""
    table = _table(body)
    if not is_signed(table):
        refuse_unsigned(signing)
        return parse_job(_without_name(table)), None
    payload, signer = opened(table, signing)
    inner = _table(payload)
    if is_signed(inner):
        raise JobError("a signed job inside a signed job", hint="the payload is the job itself")
    return parse_job(inner), signer


def _without_name(table: dict[str, Any]) -> dict[str, Any]:
    """The name of the submitter goes with a job for the sake of fair turns, and is no part of it."""
    if not isinstance(table.get("by", ""), str):
        raise JobError(f"by = {table['by']}: not a text", hint="the name of whoever submits the job, or leave it out")
    return {key: value for key, value in table.items() if key != "by"}


def _table(body: bytes) -> dict[str, Any]:
    table = read_object(body)
    if "api" not in table:
        raise JobError('no "api" key: not a native job', hint=f'a native job says "api": "{API}"')
    return table


def describe(
    body: bytes, attributes: Mapping[str, str], reading: Reading = ANYWHERE, keeps_dead: bool | None = None
) -> dict[str, Any]:
    """Return what becomes of a message: {"disposition", "reason", "form", "job"}, and "signer" of a signed native job.

    disposition "run" with the job in its native form as plain data, else "drop" or "dead-letter" with the reason and
    job None; form is None when the message does not say what it is. signer: {"name", "verified"}, as the message says
    it, and whether that was found true. keeps_dead: whether its queue keeps dead letters, None = as queues of its form
    do.
    """
    form = form_of(body)
    try:
        decoded = decode(body, attributes, 0.0, reading)
    except JobError as error:
        kept = (form == "native" if keeps_dead is None else keeps_dead) and not isinstance(error, Dropped)
        return {"disposition": "dead-letter" if kept else "drop", "reason": str(error), "form": form, "job": None}
    answer = {"disposition": "run", "reason": None, "form": form, "job": plain(decoded.job)}
    if decoded.signer is None:
        return answer
    return {**answer, "signer": {"name": decoded.signer, "verified": reading.signing.judged}}


def form_of(body: bytes) -> str | None:
    """Return the form that a message says it has, "native" or "studioml"; None where it does not say."""
    if request.is_request(body):
        return "studioml"
    return "native" if b'"api"' in body else None


def plain(job: Job) -> dict[str, Any]:
    """Return the job as plain data with `api`, keys that have their default value left out."""
    return {"api": API, **msgspec.to_builtins(job)}


def encode(job: Job, by: str | None = None) -> bytes:
    """Return the job as canonical JSON: UTF-8, keys sorted, no white space; `decode` gives an equal job.

    by: the name of whoever submits it, for fair turns.
    """
    table = plain(job) if by is None else {**plain(job), "by": by}
    return json.dumps(table, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


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
