"""What the holder is told and answers: one JSON object per line on a Unix stream socket, answered in order.

{"op": "ping"}                 {"ok": true, "version": 1, "pid": 4711, "waiters": 2}
{"op": "start", "spec": {..}}  {"ok": true, "started": true}     false: this attempt is known already
{"op": "list"}                 {"ok": true, "waiters": [{"attempt": "..", "pid": .., "starttime": ..}]}
{"op": "end", "why": ".."}     {"ok": true, "stopping": 2}       the holder exits when no job is left
anything else                  {"ok": false, "error": "what is wrong, and what would be right"}
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import struct
from collections import namedtuple

from agent.supervisor.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

VERSION = 1
NO_LIMITS = Limits()
SOCKET = "holder.sock"
HOLDER_LOCK = "holder.lock"
ATTEMPTS = "attempts"
LINE_LIMIT_BYTES = 4 << 20
IDENTIFIER = "1 to 128 letters, digits and . _ -, not first a dot"
_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class BadRequest(ValueError):
    """A request or spec that means nothing; the text is the answer's `error`."""


class Spec(
    namedtuple(
        "Spec",
        "attempt directory argv env cwd log_limit_bytes timeout_s grace_s"
        " cgroup rlimits oom_score_adj memory_bytes marker limits",
        defaults=(NO_LIMITS,),
    )
):
    """One attempt, as the waiter needs it.

    `env` is the child's whole environment; `argv[0]`, `cwd`, `cgroup` and `directory` are absolute paths.
    `rlimits` maps resource names ("core", "nofile") to the value of both limits, -1 meaning unlimited.
    `memory_bytes` is the sum of resident memory over which the job is killed; None switches the watchdog off,
    and so does a kernel that holds `limits` on memory itself. A holder of an earlier release knows no `limits`.
    """

    __slots__ = ()
    attempt: str
    directory: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    log_limit_bytes: int
    timeout_s: float | None
    grace_s: float
    cgroup: str | None
    rlimits: dict[str, int]
    oom_score_adj: int | None
    memory_bytes: int | None
    marker: bool
    limits: Limits


def parse_spec(raw: object) -> Spec:
    """Check a spec from the socket; keys this version does not know are ignored. Raises BadRequest."""
    if not isinstance(raw, dict):
        raise BadRequest(f"spec is {_kind(raw)}, not an object")
    read = _Reader(raw)
    if read.number("version") != VERSION:
        raise BadRequest(f"spec.version is {raw['version']!r}; this holder understands {VERSION}")
    return Spec(
        attempt=read.identifier("attempt"),
        directory=read.path("directory"),
        argv=read.command("argv"),
        env=read.texts("env"),
        cwd=read.path("cwd"),
        log_limit_bytes=int(read.number("log_limit_bytes")),
        timeout_s=read.optional_number("timeout_s"),
        grace_s=read.number("grace_s"),
        cgroup=None if raw.get("cgroup") is None else read.path("cgroup"),
        rlimits=read.rlimits("rlimits"),
        oom_score_adj=_whole(read.optional_number("oom_score_adj", low=-1000)),
        memory_bytes=_whole(read.optional_number("memory_bytes")),
        marker=read.flag("marker"),
        limits=_limits(raw.get("limits")),
    )


def _limits(raw: object) -> Limits:
    if raw is None:
        return NO_LIMITS
    if not isinstance(raw, dict):
        raise BadRequest(f"spec.limits is {_kind(raw)}, not an object")
    read = _Reader({f"limits.{key}": value for key, value in raw.items()})
    return Limits(
        cpus=read.optional_number("limits.cpus"),
        memory_bytes=_whole(read.optional_number("limits.memory_bytes")),
        pids=_whole(read.optional_number("limits.pids")),
        disk_bytes=_whole(read.optional_number("limits.disk_bytes")),
        disk_paths=read.paths("limits.disk_paths"),
        groups=read.directories("limits.groups"),
        exact=read.flag("limits.exact"),
        disk_floor_bytes=_whole(read.optional_number("limits.disk_floor_bytes")),
    )


def rlimit_number(name: str) -> int | None:
    """The kernel's number of a limit called as in setrlimit(2) without RLIMIT_, in lower case."""
    number = getattr(resource, f"RLIMIT_{name.upper()}", None)
    return number if isinstance(number, int) else None


