"""What must stay free on a disk that several jobs fill together: who is ended when less is left.

Each is within its own limit, so none is at fault alone. The one that grows fastest is ended, and whoever would soon use
up what is left after it. A waiter knows only how its own job grows; it notes that where the others look: in the
times of an empty file beside each job, since these can be set on a full disk, too.
"""

from __future__ import annotations

import contextlib
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOTE = "growth"
FRESH_S = 1.0
# Until then those that grow fast, and look often for that reason, have noted it.
SETTLE_S = 0.3
# A job that would take longer than this to use up the rest is left alone.
HORIZON_S = 600.0
UNIT_BYTES = 1024  # of notes: the rate is a time in whole seconds, which every file system can keep


class DiskFloor:
    """The job of one attempt's directory, beside those of the directories next to it."""

    def __init__(self, directory: str, floor: int, free: Callable[[], int]) -> None:
        """floor: bytes that must stay; free: returns those that are. Raises OSError when nothing can be noted."""
        self._directory = directory
        self._floor = floor
        self._free = free
        self._below_since: float | None = None
        os.close(os.open(os.path.join(directory, NOTE), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def room(self) -> int:
        """Bytes that are left above the floor; less than 0 below it."""
        return self._free() - self._floor

    def is_due(self, growth: float, now: float) -> bool:
        """Whether this job is to be ended now. growth: bytes a second; now: seconds of CLOCK_BOOTTIME."""
        if self.room() >= 0:
            self._below_since = None
            return False
        self._note(growth)
        if self._below_since is None:
            self._below_since = now
        if now < self._below_since + SETTLE_S or growth * HORIZON_S < self._free():
            return False
        mine = (int(growth) // UNIT_BYTES, os.path.basename(self._directory))
        return growth > 0 and not any(other > mine for other in self._others())

    def _note(self, growth: float) -> None:
        with contextlib.suppress(OSError):
            os.utime(os.path.join(self._directory, NOTE), (int(growth) // UNIT_BYTES, time.time()))

    def _others(self) -> Iterator[tuple[int, str]]:
        """What the waiters of other jobs have noted just now, with the names of their attempts."""
        place, now = os.path.split(self._directory)[0], time.time()
        for name in os.listdir(place):
            with contextlib.suppress(OSError):
                noted = os.stat(os.path.join(place, name, NOTE))
                if abs(now - noted.st_mtime) < FRESH_S:
                    yield int(noted.st_atime), name


def free_bytes(path: str) -> int:
    """What a plain user may still write on the file system of `path`."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
