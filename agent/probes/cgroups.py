"""The limits of this process's own control group and of every group above it, versions 1 and 2.

A limit anywhere on the way to the root counts, so the smallest does. Groups lie where /proc/self/mountinfo says; where
that is not known, where /proc/mounts says, else in the usual places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

import msgspec

from agent.ports import Host
from agent.probes.host import parse_cpu_list, read_int, read_text

UNIFIED = ""
_USUAL = "/sys/fs/cgroup"
_NO_LIMIT = 1 << 62  # version 1 has no word for "none": the kernel shows its largest page-aligned number


class Limits(msgspec.Struct, frozen=True):
    """cpus in cores by quota, cpuset the CPU numbers, memory in bytes; None where nothing limits."""

    cpus: float | None = None
    cpuset: frozenset[int] | None = None
    memory: int | None = None


class Mount(NamedTuple):
    """One cgroup file system: which group of the hierarchy is mounted, and where."""

    root: str
    point: str


def limits(host: Host) -> Limits:
    """Return the limits that hold for this process."""
    groups = parse_groups(read_text(host, "/proc/self/cgroup") or "")
    found = [
        limit
        for controller, mount in _mounts(host, groups).items()
        if controller in groups
        for directory in directories(mount, groups[controller])
        for limit in _limits_of(host, controller, directory)
    ]
    cpus = [limit.cpus for limit in found if limit.cpus is not None]
    memory = [limit.memory for limit in found if limit.memory is not None]
    cpusets = [limit.cpuset for limit in found if limit.cpuset]
    return Limits(
        min(cpus, default=None),
        frozenset.intersection(*cpusets) if cpusets else None,
        min(memory, default=None),
    )


def _mounts(host: Host, groups: Mapping[str, str]) -> Mapping[str, Mount]:
    told = parse_mounts(read_text(host, "/proc/self/mountinfo") or "")
    told = told or parse_mount_table(read_text(host, "/proc/mounts") or "")
    if told or not groups:
        return told
    names = [(name, part) for name in host.list(_USUAL) for part in name.split(",")]
    usual = {part: Mount("/", f"{_USUAL}/{name}") for name, part in names if part in groups}
    return usual if usual.keys() - {UNIFIED} else {UNIFIED: Mount("/", _USUAL)}


def parse_groups(text: str) -> dict[str, str]:
    """Return the own group by controller from /proc/self/cgroup; the unified hierarchy is ""."""
    groups: dict[str, str] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"\d+:([^:]*):(.+)", line)
        if match:
            groups.update(dict.fromkeys(match[1].split(","), match[2]))
    return groups


def parse_mounts(text: str) -> dict[str, Mount]:
    """Return the cgroup mounts by controller from /proc/self/mountinfo; the unified hierarchy is ""."""
    mounts: dict[str, Mount] = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        places, kinds = before.split(" ")[3:5], after.split(" ", 2)
        if len(places) < 2 or len(kinds) < 3:
            continue
        (root, point), (kind, _source, options) = map(_unescaped, places), kinds
        if kind == "cgroup2":
            mounts.setdefault(UNIFIED, Mount(root, point))
        elif kind == "cgroup":
            for option in options.split(","):
                mounts.setdefault(option, Mount(root, point))
    return mounts


def parse_mount_table(text: str) -> dict[str, Mount]:
    """Return the same from /proc/mounts, which does not tell what of a hierarchy is mounted: mostly its root."""
    mounts: dict[str, Mount] = {}
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) > 3 and fields[2] in ("cgroup", "cgroup2"):
            for option in fields[3].split(",") if fields[2] == "cgroup" else (UNIFIED,):
                mounts.setdefault(option, Mount("/", _unescaped(fields[1])))
    return mounts


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def directories(mount: Mount, group: str) -> list[str]:
    """Return the directories of the group and of all above it that the mount shows, the group's own first."""
    path, root = PurePosixPath(group), PurePosixPath(mount.root)
    # A group outside of what is mounted (in a container without a namespace of its own): its root is all one sees.
    below = path.relative_to(root) if path.is_relative_to(root) and ".." not in path.parts else PurePosixPath()
    return [str(PurePosixPath(mount.point) / part) for part in (below, *below.parents)]


def _limits_of(host: Host, controller: str, directory: str) -> Iterator[Limits]:
    reader = _READERS.get(controller)
    if reader is not None:
        yield reader(host, directory)


def _unified(host: Host, directory: str) -> Limits:
    quota = read_text(host, f"{directory}/cpu.max")
    return Limits(
        parse_cpu_max(quota) if quota else None,
        _cpuset(host, f"{directory}/cpuset.cpus.effective"),
        _at_most(host, f"{directory}/memory.max"),
    )


def parse_cpu_max(text: str) -> float | None:
    """Return the cores that "QUOTA PERIOD" (microseconds) grants; None for "max PERIOD". Raises ValueError."""
    match = re.fullmatch(r"(max|\d{1,18}) ([1-9]\d{0,17})", text.strip(), re.ASCII)
    if match is None:
        raise ValueError(f'"{text[:80]}" is no quota of CPU time')
    return None if match[1] == "max" else int(match[1]) / int(match[2])


def _cpu_v1(host: Host, directory: str) -> Limits:
    quota = read_int(host, f"{directory}/cpu.cfs_quota_us")
    period = read_int(host, f"{directory}/cpu.cfs_period_us")
    return Limits(cpus=quota / period) if quota and period and quota > 0 else Limits()


def _cpuset_v1(host: Host, directory: str) -> Limits:
    effective = _cpuset(host, f"{directory}/cpuset.effective_cpus")
    return Limits(cpuset=effective or _cpuset(host, f"{directory}/cpuset.cpus"))


def _memory_v1(host: Host, directory: str) -> Limits:
    return Limits(memory=_at_most(host, f"{directory}/memory.limit_in_bytes"))


def _cpuset(host: Host, path: str) -> frozenset[int] | None:
    text = read_text(host, path)
    return parse_cpu_list(text) if text else None


def _at_most(host: Host, path: str) -> int | None:
    limit = read_int(host, path)
    return limit if limit is not None and 0 <= limit < _NO_LIMIT else None


_READERS = {UNIFIED: _unified, "cpu": _cpu_v1, "cpuset": _cpuset_v1, "memory": _memory_v1}
