"""Containers by Apptainer (or SingularityCE), started by the holder so that they outlive the agent.

A run whose image is a directory is one of a Python virtual environment, and starts as a plain process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.adapters import plain_process
from agent.adapters.cgroup import Place, job_place, remove_place
from agent.adapters.confinement import Mask, kernel_masks, seccomp_profile
from agent.adapters.spec import JobLimits, job_spec
from agent.errors import HostFault, RuntimeUnavailable
from agent.model.usage import Usage
from agent.ports import ABSENT, LOST, RUNNING, ContainerRun, Exit, RunStatus
from agent.supervisor import client
from agent.supervisor.client import HolderClient, SupervisorError

HOME = "/home/job"
SECRETS = "/run/secrets"
MARKER = "/.edge-agent/marker"
# Resident memory of starter, init shim and FUSE helper, which is not the job's.
RUNTIME_MEMORY = 32 * 1024**2
# Their threads: they grow with the number of CPUs.
RUNTIME_PIDS = 64
# Sourced by the runtime's built-in shell just before the payload, in images without any shell, too.
MARK_SCRIPT = f"echo s > {MARKER}\n"


def argv(program: str, run: ContainerRun, masks: Sequence[Mask] = ()) -> list[str]:
    """Return the command line of the container. Nothing secret is in it: everybody on the host can read it.

    masks: what lies over files of the container's own.
    """
    directory = run.directory
    return [
        program,
        "-s",
        "run" if run.command is None else "exec",
        "--containall",
        "--cleanenv",
        "--no-eval",
        "--no-umask",
        "--no-privs",
        "--security=" + _csv(f"seccomp:{directory}/seccomp.json"),
        "--uts",
        "--hostname=job",
        *(["--net", "--network=none"] if run.network == "none" else []),
        "--no-mount=sys,bind-paths",
        f"--home={_checked(str(run.home))}:{HOME}",
        f"--pwd={os.path.normpath(f'{HOME}/{run.workdir}')}",
        f"--workdir={directory / 'tmp'}",
        # Read-only it can be written to, being a pipe, and its mode, which forbids to read it, stays.
        _mount(f"{directory}/marker", MARKER, "ro"),
        _mount(f"{directory}/mark.sh", "/.singularity.d/env/00-edge-agent.sh", "ro"),
        *([_mount(str(run.secrets), SECRETS, "ro")] if run.secrets is not None else []),
        *(_mount(source, target, "ro") for source, target in masks),
        # The container's own /dev has no GPU: what is granted is all it gets. A node keeps its path.
        *(_mount(node, node, "rw") for node in run.devices.nodes),
        *(_mount(each.source, each.target, "rw" if each.writable else "ro") for each in run.devices.mounts),
        str(run.image),
        *(run.command or ()),
    ]


def _mount(source: str, target: str, mode: str) -> str:
    fields = ["type=bind", f"src={source}", f"dst={target}", *(["ro"] if mode == "ro" else [])]
    return "--mount=" + ",".join(map(_csv, fields))


def _csv(field: str) -> str:
    """The value of --mount is one line of CSV."""
    return '"' + field.replace('"', '""') + '"' if '"' in field or "," in field else field


def _checked(path: str) -> str:
    if ":" in path or "," in path:
        raise HostFault(f'the state directory "{path}" has a ":" or "," in its path, which the runtime cannot mount')
    return path


def environment(run: ContainerRun) -> dict[str, str]:
    """Return the environment of the runtime's process: the job's variables in the form that passes them on."""
    inside = {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", **run.env, **dict.fromkeys(run.homes, HOME)}
    passed = {f"{prefix}ENV_{name}": value for prefix in ("APPTAINER", "SINGULARITY") for name, value in inside.items()}
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(run.directory),
        **passed,
    }


def spec(
    program: str, run: ContainerRun, place: Place, limits: JobLimits, masks: Sequence[Mask] = ()
) -> dict[str, Any]:
    """Return what the holder is told of a container."""
    memory = run.memory + RUNTIME_MEMORY
    command, env = argv(program, run, masks), environment(run)
    limits = limits._replace(pids=limits.pids + RUNTIME_PIDS)
    return job_spec(run, place, command, env, run.directory, memory=memory, marker=True, limits=limits)


class ApptainerRuntime:
    """The Runtime port. `program` returns the runtime's path, or None where none is installed."""

    def __init__(
        self,
        state_dir: Path,
        program: Callable[[], str | None],
        idle_exit: int | None = 60,
        limits: JobLimits = JobLimits(),  # noqa: B008 - immutable
        own_holder: bool = True,
    ) -> None:
        """`idle_exit`: seconds after which a holder without jobs leaves; None = it stays.

        own_holder: start a holder where none runs; False = a service of its own is the holder.
        """
        self._client = HolderClient(state_dir, idle_exit_s=idle_exit, launches=own_holder)
        self._program = program
        self._state_dir = state_dir
        self._limits = limits

    def start(self, run: ContainerRun) -> None:
        """See ports.Runtime. Raises HostFault for a path that cannot be mounted, JobFault for want of a command."""
        with _translated():
            self._client.start(self._spec(run))

    def _spec(self, run: ContainerRun) -> dict[str, Any]:
        if run.image.is_dir():
            return plain_process.spec(run, self._place(), self._limits)
        program = self._program()
        if program is None:
            raise RuntimeUnavailable("no apptainer or singularity on PATH; install it or set runtime.path")
        (run.directory / "mark.sh").write_text(MARK_SCRIPT)
        (run.directory / "seccomp.json").write_text(seccomp_profile())
        return spec(program, run, self._place(), self._limits, kernel_masks(os.geteuid()))

    def _place(self) -> Place:
        """Return where the groups of jobs go: where the holder is."""
        self._client.ensure()
        return job_place(self._state_dir)

    def status(self, attempt_id: str, timeout: float = 0.0) -> RunStatus:
        """See ports.Runtime."""
        with _translated():
            return _status(self._client.wait(attempt_id, timeout))

    def stop(self, attempt_id: str, why: str, grace: float) -> None:
        """See ports.Runtime."""
        with _translated():
            self._client.stop(attempt_id, why, grace)

    def remove(self, attempt_id: str) -> None:
        """See ports.Runtime."""
        with _translated():
            self._client.remove(attempt_id)

    def end(self) -> None:
        """End all jobs and the holder, as on a shutdown; nothing happens where no holder runs."""
        with contextlib.suppress(SupervisorError):
            self._client.end()
        remove_place(self._state_dir)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """The border: errors of the supervisor become the agent's."""
    try:
        yield
    except (SupervisorError, OSError) as error:
        raise RuntimeUnavailable(f"the holder of the jobs: {error}") from None


def _status(status: client.Status) -> RunStatus:
    if isinstance(status, client.Exited):
        return RunStatus("exited", _exit(status.exit))
    if isinstance(status, client.Lost):
        return LOST
    return ABSENT if isinstance(status, client.Absent) else RUNNING


def _exit(exit: client.Exit) -> Exit:
    return Exit(
        exit_code=exit.exit_code,
        signal=exit.signal,
        why="memory" if exit.oom and exit.why == "exited" else exit.why,
        # Without a container around it, whatever was executed is the payload.
        started=exit.error is None if exit.started is None else exit.started,
        started_at=exit.started_at,
        ended_at=exit.ended_at,
        error=exit.error,
        usage=_usage(exit.usage),
    )


def _usage(used: client.Usage) -> Usage:
    cpu_s = used.user_s + used.system_s
    return Usage(cpu_s=cpu_s, peak_memory_bytes=used.peak_memory_bytes, wall_s=used.wall_s)
