"""What a job may use, written to its groups before it runs: from then on the kernel holds it, agent or no agent."""

from __future__ import annotations

import os
from collections import namedtuple

from agent.supervisor import cgroups

PERIOD_US = 100_000
_LEAST_QUOTA_US = 1_000  # the kernel takes no less


class Limits(
    namedtuple(
        "Limits",
        "cpus memory_bytes pids disk_bytes disk_paths groups exact disk_floor_bytes",
        defaults=(None, None, None, None, (), {}, False, None),
    )
):
    """The limits of one job; None is no limit.

    `cpus` in cores, `pids` counts threads too. `disk_bytes` is what may lie below all `disk_paths` together, and
    `disk_floor_bytes` what must stay free on their disk, whichever jobs fill it.
    `groups` are directories by controller ("memory", "cpu", "pids") of cgroup version 1; without them the job's
    cgroup has all. `exact`: a limit on memory, CPU time or pids that cannot be set is an error.
    """

    __slots__ = ()
    cpus: float | None
    memory_bytes: int | None
    pids: int | None
    disk_bytes: int | None
    disk_paths: tuple[str, ...]
    groups: dict[str, str]
    exact: bool
    disk_floor_bytes: int | None


def impose(cgroup: str | None, limits: Limits) -> frozenset[str]:
    """Set memory and pids, and see that CPU time can be set; returns what the kernel holds from now on.

    Raises OSError where limits are exact and one of them cannot be set.
    """
    held = set()
    for name, wanted, writes in (
        ("memory", limits.memory_bytes, _memory),
        ("pids", limits.pids, _pids),
        ("cpu", limits.cpus, _no_quota),
    ):
        if wanted is not None and _set(cgroup, limits, name, writes(wanted, name in limits.groups)):
            held.add(name)
    return frozenset(held)


def throttle(cgroup: str | None, limits: Limits) -> None:
    """Set CPU time; apart from the others because the start of a container would be slowed down, too."""
    if limits.cpus is not None:
        _set(cgroup, limits, "cpu", _quota(limits.cpus, "cpu" in limits.groups))


def oom_kills(cgroup: str | None, limits: Limits) -> int:
    """How many processes the kernel killed for want of memory; 0 where it does not say."""
    if "memory" in limits.groups:
        return cgroups.counts(limits.groups["memory"], "memory.oom_control").get("oom_kill", 0)
    return 0 if cgroup is None else cgroups.counts(cgroup, "memory.events").get("oom_kill", 0)


def _set(cgroup: str | None, limits: Limits, controller: str, writes: list[tuple[str, str, bool]]) -> bool:
    directory = limits.groups.get(controller, cgroup)
    if directory is None:
        if limits.exact:
            raise OSError(f"there is no cgroup for the limit of {controller}")
        return False
    try:
        for name, value, needed in writes:
            _write(os.path.join(directory, name), value, needed)
    except OSError as error:
        if limits.exact:
            raise OSError(f"the limit of {controller} cannot be set in {directory}: {error}") from error
        return False
    return True


# (file, value, whether it must be there) for each limit, by version: first is version 1.


def _memory(size: float, first: bool) -> list[tuple[str, str, bool]]:
    if first:  # the limit with swap may not be below the one without, and is absent where swap is not counted
        limit = str(int(size))
        return [("memory.limit_in_bytes", limit, True), ("memory.memsw.limit_in_bytes", limit, False)]
    return [
        ("memory.max", str(int(size)), True),
        ("memory.swap.max", "0", False),  # absent in a kernel without swap
        ("memory.oom.group", "1", True),
    ]


def _pids(most: float, _first: bool) -> list[tuple[str, str, bool]]:
    return [("pids.max", str(int(most)), True)]


def _quota(cpus: float, first: bool) -> list[tuple[str, str, bool]]:
    quota = max(_LEAST_QUOTA_US, int(cpus * PERIOD_US))
    if first:
        return [("cpu.cfs_period_us", str(PERIOD_US), True), ("cpu.cfs_quota_us", str(quota), True)]
    return [("cpu.max", f"{quota} {PERIOD_US}", True)]


def _no_quota(_cpus: float, first: bool) -> list[tuple[str, str, bool]]:
    return [("cpu.cfs_quota_us", "-1", True)] if first else [("cpu.max", f"max {PERIOD_US}", True)]


def _write(path: str, text: str, needed: bool) -> None:
    """Write to a file that is there: on a plain file system nothing must be made that looks like a limit."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        if needed:
            raise
        return
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
