"""What the holder is told of a job, whatever starts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent.adapters.cgroup import Place
from agent.ports import ContainerRun
from agent.supervisor import protocol


class JobLimits(NamedTuple):
    """What the operator lets every job have. pids counts processes and threads.

    disk_floor: bytes that all jobs together must leave free on the disk of the state directory; None = none.
    """

    pids: int = 4096
    open_files: int = 65536
    disk_floor: int | None = None


def job_spec(
    run: ContainerRun,
    place: Place,
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    *,
    memory: int,
    marker: bool,
    limits: JobLimits,
) -> dict[str, Any]:
    """Return the spec of the job: see `supervisor.protocol.Spec`. place: where job cgroups go.

    memory: bytes over which it is killed; limits: what it may have besides; marker: whether it says by itself that its
    payload was started.
    """
    return {
        "version": protocol.VERSION,
        "attempt": run.attempt_id,
        "directory": str(run.directory),
        "argv": list(argv),
        "env": dict(env),
        "cwd": str(cwd),
        "log_limit_bytes": run.log_limit,
        "timeout_s": run.timeout,
        "grace_s": run.grace,
        "cgroup": str(place.groups / run.attempt_id) if place.groups else None,
        "rlimits": {"core": 0, "nofile": limits.open_files, **({} if run.disk is None else {"fsize": run.disk})},
        "oom_score_adj": 800,
        "memory_bytes": memory,
        "marker": marker,
        "limits": {
            "cpus": run.cpus,
            "memory_bytes": memory,
            "pids": limits.pids,
            "disk_bytes": run.disk,
            "disk_paths": [str(run.home), str(run.directory / "tmp")],
            "groups": {controller: str(first / run.attempt_id) for controller, first in place.first.items()},
            "exact": place.exact,
            "disk_floor_bytes": limits.disk_floor,
        },
    }
