"""One cgroup v2 directory per job: create, kill, see that it is empty, remove."""

from __future__ import annotations

import contextlib
import os
import signal

from agent.supervisor.processes import identify, send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def create(path: str) -> None:
    """Make the directory with its parents; one that exists is taken as it is. Raises OSError."""
    os.makedirs(path, mode=0o755, exist_ok=True)
    if not os.path.exists(os.path.join(path, "cgroup.procs")):
        raise OSError(f"{path} is not a cgroup directory: it has no cgroup.procs")


def enter(path: str) -> None:
    """Move the calling process into the group. Raises OSError."""
    _write(path, "cgroup.procs", "0")


def kill(path: str) -> None:
    """SIGKILL everything in the group and below. One by one where there is no cgroup.kill (before 5.14)."""
    try:
        _write(path, "cgroup.kill", "1")
    except OSError:
        for pid in pids(path):
            _kill_member(pid)


def _kill_member(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        send_signal(identify(pid), signal.SIGKILL)


def pids(path: str) -> list[int]:
    """The processes in the group and in all groups below it."""
    return [pid for group in _groups(path) for pid in _pids_of(group)]


def populated(path: str) -> bool:
    """Whether a living process is in the group or below; a group that is gone has none."""
    return counts(path, "cgroup.events").get("populated", 0) != 0


def remove(path: str) -> bool:
    """Remove the group and what the job made below it; True when it is gone."""
    for group in _groups(path):
        with contextlib.suppress(OSError):  # still busy: the caller sweeps once more and comes back
            os.rmdir(group)
    return not os.path.exists(path)


def _groups(path: str) -> Iterator[str]:
    """The group and all below it, the deepest first."""
    for directory, _, _ in os.walk(path, topdown=False):
        yield directory


def _pids_of(group: str) -> list[int]:
    try:
        with open(os.path.join(group, "cgroup.procs"), encoding="ascii") as file:
            return [int(line) for line in file]
    except OSError:
        return []


def counts(path: str, name: str) -> dict[str, int]:
    """The lines "NAME NUMBER" of one of the group's files; empty when it cannot be read."""
    try:
        with open(os.path.join(path, name), encoding="ascii") as file:
            return {key: int(value) for key, value in (line.split() for line in file)}
    except OSError:
        return {}


def _write(path: str, name: str, text: str) -> None:
    with open(os.path.join(path, name), "w", encoding="ascii") as file:
        file.write(text)
