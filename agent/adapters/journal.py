"""The journal in one SQLite file: durable when a call returns, also over a power cut."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from agent.errors import DiskFull, HostFault

T = TypeVar("T")
log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
_BUSY_SECONDS = 5.0
_SCHEMA = "CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, key TEXT UNIQUE, body BLOB)"
_WRITE_AGAIN = f"PRAGMA user_version = {SCHEMA_VERSION}"  # a page and its sync, though nothing changes
_PUT = "INSERT INTO entries (key, body) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET body = excluded.body"


class SqliteJournal:
    """A Journal in the file `path`.

    A damaged file is moved aside and a new one started; one of a later release is refused (HostFault).
    """

    def __init__(self, path: Path, make_room: Callable[[], bool] = lambda: False) -> None:
        """make_room: called on a full disk; True when it is worth another try. Raises DiskFull when it is not."""
        self._path = path
        self._make_room = make_room
        self._lock = threading.Lock()
        self._trouble: str | None = None
        with self._translated():
            self._connection = self._with_room(self._opened)

    def _opened(self) -> sqlite3.Connection:
        try:
            return _open(self._path)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            _move_aside(self._path)
            return _open(self._path)

    def put(self, key: str, body: bytes) -> None:
        """Remember `body` under `key`; a key that is known keeps its place in the order."""
        self._write(_PUT, (key, body))

    def remove(self, key: str) -> None:
        """Forget `key`."""
        self._write("DELETE FROM entries WHERE key = ?", (key,))

    def load(self) -> Mapping[str, bytes]:
        """Return everything remembered, in the order in which the keys came."""
        with self._lock, self._translated():
            rows = self._connection.execute("SELECT key, body FROM entries ORDER BY id").fetchall()
        return {key: bytes(body) for key, body in rows}

    def trouble(self) -> str | None:
        """Say why the last write failed, as long as nothing can be written; None where all is well.

        The disk is asked only after a write that failed.
        """
        if self._trouble is not None:
            with contextlib.suppress(HostFault):
                self._write(_WRITE_AGAIN, ())
        return self._trouble

    def close(self) -> None:
        """Close the file; the journal is of no use afterwards."""
        with self._lock, self._translated():
            self._connection.close()

    def _write(self, statement: str, values: tuple[str | bytes, ...]) -> None:
        try:
            with self._lock, self._translated():
                self._with_room(lambda: self._connection.execute(statement, values))
        except HostFault as error:
            self._trouble = self._trouble or str(error)  # one disk has many words for its end: the first one stays
            raise
        self._trouble = None

    def _with_room(self, task: Callable[[], T]) -> T:
        while True:
            try:
                return task()
            except sqlite3.OperationalError as error:
                # A full disk can look like a broken one where SQLite maps a file. Whether it is full, make_room knows.
                if not (_is_full(error) or "disk I/O error" in str(error)) or not self._make_room():
                    raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise (DiskFull if _is_full(error) else HostFault)(
                f"journal {self._path}: {error}; check that its directory exists, that the agent may write "
                "there and that its disk is neither full nor failing"
            ) from error


def read_entries(path: Path) -> Mapping[str, bytes]:
    """Return what a journal remembers, without touching it, whoever uses it now. Raises HostFault."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
        try:
            rows = connection.execute("SELECT key, body FROM entries ORDER BY id").fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise HostFault(f"journal {path} cannot be read: {error}") from None
    return {key: bytes(body) for key, body in rows}


def _open(path: Path) -> sqlite3.Connection:
    """Return a connection to the checked file. Raises sqlite3.Error, and HostFault for a later version."""
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except (sqlite3.Error, OSError, HostFault):
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise HostFault(
            f"journal {path}: of a later release (version {version}; this one knows {SCHEMA_VERSION}); "
            "install that release again, or move the file away to forget the jobs in it"
        )
    answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if answer != "ok":
        raise sqlite3.DatabaseError(answer)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 200"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(_SCHEMA)
    if version != SCHEMA_VERSION:  # a start on a full disk writes nothing that is there
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    _sync_directory(path.parent)


def _is_full(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Tell a broken file from one that cannot be reached: those errors are subclasses (OperationalError)."""
    return type(error) is sqlite3.DatabaseError


def _move_aside(path: Path) -> None:
    aside = _free_name(path)
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    _sync_directory(path.parent)
    log.warning(
        "the journal was damaged: it has been moved aside and a new one started",
        extra={"event": "journal-damaged", "path": str(path), "moved_to": str(aside)},
    )


def _free_name(path: Path) -> Path:
    n = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{n}")).exists():
        n += 1
    return aside


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
