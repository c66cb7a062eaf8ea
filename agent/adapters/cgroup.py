"""Where job cgroups can be made: a writable part of the cgroup v2 tree, with or without controllers.

A group without controllers limits nothing, but it names every process of a job, whatever session it moved to, and the
kernel kills all of them at once. Whether limits would hold there is found out by trying: rights, delegation and the
rule that a group with controllers below it holds no processes show in no file that can be asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

# What exact limits need, and a value for each that is written and read back.
CONTROLLERS = ("cpu", "memory", "pids")
_TRIED = {"cpu.max": "50000 100000", "memory.max": "67108864", "pids.max": "64"}
_SWITCHES = "cgroup.subtree_control"
_UNITS = (".service", ".scope")


class Tree(NamedTuple):
    """How groups are made and removed, which a plain directory does not do as the kernel does."""

    make: Callable[[Path], None]
    remove: Callable[[Path], None]


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
    """Return the group of the innermost unit of systemd that `own` is in, else `own`; "" is the root.

    With DelegateSubgroup= a service's own process is in a subgroup. Beside it groups can have controllers, below it
    they cannot: a group that has processes passes none on. Above its unit nothing is the service's.
    """
    parts = own.rstrip("/").split("/")
    units = [place for place, part in enumerate(parts) if part.endswith(_UNITS)]
    return "/".join(parts[: units[-1] + 1] if units else parts)


def job_groups(state_dir: Path, proc: Path = Path("/proc/self"), tree: Tree = KERNEL) -> Path | None:
    """Return the directory below which job cgroups of this state directory go; None where none can be made."""
    return next((groups for groups in _places(state_dir, proc) if _is_usable(groups, tree)), None)


def try_limits(state_dir: Path, proc: Path = Path("/proc/self"), tree: Tree = KERNEL) -> dict[str, str]:
    """Try limits where the groups of jobs go, leaving nothing behind. See "limits-test" in probes.host.QUERIES."""
    places = _places(state_dir, proc)
    if not places:
        return {"step": "tree"}
    return _try_limits(next((each for each in places if _is_usable(each, tree)), places[0]), tree)


def _places(state_dir: Path, proc: Path) -> tuple[Path, ...]:
    """Return where the groups of jobs may go, the best place first; empty without a tree of version 2."""
    try:
        mount, own = parse_mount((proc / "mountinfo").read_text()), parse_own((proc / "cgroup").read_text())
    except OSError:
        return ()
    if mount is None or own is None:
        return ()
    name = "edge-agent-" + hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:8]
    return tuple(Path(mount + group) / name for group in dict.fromkeys((parse_unit(own), own.rstrip("/"))))


def _is_usable(groups: Path, tree: Tree) -> bool:
    """Try to make a group that can be killed (kernel 5.14), and see that processes may be moved from here to there."""
    trial = groups / f"trial-{os.getpid()}"
    try:
        tree.make(trial)
        return (trial / "cgroup.kill").exists() and os.access(groups.parent / "cgroup.procs", os.W_OK)
    except OSError:
        return False
    finally:
        _remove((trial, groups), tree)


def _try_limits(groups: Path, tree: Tree) -> dict[str, str]:
    base, trial = groups.parent, groups / f"limits-{os.getpid()}"
    missing = _missing(base / "cgroup.controllers")
    if missing:
        return {"step": "controllers", "path": str(base), "missing": ", ".join(missing)}
    added = _missing(base / _SWITCHES)
    steps: tuple[tuple[str, Path, Callable[[Path], object]], ...] = (
        ("make", trial, tree.make),
        ("kill", trial, lambda path: (path / "cgroup.kill").stat()),
        ("enable", base, lambda path: _switch(path, "+", added)),
        ("enable", groups, lambda path: _switch(path, "+", CONTROLLERS)),
        ("write", trial, _write_limits),
    )
    try:
        return _first_failure(steps)
    finally:
        _remove((trial, groups), tree)
        if not groups.exists():  # else jobs are in it, which may need what was switched on
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
