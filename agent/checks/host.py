"""Checks of this host: its disk, its container runtime and what that needs of the kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator

from agent.checks.finding import Bench, Finding, doubtful, failed, good
from agent.errors import EdgeAgentError
from agent.model.units import show_size
from agent.probes.host import read_int

LITTLE = 1024**3


def check_state_dir(bench: Bench) -> Iterator[Finding]:
    """The state directory is there, or can be made, and can be written to."""
    bench.prepare()
    name, place = "state-dir", bench.state_dir
    if os.access(place, os.W_OK | os.X_OK):
        yield good(name, f"{place} can be written to")
    else:
        yield failed(name, f"this user cannot write to {place}", "change its owner, or set agent.state_dir")


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
    problems = [problem for problem in bench.profile.problems if problem.probe == "runtime"]
    for problem in problems:
        yield failed("runtime", problem.message, problem.remedy or "")
    if not problems:
        yield failed("runtime", "no container runtime was found", "install apptainer")


# (file, the value that forbids user namespaces, what to do)
_NAMESPACE_SWITCHES = (
    ("/proc/sys/kernel/unprivileged_userns_clone", 0, "sysctl kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", 0, "sysctl user.max_user_namespaces=15000"),
)
_APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"


def check_user_namespaces(bench: Bench) -> Iterator[Finding]:
    """A plain user may make user namespaces, which the runtime needs."""
    name = "user-namespaces"
    if bench.uid == 0:
        yield good(name, "not needed as root")
        return
    blocked = [(path, remedy) for path, bad, remedy in _NAMESPACE_SWITCHES if read_int(bench.host, path) == bad]
    for path, remedy in blocked:
        yield failed(name, f"{path} forbids them", remedy)
    if not blocked and read_int(bench.host, _APPARMOR) == 1:
        remedy = "use the distribution's apptainer package, which brings an AppArmor profile"
        yield doubtful(name, "AppArmor allows them only for programs with a profile", remedy)
    elif not blocked:
        yield good(name, "allowed")


def check_fuse(bench: Bench) -> Iterator[Finding]:
    """A plain user can mount images through FUSE."""
    device = bench.fuse_device
    if bench.uid == 0:
        yield good("fuse", "not needed as root")
    elif os.access(device, os.R_OK | os.W_OK):
        yield good("fuse", f"{device} can be used")
    else:
        yield failed("fuse", f"{device} is not there or not for this user", "modprobe fuse; chmod 666 /dev/fuse")


def check_container(bench: Bench) -> Iterator[Finding]:
    """A tiny container really runs."""
    if not bench.profile.runtime.archs:
        return  # the runtime check has said why
    try:
        bench.canary()
    except EdgeAgentError as error:
        yield failed("container", str(error), "see the checks above; `apptainer exec` by hand shows more")
    else:
        yield good("container", "a test container ran")
