"""Disk that the agent keeps for itself: a file of nothing, shortened when the journal or a record finds no room."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

log = logging.getLogger(__name__)

FILE = "reserve"
_PARTS = 16  # it is given up in so many parts: what runs on the same disk takes no more than one of them


class FileReserve:
    """The Reserve port: `size` bytes in a file of the directory `place`."""

    def __init__(self, place: Path, size: int) -> None:
        self._path = place / FILE
        self._size = size
        self._part = max(1, size // _PARTS)
        self._lock = threading.Lock()

    def free(self) -> int:
        """Return the bytes that others may still write to this disk: none where it is read-only."""
        info = os.statvfs(self._path.parent)
        if info.f_flag & os.ST_RDONLY:
            return 0
        return info.f_bavail * info.f_frsize

    def keep(self, spare: int) -> bool:
        """Take back what was given up, as long as `spare` bytes stay free besides; True when all of it is here."""
        with self._lock:
            try:
                kept = self._kept()
                if kept < self._size and self.free() >= self._size - kept + spare:
                    self._grow()
                    kept = self._size
            except OSError as error:
                log.debug("reserve cannot be made", extra={"event": "reserve-fails", "reason": str(error)})
                return False
            return kept >= self._size

    def give(self, least: int = 0) -> bool:
        """Give up a part when there is no room on this disk without it, and more than `least` bytes are kept."""
        with self._lock:
            try:
                kept = self._kept()
                if kept <= least or self.free() >= self._part:
                    return False
                with self._path.open("r+b") as file:
                    file.truncate(max(0, kept - self._part))
                    os.fsync(file.fileno())  # only then are the blocks free on every file system
            except OSError:
                return False
        log.warning("disk is full: living on the reserve", extra={"event": "reserve-used", "left": kept - self._part})
        return True

    def _kept(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def _grow(self) -> None:
        with self._path.open("ab") as file:
            before = os.fstat(file.fileno()).st_size
            try:
                os.posix_fallocate(file.fileno(), 0, self._size)
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), before)
                raise
