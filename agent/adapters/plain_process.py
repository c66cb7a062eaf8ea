"""Jobs in a Python virtual environment: plain processes of the agent's user, without a container.

Holder and waiter treat them as any other job. Nothing separates them from the host: such jobs are trusted.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from agent.adapters.cgroup import Place
from agent.adapters.spec import JobLimits, job_spec
from agent.errors import JobFault
from agent.ports import ContainerRun

SECRETS = "EDGE_SECRETS"
_PATH = "/usr/local/bin:/usr/bin:/bin"
# It looks the program up where the job's PATH says, and tells in the job's log when there is none (127).
_ENV = "/usr/bin/env"


def spec(run: ContainerRun, place: Place, limits: JobLimits) -> dict[str, Any]:
    """Return what the holder is told. Raises JobFault for a job without a command."""
    cwd = Path(os.path.normpath(run.home / run.workdir))
    return job_spec(run, place, argv(run), environment(run), cwd, memory=run.memory, marker=False, limits=limits)


def argv(run: ContainerRun) -> list[str]:
    """Return the command line. Raises JobFault for a job without a command."""
    if not run.command:
        raise JobFault("the job has no command, and a Python environment has no runscript")
    if "=" in run.command[0]:  # env would take it for a variable
        return [_ENV, "--", "sh", "-c", 'exec "$0" "$@"', *run.command]
    return [_ENV, "--", *run.command]


def environment(run: ContainerRun) -> dict[str, str]:
    """Return the job's environment: nothing of the agent's, and whatever PATH it sets, its own Python first."""
    plain = {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "TMPDIR": str(run.directory / "tmp"), "PATH": _PATH}
    wanted = {**plain, **run.env}
    return {
        **wanted,
        "PATH": f"{run.image / 'bin'}:{wanted['PATH']}",
        "HOME": str(run.home),
        "VIRTUAL_ENV": str(run.image),
        **({SECRETS: str(run.secrets)} if run.secrets is not None else {}),
        **dict.fromkeys(run.homes, str(run.home)),
    }
