"""Checks of this host: its disk, its container runtime and what that needs of the kernel."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agent.checks.finding import Bench, Finding, doubtful, failed, good
from agent.errors import EdgeAgentError
from agent.model.units import show_size
from agent.probes import isolation, limits
from agent.probes.host import read_text
from agent.probes.seccomp import Seccomp, has_more, parse_seccomp

LITTLE = 1024**3
_SECCOMP = (
    "install a container runtime that was built with libseccomp, as the packages of Apptainer are, and libseccomp "
    "itself; the kernel needs CONFIG_SECCOMP_FILTER"
)


def check_state_dir(bench: Bench) -> Iterator[Finding]:
    """The state directory is there, or can be made, and can be written to."""
    bench.prepare()
    name, place = "state-dir", bench.state_dir
    if not os.access(place, os.W_OK | os.X_OK):
        yield failed(name, f"this user cannot write to {place}", "change its owner, or set agent.state_dir")
    elif (why := _write_trouble(place)) is not None:
        yield failed(name, f"a file in {place} cannot be written: {why}", "check its disk: the kernel's log says more")
    else:
        yield good(name, f"{place} can be written to")


def _write_trouble(place: Path) -> str | None:
    """Write a file and sync it; return why that fails, None where it does not. A full disk is another check's."""
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return None if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error.strerror)
    return None


def check_disk(bench: Bench) -> Iterator[Finding]:
    """There is room for jobs above the reserve."""
    free = bench.free_disk()
    if free <= 0:
        remedy = "free some space, or lower resources.disk_reserve"
        yield failed("disk", f"{show_size(-free)} short of the reserve in {bench.state_dir}", remedy)
    elif free < LITTLE:
        yield doubtful("disk", f"only {show_size(free)} above the reserve in {bench.state_dir}", "free some space")
    else:
        yield good("disk", f"{show_size(free)} above the reserve in {bench.state_dir}")


def check_runtime(bench: Bench) -> Iterator[Finding]:
    """A container runtime is there and new enough."""
    runtime = bench.profile.runtime
    if runtime.archs:
        yield good("runtime", f"{runtime.name} {runtime.version} runs images for {', '.join(runtime.archs)}")
        return
    tell = doubtful if bench.trusted else failed  # without one, jobs with Python environments run all the same
    problems = [problem for problem in bench.profile.problems if problem.probe == "runtime"]
    for problem in problems:
        yield tell("runtime", problem.message, problem.remedy or "")
    if not problems:
        yield tell("runtime", "no container runtime was found", "install apptainer")


def check_user_namespaces(bench: Bench) -> Iterator[Finding]:
    """A plain user may make user namespaces, which the runtime needs."""
    yield _needed(bench, "user-namespaces", isolation.user_namespaces(bench.host), "allowed")


def check_fuse(bench: Bench) -> Iterator[Finding]:
    """A plain user can mount images through FUSE."""
    yield _needed(bench, "fuse", isolation.fuse(bench.host), "/dev/fuse can be used")


def _needed(bench: Bench, name: str, shortfall: isolation.Shortfall | None, fine: str) -> Finding:
    if shortfall is None:
        return good(name, isolation.exemption(bench.host) or fine)
    tell = failed if shortfall.certain else doubtful
    return tell(name, shortfall.message, shortfall.remedy)


def check_limits(bench: Bench) -> Iterator[Finding]:
    """The kernel can hold jobs to their CPUs, memory and processes."""
    found = limits.limits(bench.host)
    if found is not None and found.kind == "exact":
        yield good("limits", "limits are exact")
    elif found is not None:
        yield doubtful("limits", f"limits are best effort: {found.why}", found.remedy)


def check_container(bench: Bench) -> Iterator[Finding]:
    """A tiny container really runs; where there is no runtime but jobs need none, a tiny process of theirs.

    A container runs under the filter of system calls: a runtime that cannot apply it warns in the job's log alone.
    """
    if not bench.profile.runtime.archs and not bench.trusted:
        return  # the runtime check has said why
    try:
        printed = bench.canary()
    except EdgeAgentError as error:
        yield failed("container", str(error), "see the checks above; `apptainer exec` by hand shows more")
    else:
        yield good("container", f"a test {'container' if bench.profile.runtime.archs else 'process'} ran")
        if bench.profile.runtime.archs:
            yield _judge_filter(parse_seccomp(printed), parse_seccomp(read_text(bench.host, "/proc/self/status") or ""))


def _judge_filter(inside: Seccomp, outside: Seccomp) -> Finding:
    name, applied = "container filter", has_more(inside, outside)
    if applied is None:
        return good(name, "a filter of system calls is there; whether it is the agent's cannot be told here")
    if applied:
        return good(name, "containers run under the agent's filter of system calls")
    without = "containers run without the agent's filter of system calls"
    return doubtful(name, f"{without}: jobs may make namespaces and mounts of their own", _SECCOMP)


def check_agent(bench: Bench) -> Iterator[Finding]:
    """The agent that runs here has not found its host faulty."""
    mode = bench.mode()
    if mode is not None and mode.name == "faulty":
        remedy = "mend it: the agent goes on once a container of its own runs; `edge-agent resume` skips the wait"
        yield failed("agent", f"it takes no jobs, the host is faulty: {mode.reason}", remedy)
    elif mode is not None and mode.held is not None:
        remedy = 'it goes on by itself: see `edge-agent status`, and the page about operations, "At 3 a.m."'
        yield failed("agent", f"it takes no new jobs for now: {mode.held}", remedy)
    elif mode is None:
        yield good("agent", "none runs here now")
    else:
        yield good("agent", f"it is {mode.name}" + (f": {mode.reason}" if mode.reason else ""))
