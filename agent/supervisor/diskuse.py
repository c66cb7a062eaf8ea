"""How much disk a job's files take: a walk in small portions, so that a tree of any size costs little at a time.

Blocks are counted, not sizes: a sparse file takes what it takes. A file with several names counts once, and one that
was removed while a process of the job has it open for writing still counts. Nothing tells of a removed file that is
only mapped or read.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PORTION = 5_000
PORTION_AT_END = 1_000_000
BLOCK_BYTES = 512
PAUSES_S = (0.1, 1.0)


class DiskUse:
    """Measures `paths` for a limit in bytes. `pids` returns the processes whose removed files count.

    `room` returns the bytes that all jobs together may still take. `looks` counts those that were complete, and `grown`
    are the bytes between the last two of them.
    """

    def __init__(
        self,
        paths: Iterable[str],
        limit: int,
        pids: Callable[[], Iterable[int]],
        room: Callable[[], int] | None = None,
    ) -> None:
        self._paths = tuple(paths)
        self._limit = limit
        self._pids = pids
        self._room = room
        self._last = 0
        self.looks = 0
        self.grown = 0
        self.pause_s = PAUSES_S[1]
        self._begin()

    def over(self, portion: int = PORTION) -> bool:
        """Look on, at up to `portion` files; True once those of this round are over the limit.

        Afterwards `pause_s` says when to look again: soon, while the rest of limit or room may be gone soon.
        """
        for size in itertools.islice(self._walk, portion):
            self._counted += size
            if self._counted > self._limit:
                return True
            portion -= 1
        if portion > 0:
            self._complete()
        return False

    def over_at_end(self) -> bool:
        """Look at all from the start, once nothing changes any more."""
        self._begin()
        return self.over(PORTION_AT_END)

    def _begin(self) -> None:
        self._counted = 0
        self._walk: Iterator[int] = _sizes(self._paths, self._pids)

    def _complete(self) -> None:
        grown, rest = self._counted - self._last, self._limit - self._counted
        if self._room is not None:
            rest = min(rest, self._room())
        self.pause_s = PAUSES_S[0] if grown * 5 > rest else PAUSES_S[1]
        self.grown = grown if self.looks > 0 else 0
        self.looks += 1
        self._last = self._counted
        self._begin()


def _sizes(paths: Iterable[str], pids: Callable[[], Iterable[int]]) -> Iterator[int]:
    seen: set[tuple[int, int]] = set()
    devices = set()
    for path in paths:
        with contextlib.suppress(OSError):
            devices.add(os.lstat(path).st_dev)
            yield from _below(path, seen)
    for pid in pids():
        yield from _removed(pid, devices, seen)


def _below(path: str, seen: set[tuple[int, int]]) -> Iterator[int]:
    """Depth first with an own stack: a job may nest deeper than Python. What vanishes meanwhile is passed over."""
    waiting = [path]
    while waiting:
        directory = waiting.pop()
        try:
            entries = os.scandir(directory)
        except OSError:
            continue
        with entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    yield _once(found, seen)
                    if stat.S_ISDIR(found.st_mode):
                        waiting.append(entry.path)


def _removed(pid: int, devices: set[int], seen: set[tuple[int, int]]) -> Iterator[int]:
    place = f"/proc/{pid}/fd"
    try:
        names = os.listdir(place)
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):
            found = os.stat(f"{place}/{name}")
            yield _once(found, seen) if _counts(found, place, name, devices) else 0


def _counts(found: os.stat_result, place: str, name: str, devices: set[int]) -> bool:
    """Whether an open file is one that the job removed and writes: the container's image it only reads."""
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 0 or found.st_dev not in devices:
        return False
    return bool(os.lstat(f"{place}/{name}").st_mode & stat.S_IWUSR)


def _once(found: os.stat_result, seen: set[tuple[int, int]]) -> int:
    """The bytes of a file; 0 for one met before. Only those that may be met again are remembered."""
    if found.st_nlink != 1 and not stat.S_ISDIR(found.st_mode):
        key = (found.st_dev, found.st_ino)
        if key in seen:
            return 0
        seen.add(key)
    return found.st_blocks * BLOCK_BYTES
