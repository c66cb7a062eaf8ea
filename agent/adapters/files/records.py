"""Records as files: the key "a/b/3" is ROOT/a/b/3.json, so that a directory a/b/3/ may lie beside it.

A record is written to ROOT/.tmp, synced, and then renamed (replace) or hard-linked (create) into place:
readers see the old record, the new one or none. ROOT/.tmp also marks the store: without it, nothing that is
missing is taken for "no such record", since the disk may just not be mounted.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from agent.adapters.files.errors import translated
from agent.adapters.files.placing import NoAtomicCreate, place_new, sync_path, write_all
from agent.adapters.keys import is_part, key_parts, prefix_parts
from agent.errors import StoreUnavailable
from agent.ports import Listing, Stored

MAX_RECORD_BYTES = 16 * 1024**2
_SUFFIX = ".json"
_TEMP = ".tmp"
_LEFTOVER_SECONDS = 86400.0
_CLOCK_GOOD_FOR_SECONDS = 60.0
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FileRecords:
    """A RecordStore in the directory `root`, which `FileRecords.make` creates once.

    Ages count by the clock of the file system, which on a network share is its server's.
    """

    def __init__(self, root: Path, make_room: Callable[[], bool] = lambda: False) -> None:
        """make_room: called when the disk is full; True when writing is worth another try."""
        self._root = root
        self._make_room = make_room
        self._temp = root / _TEMP
        self._clock: _ClockReading | None = None
        self._remove_leftovers()

    @classmethod
    def make(cls, root: Path, make_room: Callable[[], bool] = lambda: False) -> FileRecords:
        """Create the directory as a record store, or use the one there. Raises StoreUnavailable."""
        with translated(root):
            (root / _TEMP).mkdir(parents=True, exist_ok=True)
            sync_path(root)
            sync_path(root.parent)
        return cls(root, make_room)

    def put(self, key: str, body: bytes, *, create: bool = False) -> bool:
        """Store the record; with `create` only if there is none. ValueError for a key that is none."""
        target = self._file(key)
        self._check_size(target, len(body))
        with translated(target):
            while True:
                try:
                    return self._put(target, body, create)
                except OSError as error:
                    if error.errno != errno.ENOSPC or not self._make_room():
                        raise

    def get(self, key: str) -> Stored | None:
        """Return the record, or None. ValueError for a key that is none."""
        target = self._file(key)
        with translated(target):
            try:
                descriptor = os.open(target, _READ)
            except FileNotFoundError:
                self._require_store()
                return None
            with os.fdopen(descriptor, "rb") as stream:
                found = os.fstat(descriptor)
                self._check_regular(target, found)
                body = stream.read(MAX_RECORD_BYTES + 1)
            self._check_size(target, len(body))
            return Stored(body, self._age(found))

    def list(self, prefix: str) -> Listing:
        """Return the records and prefixes directly below `prefix`, names without it.

        A prefix may be listed although nothing lies below it any more. ValueError for a prefix that is none.
        """
        directory = self._root.joinpath(*prefix_parts(prefix))
        with translated(directory):
            try:
                entries = os.scandir(directory)
            except FileNotFoundError:
                self._require_store()
                return Listing({}, ())
            with entries:
                return self._listed(tuple(entry for entry in entries if is_part(entry.name.removesuffix(_SUFFIX))))

    def delete(self, key: str) -> None:
        """Remove the record, durably. ValueError for a key that is none."""
        target = self._file(key)
        with translated(target):
            try:
                target.unlink()
            except FileNotFoundError:
                self._require_store()
            else:
                sync_path(target.parent)

    def clear(self, prefix: str) -> None:
        """See ports.Clearing. Links are removed and not followed."""
        directory = self._root.joinpath(*_below_root(prefix))
        with translated(directory):
            try:
                shutil.rmtree(directory)
            except FileNotFoundError:
                self._require_store()
            else:
                sync_path(directory.parent)

    def _put(self, target: Path, body: bytes, create: bool) -> bool:
        temp = self._write_temp(body)
        try:
            return self._place(temp, target, create)
        except NoAtomicCreate:
            raise StoreUnavailable(
                f"{self._root}: its file system has neither hard links nor a rename that never replaces; "
                "two hosts could both take a job there; use a store on another file system"
            ) from None
        finally:
            temp.unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        *above, name = key_parts(key)
        return self._root.joinpath(*above, name + _SUFFIX)

    def _check_size(self, target: Path, size: int) -> None:
        if size > MAX_RECORD_BYTES:
            raise StoreUnavailable(f"{target}: too large for a record (the limit is {MAX_RECORD_BYTES} bytes)")

    def _check_regular(self, target: Path, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise StoreUnavailable(f"{target}: not a regular file; move it away")

    def _require_store(self) -> None:
        if not self._temp.is_dir():
            raise StoreUnavailable(
                f"{self._root}: no record store is there (no directory {_TEMP} in it); "
                "mount the disk or share, or create the store: `edge-agent queue init`"
            )

    def _write_temp(self, body: bytes) -> Path:
        self._require_store()
        temp = self._temp / secrets.token_hex(12)
        descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            write_all(descriptor, body)
            os.fsync(descriptor)
            self._clock = _ClockReading(os.fstat(descriptor).st_mtime, _boottime())
        except OSError:
            temp.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        return temp

    def _place(self, temp: Path, target: Path, create: bool) -> bool:
        place = place_new if create else _replace
        try:
            won = place(temp, target)
        except FileNotFoundError:
            self._make_directories(target.parent)
            won = place(temp, target)
        # Also when another writer won: who is told so builds on that record, and it has to survive a power cut.
        sync_path(target.parent)
        return won

    def _make_directories(self, directory: Path) -> None:
        path = self._root
        for part in directory.relative_to(self._root).parts:
            path /= part
            path.mkdir(exist_ok=True)
            sync_path(path.parent)

    def _listed(self, entries: tuple[os.DirEntry[str], ...]) -> Listing:
        records = {}
        for entry in entries:
            if entry.name.endswith(_SUFFIX) and entry.is_file(follow_symlinks=False):
                try:
                    records[entry.name.removesuffix(_SUFFIX)] = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # deleted since
        directories = (entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        prefixes = sorted(name for name in directories if not name.endswith(_SUFFIX))
        return Listing({name: self._age(records[name]) for name in sorted(records)}, tuple(prefixes))

    def _age(self, found: os.stat_result) -> float:
        return max(0.0, self._now() - found.st_mtime)

    def _now(self) -> float:
        """Return the time by the clock of the file system.

        It is read by making a file, so not for every look: in between the time since boot is added.
        """
        reading = self._clock
        if reading is None or _boottime() - reading.boottime > _CLOCK_GOOD_FOR_SECONDS:
            reading = self._clock = self._read_clock()
        return reading.time + (_boottime() - reading.boottime)

    def _read_clock(self) -> _ClockReading:
        path = self._temp / f"clock-{secrets.token_hex(12)}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                return _ClockReading(os.fstat(descriptor).st_mtime, _boottime())
            finally:
                os.close(descriptor)
                path.unlink()
        except OSError:
            # Read-only or full: nobody writes here from this host, and looking must still work.
            return _ClockReading(time.time(), _boottime())

    def _remove_leftovers(self) -> None:
        """Remove what writers that were killed left behind long ago."""
        try:
            for path in self._temp.iterdir():
                if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                    path.unlink()
        except OSError:
            return  # no store yet, read-only, or another agent is cleaning up too


class _ClockReading(NamedTuple):
    """The clock of the file system, and the seconds since boot at that moment."""

    time: float
    boottime: float


def _below_root(prefix: str) -> tuple[str, ...]:
    parts = prefix_parts(prefix)
    if not parts:
        raise ValueError("a whole store is never cleared")
    return tuple(parts)


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _replace(temp: Path, target: Path) -> bool:
    temp.replace(target)
    return True
