"""The limits that no kernel holds here, looked at from time to time: memory, threads, disk."""

from __future__ import annotations

from agent.supervisor import limits, sweep
from agent.supervisor.diskuse import DiskUse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.supervisor.protocol import Spec

INTERVAL_S = 1.0
MEMORY = "memory"
PIDS = "pids"
DISK = "disk"


class Watch:
    """One job's. `held` are the limits that the kernel holds; times are seconds of CLOCK_BOOTTIME.

    `most_resident` is the most memory that a look at all its processes found, in bytes; 0 where none was needed.
    """

    def __init__(self, spec: Spec, target: sweep.Target, held: frozenset[str], now: float) -> None:
        self._spec = spec
        self._target = target
        self.most_resident = 0
        self._kernel_memory = "memory" in held
        self._pids = None if "pids" in held else spec.limits.pids
        self._disk = _disk_use(spec, target)
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
        """See what is due; MEMORY, PIDS or DISK where the job has more than it may."""
        over = None
        if now >= self._usage_at:
            self._usage_at = now + INTERVAL_S
            over = self._usage()
        if over is None and self._disk is not None and now >= self._disk_at:
            over = DISK if self._disk.over() else None
            self._disk_at = now + self._disk.pause_s
        return over

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
        if not self._kernel_memory and most is not None and resident > most:
            return MEMORY
        return PIDS if self._pids is not None and threads > self._pids else None


def _disk_use(spec: Spec, target: sweep.Target) -> DiskUse | None:
    if spec.limits.disk_bytes is None:
        return None
    return DiskUse(spec.limits.disk_paths, spec.limits.disk_bytes, lambda: sweep.pids(target))
