"""Where job cgroups can be made: a writable part of the cgroup v2 tree, with or without controllers.

A group without controllers limits nothing, but it names every process of a job, whatever session it moved to, and the
kernel kills all of them at once. Whether limits would hold there is found out by trying: rights, delegation and the
rule that a group with controllers below it holds no processes show in no file that can be asked. Where nobody but this
agent's processes is in the way of that rule, they move to a group below.

The groups of jobs go where their holder is, from which they are forked: into another delegated part of the tree a plain
user may move nothing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from agent.probes.cgroups import directories, parse_groups, parse_mounts
from agent.supervisor import processes
from agent.supervisor.client import HolderClient

# What exact limits need, and a value for each that is written and read back.
CONTROLLERS = ("cpu", "memory", "pids")
_TRIED = {"cpu.max": "50000 100000", "memory.max": "67108864", "pids.max": "64"}
_SWITCHES = "cgroup.subtree_control"
_PROCESSES = "cgroup.procs"
_UNITS = (".service", ".scope")
# Where this agent's own processes go when they are in the way of controllers.
OWN = "edge-agent-own"
_NAMES = ("edge-holder", "edge-waiter")
# Version 1: the file of each controller that must be writable.
_FIRST = {"cpu": "cpu.cfs_quota_us", "memory": "memory.limit_in_bytes", "pids": "pids.max"}
_ROUNDS = 3


class Place(NamedTuple):
    """Where the groups of jobs go. groups: the directory in the tree of version 2, None where there can be none.

    exact: limits hold there. first: directories by controller of version 1, where they do not.
    """

    groups: Path | None = None
    first: Mapping[str, Path] = {}
    exact: bool = False


NOWHERE = Place()


def is_ours(pid: int) -> bool:
    """Say whether a process is this agent, its holder, one of its waiters, or has one of these above it."""
    while pid > 1:
        stat = processes.read_stat(pid)
        if stat is None:
            return False
        if pid == os.getpid() or _name(pid) in _NAMES:
            return True
        pid = stat.ppid
    return pid == os.getpid()


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


class Tree(NamedTuple):
    """How groups are made and removed, which a plain directory does not do as the kernel does.

    ours: whether a process may be moved out of the way.
    """

    make: Callable[[Path], None]
    remove: Callable[[Path], None]
    ours: Callable[[int], bool] = is_ours


def _make(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)


KERNEL = Tree(_make, Path.rmdir)


def parse_mount(mountinfo: str) -> str | None:
    """Return the mount point of the cgroup v2 tree from the text of /proc/self/mountinfo."""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup2 "):
            return fields.split()[4]
    return None


def parse_own(cgroup: str) -> str | None:
    """Return the own group in the v2 tree ("/system.slice/...") from the text of /proc/self/cgroup."""
    return next((line[3:] for line in cgroup.splitlines() if line.startswith("0::")), None)


def parse_unit(own: str) -> str:
    """Return the group of the innermost unit of systemd that `own` is in, else `own` without OWN; "" is the root.

    With DelegateSubgroup= a service's own process is in a subgroup. Beside it groups can have controllers, below it
    they cannot: a group that has processes passes none on. Above its unit nothing is the service's.
    """
    parts = own.rstrip("/").split("/")
    if parts[-1] == OWN:
        parts.pop()
    units = [place for place, part in enumerate(parts) if part.endswith(_UNITS)]
    return "/".join(parts[: units[-1] + 1] if units else parts)


def job_place(state_dir: Path, proc: Path | None = None, tree: Tree = KERNEL) -> Place:
    """Return where job cgroups of this state directory go, with all controllers there are switched on."""
    proc = proc or _seat(state_dir)
    groups = job_groups(state_dir, proc, tree)
    exact = groups is not None and _prepare(groups, tree)
    return Place(groups, {} if exact else _first_groups(state_dir, proc), exact)


def remove_place(state_dir: Path, proc: Path | None = None, tree: Tree = KERNEL) -> None:
    """Remove the directories of job groups where no group is left in them."""
    proc = proc or _seat(state_dir)
    _remove((*_places(state_dir, proc), *_first_places(state_dir, proc).values()), tree)


def job_groups(state_dir: Path, proc: Path | None = None, tree: Tree = KERNEL) -> Path | None:
    """Return the directory below which job cgroups of this state directory go; None where none can be made."""
    places = _places(state_dir, proc or _seat(state_dir))
    return next((groups for groups in places if _is_usable(groups, tree)), None)


def try_limits(state_dir: Path, proc: Path | None = None, tree: Tree = KERNEL) -> dict[str, str]:
    """Try limits where the groups of jobs go, leaving no group behind. See "limits-test" in probes.host.QUERIES.

    What is this agent's may have moved to a group of its own afterwards.
    """
    places = _places(state_dir, proc or _seat(state_dir))
    if not places:
        return {"step": "tree"}
    return _try_limits(next((each for each in places if _is_usable(each, tree)), places[0]), tree)


def _seat(state_dir: Path) -> Path:
    """Return the /proc directory of the process from which jobs are forked: the holder, else who would start one."""
    pid = HolderClient(state_dir).holder_pid()
    return Path("/proc/self" if pid is None else f"/proc/{pid}")


def _prepare(groups: Path, tree: Tree) -> bool:
    """Make the directory of job groups with what controllers there are; True when it has all of them."""
    try:
        tree.make(groups)
    except OSError:
        return False
    # Both, whatever becomes of the first: where one controller is missing, the others serve.
    enabled = [_all_enabled(group, tree) for group in (groups.parent, groups)]
    return all(enabled)


def _all_enabled(group: Path, tree: Tree) -> bool:
    missing = _missing(group / _SWITCHES)
    try:
        _enable(group, missing, tree)
    except OSError:
        for name in missing:
            with contextlib.suppress(OSError):
                _enable(group, (name,), tree)
        return False
    return True


def _first_groups(state_dir: Path, proc: Path) -> dict[str, Path]:
    """Return where limits of version 1 can be set, by controller."""
    places = _first_places(state_dir, proc)
    return {controller: place for controller, place in places.items() if _takes_limits(place, _FIRST[controller])}


def _first_places(state_dir: Path, proc: Path) -> dict[str, Path]:
    try:
        mounts, own = parse_mounts((proc / "mountinfo").read_text()), parse_groups((proc / "cgroup").read_text())
    except OSError:
        return {}
    return {
        controller: Path(directories(mounts[controller], own[controller])[0]) / _group_name(state_dir)
        for controller in _FIRST
        if controller in mounts and controller in own
    }


def _takes_limits(place: Path, file: str) -> bool:
    try:
        place.mkdir(exist_ok=True)
    except OSError:
        return False
    return os.access(place / file, os.W_OK)


def _places(state_dir: Path, proc: Path) -> tuple[Path, ...]:
    """Return where the groups of jobs may go, the best place first; empty without a tree of version 2."""
    try:
        mount, own = parse_mount((proc / "mountinfo").read_text()), parse_own((proc / "cgroup").read_text())
    except OSError:
        return ()
    if mount is None or own is None:
        return ()
    name = _group_name(state_dir)
    return tuple(Path(mount + group) / name for group in dict.fromkeys((parse_unit(own), own.rstrip("/"))))


def _group_name(state_dir: Path) -> str:
    return "edge-agent-" + hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:8]


def _is_usable(groups: Path, tree: Tree) -> bool:
    """Try to make a group that can be killed (kernel 5.14), and see that processes may be moved from here to there."""
    trial, made = groups / f"trial-{os.getpid()}", not groups.exists()
    try:
        tree.make(trial)
        return (trial / "cgroup.kill").exists() and os.access(groups.parent / _PROCESSES, os.W_OK)
    except OSError:
        return False
    finally:
        _remove((trial, groups) if made else (trial,), tree)


def _try_limits(groups: Path, tree: Tree) -> dict[str, str]:
    base, trial, made = groups.parent, groups / f"limits-{os.getpid()}", not groups.exists()
    missing = _missing(base / "cgroup.controllers")
    if missing:
        return {"step": "controllers", "path": str(base), "missing": ", ".join(missing)}
    added = _missing(base / _SWITCHES)
    steps: tuple[tuple[str, Path, Callable[[Path], object]], ...] = (
        ("make", trial, tree.make),
        ("type", trial, _see_that_it_takes_processes),
        ("kill", trial, lambda path: (path / "cgroup.kill").stat()),
        ("enable", base, lambda path: _enable(path, added, tree)),
        ("enable", groups, lambda path: _enable(path, CONTROLLERS, tree)),
        ("write", trial, _write_limits),
    )
    try:
        return _first_failure(steps)
    finally:
        _remove((trial, groups) if made else (trial,), tree)
        if made and not groups.exists():  # else jobs are in it, which may need what was switched on
            with contextlib.suppress(OSError):
                _switch(base, "-", added)


def _first_failure(steps: Iterable[tuple[str, Path, Callable[[Path], object]]]) -> dict[str, str]:
    for step, path, act in steps:
        try:
            act(path)
        except OSError as error:
            return {"step": step, "path": str(path), "error": error.strerror or str(error)}
    return {"step": "done"}


def _missing(listing: Path) -> tuple[str, ...]:
    try:
        listed = listing.read_text().split()
    except OSError:
        listed = []
    return tuple(name for name in CONTROLLERS if name not in listed)


def _see_that_it_takes_processes(group: Path) -> None:
    """Below a threaded group others are made that take no processes ("domain invalid")."""
    with contextlib.suppress(FileNotFoundError):
        kind = (group / "cgroup.type").read_text().strip()
        if kind != "domain":
            raise OSError(errno.EOPNOTSUPP, f'a group made there is "{kind}" and takes no processes')


def _enable(group: Path, controllers: Iterable[str], tree: Tree) -> None:
    """Switch controllers on; what is ours moves out of the group's way if that is all that is in it."""
    try:
        _switch(group, "+", controllers)
    except OSError as error:
        if error.errno != errno.EBUSY or not _vacated(group, tree):
            raise
        _switch(group, "+", controllers)


def _vacated(group: Path, tree: Tree) -> bool:
    """Move every process of the group to OWN below it, if all are ours; again for those that were forked meanwhile."""
    for _ in range(_ROUNDS):
        found = [int(line) for line in (group / _PROCESSES).read_text().split()]
        if not found:
            return True
        if not all(map(tree.ours, found)):
            return False
        tree.make(group / OWN)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                _write(group / OWN / _PROCESSES, str(pid))
    return False


def _switch(group: Path, sign: str, controllers: Iterable[str]) -> None:
    words = " ".join(f"{sign}{name}" for name in controllers)
    if words:
        _write(group / _SWITCHES, words)


def _write_limits(group: Path) -> None:
    for name, value in _TRIED.items():
        _write(group / name, value)
        kept = (group / name).read_text().strip()
        if kept != value:
            raise OSError(0, f"{name} keeps {kept} where {value} was written")


def _write(file: Path, text: str) -> None:
    """The file must be there: in a real tree it always is, elsewhere writing must not look like success."""
    descriptor = os.open(file, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _remove(groups: Iterable[Path], tree: Tree) -> None:
    for each in groups:
        with contextlib.suppress(OSError):
            tree.remove(each)
