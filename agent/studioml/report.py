"""Reports: what runners tell clients of their experiments, in the JSON form of a protocol buffer `Report`. Pure.

    {"time", "experimentId", "uniqueId", "executorId", "logging": {"time", "severity", "message", "fields"}}
    {"time", "experimentId", "uniqueId", "executorId", "progress": {"time", "json", "state", "error": {"msg", "code"}}}

Times are seconds since the epoch here, and RFC 3339 in reports. What is zero is left out, as that form wants it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Literal, NamedTuple

Report = dict[str, Any]
Severity = Literal["Trace", "Debug", "Info", "Warning", "Error", "Fatal"]

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CODES = range(-(2**31), 2**31)  # an int32


class Identity(NamedTuple):
    """What a report is about: the key of the experiment, the name of this attempt (`accession`), this host."""

    experiment: str
    unique: str
    executor: str


def accession(host: str, at: float) -> str:
    """Return a name for an attempt on the host; names of later seconds are sorted behind it."""
    number, digits = int(at), ""
    while number > 0:
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return f"{host}-{digits or '0'}"


def scanning(executor: str, now: float, queue: str) -> Report:
    """Report that a host looks for experiments on the queue; no experiment is named."""
    entry = _entry(now, "Debug", "scanning queue", {"queue_name": queue})
    return {"time": rfc3339(now), "executorId": _text(executor), "logging": entry}


def started(about: Identity, now: float) -> Report:
    """Report that the experiment runs."""
    return _progress(about, now, state="Started")


def log(
    about: Identity, now: float, severity: Severity, message: str, fields: Mapping[str, str] | None = None
) -> Report:
    """Report a line: of what the experiment printed, or of what happened to it."""
    return {**_head(about, now), "logging": _entry(now, severity, message, fields or {})}


def progress(about: Identity, now: float, json_text: str) -> Report:
    """Report JSON that the experiment printed."""
    return _progress(about, now, json=_text(json_text), state="Started")


def success(about: Identity, now: float) -> Report:
    """Report that the experiment ended well."""
    return _progress(about, now, state="Success")


def failed(about: Identity, now: float, why: str, exit_code: int | None) -> Report:
    """Report that the experiment ended otherwise, or never ran."""
    error: dict[str, Any] = {"msg": _text(why)}
    if exit_code and exit_code in _CODES:
        error["code"] = exit_code
    return _progress(about, now, state="Failed", error=error)


def rfc3339(at: float) -> str:
    """Return the time as reports have it."""
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _progress(about: Identity, now: float, **parts: Any) -> Report:
    return {**_head(about, now), "progress": {"time": rfc3339(now), **parts}}


def _entry(now: float, severity: Severity, message: str, fields: Mapping[str, str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"time": rfc3339(now), "severity": severity, "message": _text(message)}
    if fields:
        entry["fields"] = {key: _text(value) for key, value in fields.items()}
    return entry


def _head(about: Identity, now: float) -> Report:
    return {
        "time": rfc3339(now),
        "experimentId": _text(about.experiment),
        "uniqueId": _text(about.unique),
        "executorId": _text(about.executor),
    }


def _text(text: str) -> str:
    """Return the text without halves of surrogate pairs, which readers refuse with the whole report."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
