"""The limits that no kernel holds here, looked at from time to time: memory, threads, disk."""

from __future__ import annotations

import sys

from agent.supervisor import limits, sweep
from agent.supervisor.diskfloor import DiskFloor, free_bytes
from agent.supervisor.diskuse import DiskUse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.supervisor.protocol import Spec

INTERVAL_S = 1.0
MEMORY = "memory"
PIDS = "pids"
DISK = "disk"
DISK_LOW = "disk-low"


class Watch:
    """One job's. `held` are the limits that the kernel holds; times are seconds of CLOCK_BOOTTIME.

    Raises OSError when the disk that jobs share cannot be watched.
    `most_resident` is the most memory that a look at all its processes found, in bytes; 0 where none was needed.
    """

    def __init__(self, spec: Spec, target: sweep.Target, held: frozenset[str], now: float) -> None:
        self._spec = spec
        self._target = target
        self.most_resident = 0
        self._kernel_memory = "memory" in held
        self._pids = None if "pids" in held else spec.limits.pids
        self._floor = _disk_floor(spec)
        self._disk = _disk_use(spec, target, self._floor)
        self._grew_at = now
        self._usage_at = now + INTERVAL_S if self._watches_usage else float("inf")
        self._disk_at = float("inf") if self._disk is None else now + INTERVAL_S

    @property
    def _watches_usage(self) -> bool:
        return self._kernel_memory or self._spec.memory_bytes is not None or self._pids is not None

    def next_look(self) -> float | None:
        """When `look` is due, None for never."""
        due = min(self._usage_at, self._disk_at)
        return None if due == float("inf") else due

    def look(self, now: float) -> str | None:
        """See what is due; MEMORY, PIDS or DISK where the job has more than it may, DISK_LOW where all jobs have."""
        over = None
        if now >= self._usage_at:
            self._usage_at = now + INTERVAL_S
            over = self._usage()
        if over is None and self._disk is not None and now >= self._disk_at:
            over = self._look_at_disk(self._disk, now)
            self._disk_at = now + self._disk.pause_s
        return over

    def _look_at_disk(self, disk: DiskUse, now: float) -> str | None:
        looks = disk.looks
        if disk.over():
            return DISK
        if self._floor is None or disk.looks == looks:
            return None
        growth, self._grew_at = disk.grown / max(now - self._grew_at, 0.001), now
        return DISK_LOW if self._floor.is_due(growth, now) else None

    def look_back(self) -> str | None:
        """DISK where a job that ended left more than it may: it can write a lot between two looks."""
        return DISK if self._disk is not None and self._disk.over_at_end() else None

    def _usage(self) -> str | None:
        if self._kernel_memory:  # without oom.group (version 1) the kernel picks one process, and the rest is no job
            if limits.oom_kills(self._spec.cgroup, self._spec.limits) > 0:
                return MEMORY
            if self._pids is None:
                return None
        resident, threads = sweep.usage(self._target)
        self.most_resident = max(self.most_resident, resident)
        most = self._spec.memory_bytes
        # What is mapped of files in memory counts as resident, too, so the two are not added up.
        if not self._kernel_memory and most is not None and max(resident, sweep.in_memory(self._target)) > most:
            return MEMORY
        return PIDS if self._pids is not None and threads > self._pids else None


def _disk_floor(spec: Spec) -> DiskFloor | None:
    floor, places = spec.limits.disk_floor_bytes, spec.limits.disk_paths
    if floor is None or not places:
        return None
    return DiskFloor(spec.directory, floor, lambda: free_bytes(spec.directory))


def _disk_use(spec: Spec, target: sweep.Target, floor: DiskFloor | None) -> DiskUse | None:
    most = spec.limits.disk_bytes
    if most is None and floor is None:
        return None
    room = None if floor is None else floor.room
    return DiskUse(spec.limits.disk_paths, sys.maxsize if most is None else most, lambda: sweep.pids(target), room)
