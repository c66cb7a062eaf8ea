"""Small files that must never be seen half written: temporary name, fsync, rename, fsync of the directory."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time

TYPE_CHECKING = False  # not typing's: the typing module would cost the holder 0.7 MiB
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

VERSION = 1
RUN = "run.json"
EXIT = "exit.json"
STOP = "stop.json"
SPEC = "spec.json"
LOG = "log"
MARKER = "marker"
LOCK = "lock"


def write_json(directory: str, name: str, record: Mapping[str, Any], *, durable: bool = True) -> None:
    """Put `record` with the format's version at `directory/name`, replacing what is there in one step.

    Without `durable` only the rename is done; `sync` makes it durable later. Raises OSError, and then leaves
    no temporary file behind.
    """
    text = json.dumps({"version": VERSION, **record}, separators=(",", ":")).encode()
    temporary = os.path.join(directory, f".{name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        _write_new(temporary, text, durable)
        os.rename(temporary, os.path.join(directory, name))
    except OSError:
        remove_if_there(temporary)
        raise
    if durable:
        _sync_path(directory)


def _write_new(path: str, text: bytes, durable: bool) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        write_all(fd, text)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`; os.write alone may stop early on a nearly full disk."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync(directory: str, name: str) -> None:
    """Make an already renamed file and its name durable."""
    _sync_path(os.path.join(directory, name))
    _sync_path(directory)


def _sync_path(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_json(directory: str, name: str) -> dict[str, Any] | None:
    """The object in `directory/name`, None when there is no such file. Raises ValueError naming it."""
    path = os.path.join(directory, name)
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        record = json.loads(raw.decode("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not readable as JSON: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path} holds a {type(record).__name__}, not an object")
    return record


def exists(directory: str, name: str) -> bool:
    return os.path.lexists(os.path.join(directory, name))


def remove_if_there(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def try_lock(path: str) -> int | None:
    """An open file that holds the exclusive lock on `path`, or None when another process holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def complain(what: str) -> None:
    """Say what is wrong in the holder's log. A disk that is too full for that is no reason to end."""
    with contextlib.suppress(OSError):
        os.write(2, f"{what}\n".encode("utf-8", "replace"))