def valid_identifier(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= 128 and text[0] != "." and _ID_CHARACTERS.issuperset(text)


class _Reader:
    """Takes typed values out of a raw spec; each complaint names the key and the value."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw

    def _get(self, key: str) -> Any:
        if key not in self._raw:
            raise BadRequest(f"spec.{key} is missing")
        return self._raw[key]

    def number(self, key: str, low: float = 0) -> float:
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value < 2**63:
            raise BadRequest(f"spec.{key} is {value!r}, not a number of {low} or more")
        return value

    def optional_number(self, key: str, low: float = 0) -> float | None:
        return None if self._raw.get(key) is None else self.number(key, low)

    def flag(self, key: str) -> bool:
        value = self._raw.get(key, False)
        if not isinstance(value, bool):
            raise BadRequest(f"spec.{key} is {value!r}, not true or false")
        return value

    def identifier(self, key: str) -> str:
        value = self._get(key)
        if not valid_identifier(value):
            raise BadRequest(f"spec.{key} is {value!r}, not {IDENTIFIER}")
        return str(value)

    def path(self, key: str) -> str:
        value = self._get(key)
        if not _clean(value) or not os.path.isabs(value):
            raise BadRequest(f"spec.{key} is {value!r}, not an absolute path")
        return str(value)

    def paths(self, key: str) -> tuple[str, ...]:
        value = self._raw.get(key, [])
        if not isinstance(value, list) or not all(_clean(each) and os.path.isabs(each) for each in value):
            raise BadRequest(f"spec.{key} is not a list of absolute paths")
        return tuple(value)

    def directories(self, key: str) -> dict[str, str]:
        value = self._raw.get(key, {})
        if not isinstance(value, dict) or not all(_clean(each) and os.path.isabs(each) for each in value.values()):
            raise BadRequest(f"spec.{key} is not an object of absolute paths")
        return dict(value)

    def command(self, key: str) -> list[str]:
        value = self._get(key)
        if not isinstance(value, list) or not value or not all(map(_clean, value)):
            raise BadRequest(f"spec.{key} is not a list of one or more texts without NUL")
        if not os.path.isabs(value[0]):
            raise BadRequest(f"spec.{key}[0] is {value[0]!r}, not the absolute path of a program")
        return value

    def texts(self, key: str) -> dict[str, str]:
        value = self._get(key)
        good = isinstance(value, dict) and all(
            _clean(name) and name and "=" not in name and _clean(text) for name, text in value.items()
        )
        if not good:  # the values may be secrets: name none of them
            raise BadRequest(f"spec.{key} is not an object of texts without NUL, named without '='")
        return dict(value)

    def rlimits(self, key: str) -> dict[str, int]:
        value = self._raw.get(key) or {}
        if not isinstance(value, dict):
            raise BadRequest(f"spec.{key} is {_kind(value)}, not an object")
        for name, limit in value.items():
            if rlimit_number(name) is None:
                raise BadRequest(
                    f"spec.{key} names {name!r}, which this system does not know (core, nofile, fsize, ..)"
                )
            if isinstance(limit, bool) or not isinstance(limit, int) or not -1 <= limit < 2**63:
                raise BadRequest(f"spec.{key}.{name} is {limit!r}, not a whole number (-1 is unlimited)")
        return value


def _clean(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _kind(value: object) -> str:
    return "null" if value is None else f"a {type(value).__name__}"


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def encode(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The object on one line. Raises BadRequest."""
    try:
        message = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"not one line of JSON in UTF-8: {error}") from error
    if not isinstance(message, dict):
        raise BadRequest(f"the line holds {_kind(message)}, not an object")
    return message


def listen(state_dir: str) -> socket.socket:
    """The holder's socket in `state_dir`, mode 0600, replacing a dead holder's. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        _remove_socket(state_dir)
        _at_short_path(state_dir, listener.bind)
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    listener.setblocking(False)
    return listener


def _remove_socket(state_dir: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(state_dir, SOCKET))


def connect(state_dir: str, timeout_s: float) -> socket.socket:
    """A connection to the holder of `state_dir`. Raises OSError, as when there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # A non-blocking connect (Python's timeouts are such) fails at once while the holder's queue is full.
    timeval = struct.pack("@ll", int(timeout_s), 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
    try:
        _at_short_path(state_dir, connection.connect)
    except OSError:
        connection.close()
        raise
    connection.settimeout(timeout_s)
    return connection


def _at_short_path(state_dir: str, call: Any) -> None:
    """A socket's path may have 107 bytes, a state directory more: go through an open file."""
    fd = os.open(state_dir, os.O_PATH | os.O_DIRECTORY)
    try:
        call(f"/proc/self/fd/{fd}/{SOCKET}")
    finally:
        os.close(fd)
