"""End every process of a job, and know that none is left.

Killing the container's process alone leaves helpers (squashfuse_ll) behind, so a job's processes are found by
three signs: its cgroup, the session of the container, and descent from the container or from the process that
inherits its orphans.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import namedtuple

from agent.supervisor import cgroups, processes
from agent.supervisor.processes import Identity, Stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Target(namedtuple("Target", "container cgroup reaper spared groups", defaults=(None, None, frozenset(), ()))):
    """Whose processes to end: `reaper` is the pid whose children are orphans of the job, but for `spared`.

    `groups` are further cgroups of the job, of version 1.
    """

    __slots__ = ()
    container: Identity
    cgroup: str | None
    reaper: int | None
    spared: frozenset[int]
    groups: tuple[str, ...]


def members(table: Iterable[Stat], target: Target) -> list[Stat]:
    """The living processes of `table` that belong to the job."""
    table = [stat for stat in table if stat.pid not in target.spared]
    children: dict[int, list[Stat]] = {}
    for stat in table:
        children.setdefault(stat.ppid, []).append(stat)
    found: dict[int, Stat] = {}
    waiting = _roots(table, target)
    while waiting:
        stat = waiting.pop()
        if stat.pid not in found:
            found[stat.pid] = stat
            waiting += children.get(stat.pid, ())
    return [stat for stat in found.values() if not stat.dead]


def _roots(table: list[Stat], target: Target) -> list[Stat]:
    container = target.container
    # A session keeps its number from reuse; a new leader under that number means that ours is gone.
    foreign = any(stat.pid == container.pid and stat.starttime != container.starttime for stat in table)
    return [
        stat
        for stat in table
        if stat.ppid == target.reaper or (stat.session == container.pid and not foreign) or stat.identity == container
    ]


def kill(target: Target) -> list[Stat]:
    """Send SIGKILL to every process of the job; returns those found alive (none: all are gone)."""
    for group in _groups(target):
        cgroups.kill(group)
    found = members(processes.scan(), target)
    for stat in found:
        processes.send_signal(stat.identity, signal.SIGKILL)
    return found


def swept(target: Target) -> bool:
    """One round of killing; True once no process was left and the cgroup is removed."""
    if kill(target):
        return False
    if target.cgroup is not None and cgroups.populated(target.cgroup):
        return False
    return all(cgroups.remove(group) for group in _groups(target))


def _groups(target: Target) -> list[str]:
    return [*([] if target.cgroup is None else [target.cgroup]), *target.groups]


def usage(target: Target) -> tuple[int, int]:
    """Resident bytes and threads of all processes of the job; shared pages count once for each process."""
    found = _living(target)
    return sum(stat.rss_bytes for stat in found), sum(stat.threads for stat in found)


def in_memory(target: Target) -> int:
    """Bytes of the files that the job keeps in memory: in the /dev and /dev/shm of its container, not in the host's."""
    sizes: dict[int, int] = {}
    foreign = _devices("")
    for pid in pids(target):
        for device, path in _devices(f"/proc/{pid}/root").items():
            if device not in foreign and device not in sizes:
                with contextlib.suppress(OSError):
                    found = os.statvfs(path)
                    sizes[device] = (found.f_blocks - found.f_bfree) * found.f_frsize
    return sum(sizes.values())


def _devices(root: str) -> dict[int, str]:
    found = {}
    for name in ("dev", "dev/shm"):
        path = f"{root}/{name}"
        with contextlib.suppress(OSError):
            found[os.stat(path).st_dev] = path
    return found


def pids(target: Target) -> list[int]:
    """The processes of the job."""
    return [stat.pid for stat in _living(target)]


def _living(target: Target) -> list[Stat]:
    if target.cgroup is not None:
        found = [processes.read_stat(pid) for pid in cgroups.pids(target.cgroup)]
        return [stat for stat in found if stat is not None]
    return members(processes.scan(), target)
