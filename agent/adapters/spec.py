"""What the holder is told of a job, whatever starts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.ports import ContainerRun
from agent.supervisor import protocol


def job_spec(
    run: ContainerRun,
    groups: Path | None,
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    *,
    memory: int,
    marker: bool,
) -> dict[str, Any]:
    """Return the spec of the job: see `supervisor.protocol.Spec`. groups: the directory of job cgroups.

    memory: bytes over which it is killed; marker: whether it says by itself that its payload was started.
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
        "cgroup": str(groups / run.attempt_id) if groups else None,
        "rlimits": {"core": 0},
        "oom_score_adj": 800,
        "memory_bytes": memory,
        "marker": marker,
    }
