"""What the container runtime needs of the kernel to run for a plain user: user namespaces, and FUSE to mount images.

Neither is needed by root, nor where the runtime was installed with its setuid starter. The kernel's switches are read;
only in a container, where a filter of system calls may forbid what they allow, it is tried.
"""

from __future__ import annotations

from typing import NamedTuple

from agent.model.capabilities import RuntimeFacts
from agent.ports import Host
from agent.probes import identity
from agent.probes.host import ProbeProblem, read_int

# (file, what to do): 0 in it forbids user namespaces.
_SWITCHES = (
    ("/proc/sys/kernel/unprivileged_userns_clone", "sysctl kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "sysctl user.max_user_namespaces=15000"),
)
_APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
_PROFILES = "/etc/apparmor.d"
_RUNTIMES = ("apptainer", "singularity")
_NO_DEVICE = ("ENOENT", "ENODEV", "ENXIO")


class Shortfall(NamedTuple):
    """Something that the runtime needs and this host does not give; certain unless a sign may mislead."""

    message: str
    remedy: str
    certain: bool = True


def exemption(host: Host) -> str | None:
    """Return why neither is needed here, None when both are."""
    if host.query("uid") == 0:
        return "not needed as root"
    return "not needed: the runtime has a setuid starter" if host.query("setuid-starter") else None


def user_namespaces(host: Host) -> Shortfall | None:
    """Return what keeps this user from making user namespaces; None when nothing is known to."""
    if host.query("uid") is None or exemption(host):
        return None
    kinds = host.list("/proc/self/ns")
    if kinds and "user" not in kinds:
        return Shortfall("the kernel has no user namespaces", "boot a kernel with CONFIG_USER_NS")
    for path, remedy in _SWITCHES:
        if read_int(host, path) == 0:
            return Shortfall(f"user namespaces are forbidden: {path} is 0", remedy)
    if read_int(host, _APPARMOR) == 1 and not _has_profile(host):
        remedy = "use the distribution's apptainer package, which brings an AppArmor profile"
        return Shortfall("AppArmor allows user namespaces only to programs with a profile", remedy, certain=False)
    return _in_container(host)


def _has_profile(host: Host) -> bool:
    return any(runtime in name for name in host.list(_PROFILES) for runtime in _RUNTIMES)


def _in_container(host: Host) -> Shortfall | None:
    if identity.probe(host).container in (None, "none"):
        return None
    error = host.query("unshare")
    if not error:
        return None
    remedy = "let this container make user namespaces (Docker: --security-opt seccomp=unconfined)"
    return Shortfall(f"this container forbids user namespaces: {error}", remedy)


def fuse(host: Host) -> Shortfall | None:
    """Return what keeps this user from mounting images through FUSE; None when nothing is known to."""
    error = host.query("fuse")
    if not error or host.query("uid") is None or exemption(host):
        return None
    if error in _NO_DEVICE:
        remedy = "modprobe fuse; in a container: give it --device /dev/fuse"
        return Shortfall(f"there is no /dev/fuse ({error})", remedy)
    remedy = "chmod 666 /dev/fuse; in a unit of systemd: DeviceAllow=/dev/fuse rw and no PrivateDevices="
    return Shortfall(f"this user cannot open /dev/fuse ({error})", remedy)


def probe_user_namespaces(host: Host) -> RuntimeFacts:
    """Return nothing new. Raises ProbeProblem when there is a runtime that lacks them."""
    return _judged(host, user_namespaces(host))


def probe_fuse(host: Host) -> RuntimeFacts:
    """Return nothing new. Raises ProbeProblem when there is a runtime that lacks it."""
    return _judged(host, fuse(host))


def _judged(host: Host, shortfall: Shortfall | None) -> RuntimeFacts:
    if shortfall is not None and host.query("runtime-version"):
        raise ProbeProblem(shortfall.message, shortfall.remedy)
    return RuntimeFacts()
