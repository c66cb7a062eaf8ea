"""What a job used, from the best source there is: its groups' own counts, its reaped processes, the waiter's looks.

Groups count everything that ran in them, and memory with what the kernel keeps of files for the job. Reaped processes
tell of those that left their group, too, but as memory only that of the largest one.
"""

from __future__ import annotations

import os
from collections import namedtuple

from agent.supervisor import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    import resource
    from collections.abc import Mapping

_MICROSECONDS = 1e-6
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Counted(namedtuple("Counted", "user_s system_s peak_bytes", defaults=(0.0, 0.0, None))):
    """What the groups of a job counted; `peak_bytes` is None where none of them counts memory."""

    __slots__ = ()
    user_s: float
    system_s: float
    peak_bytes: int | None


def of_groups(cgroup: str | None, first: Mapping[str, str]) -> Counted:
    """Ask the groups before they are removed. `first` are those of version 1, by controller."""
    time = _counts(cgroup, "cpu.stat")
    user_s, system_s = (time.get(name, 0) * _MICROSECONDS for name in ("user_usec", "system_usec"))
    ticks = _counts(first.get("cpuacct", first.get("cpu")), "cpuacct.stat")
    peak = _number(first.get("memory"), "memory.max_usage_in_bytes")
    return Counted(
        max(user_s, ticks.get("user", 0) * _TICK_S),
        max(system_s, ticks.get("system", 0) * _TICK_S),
        _number(cgroup, "memory.peak") if peak is None else peak,
    )


def record(counted: Counted, reaped: resource.struct_rusage, seen_bytes: int, wall_s: float) -> dict[str, float]:
    """The object "usage" of exit.json. `seen_bytes`: the most resident memory that a look at all processes found."""
    peak = max(reaped.ru_maxrss * 1024, seen_bytes) if counted.peak_bytes is None else counted.peak_bytes
    return {
        "user_s": max(counted.user_s, reaped.ru_utime),
        "system_s": max(counted.system_s, reaped.ru_stime),
        "peak_memory_bytes": peak,
        "wall_s": wall_s,
    }


def _counts(directory: str | None, name: str) -> dict[str, int]:
    return {} if directory is None else cgroups.counts(directory, name)


def _number(directory: str | None, name: str) -> int | None:
    if directory is None:
        return None
    try:
        with open(os.path.join(directory, name), encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None
