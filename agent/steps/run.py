"""The container of an attempt."""

from __future__ import annotations

import os
from pathlib import Path

from agent.attempt import Attempt
from agent.context import Context
from agent.errors import HostFault, disk_fault
from agent.ports import NO_DEVICES, ContainerRun, Devices
from agent.steps.step import Step


def apply(context: Context, attempt: Attempt) -> None:
    """Start the container; it runs on whatever becomes of the agent."""
    context.runtime.start(container_run(context, attempt))


def container_run(context: Context, attempt: Attempt) -> ContainerRun:
    """Return what to run, with the secrets written where the container will find them."""
    job, directory = attempt.job, context.directory(attempt.id)
    devices = _devices(context, attempt)
    return ContainerRun(
        attempt_id=attempt.id,
        directory=directory,
        image=(directory / "image").resolve(),
        command=job.command,
        # Last, what the agent says: a variable of the job could name GPUs that others were granted.
        env={**job.env, **devices.env, "EDGE_JOB": attempt.sid, "EDGE_ATTEMPT": str(attempt.n)},
        home=directory / "work",
        workdir=job.workdir or ".",
        network=job.network,
        cpus=attempt.reserved.cpus,
        memory=attempt.reserved.memory,
        disk=attempt.reserved.disk or None,
        timeout=job.timeout,
        grace=job.grace,
        log=directory / "log",
        secrets=_write_secrets(context, attempt),
        log_limit=context.log_limit,
        homes=attempt.cargo.homes,
        devices=devices,
    )


def _devices(context: Context, attempt: Attempt) -> Devices:
    units = attempt.reserved.gpus
    if not units:
        return NO_DEVICES
    if context.gpus is None:
        raise HostFault(f"GPU {', '.join(units)} was granted, and this agent gives none; see [resources] gpus")
    return context.gpus.grant(units)


def _write_secrets(context: Context, attempt: Attempt) -> Path | None:
    if not attempt.job.secrets:
        return None
    place = context.directory(attempt.id) / "secrets"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        for name in attempt.job.secrets:
            descriptor = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o400)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(context.secret_value(name))
    except OSError as error:
        raise disk_fault(error, f"secrets cannot be written to {place}: {error.strerror}") from None
    return place


def undo(context: Context, attempt_id: str) -> None:
    """End the container, if it is still there, with all its processes, its cgroup and its mounts."""
    context.runtime.remove(attempt_id)


STEP = Step("run", apply, undo)
