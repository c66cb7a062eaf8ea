"""The CPU: what the kernel runs on, what this userland runs, and how much of it the agent may use."""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent.images.elf import elf_arch
from agent.model.capabilities import CpuFacts
from agent.ports import Host
from agent.probes import cgroups
from agent.probes.cpuinfo import CpuInfo, parse_cpuinfo, x86_level
from agent.probes.host import parse_cpu_list, read_int, read_text

_CPUS = "/sys/devices/system/cpu"
# uname -m, and Debian's names, in Go's words.
_MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "loongarch64": "loong64",
    "ppc64": "ppc64",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
_DEBIAN = {"i386": "386", "armhf": "arm", "armel": "arm", "ppc64el": "ppc64le"}
# What a 32-bit userland on a 64-bit kernel is.
_HALVES = {"amd64": "386", "arm64": "arm"}
# Cores of one kind differ by some percent (favoured cores, binning), big and little ones by far more.
_SAME_KIND = 0.9
_PI5_PAGES = 16 * 1024  # the flavour that Raspberry Pi OS boots a Pi 5 with
_NO_CPUINFO = CpuInfo(0, None, None, None, None)


def probe(host: Host) -> CpuFacts:
    """Return the facts of the CPU."""
    info = _cpuinfo(host)
    arch = userland_arch(host, info)
    numbers = _online(host)
    online = len(numbers) if numbers else info.count or None
    return CpuFacts(
        arch=arch,
        variant=_variant(arch, kernel_machine(host, info), info),
        kernel_machine=kernel_machine(host, info),
        models=info.models,
        online=online,
        effective=_effective(host, online, numbers),
        heterogeneous=_heterogeneous(host, info),
        level=x86_level(info.features) if arch == "amd64" and info.features else None,
        features=info.features,
        page_size=page_size(host),
    )


def _cpuinfo(host: Host) -> CpuInfo:
    text = read_text(host, "/proc/cpuinfo")
    return parse_cpuinfo(text) if text else _NO_CPUINFO


def kernel_machine(host: Host, info: CpuInfo) -> str | None:
    """Return uname -m, or what the kernel's release or cpuinfo shows of it."""
    machine: str | None = host.query("uname-m")
    return machine or parse_machine(kernel_release(host)) or info.machine


def parse_machine(release: str) -> str | None:
    """Return the machine name that releases of Fedora and Red Hat end with ("4.18.0-80.el8.ppc64le"), else None."""
    machine = release.rpartition(".")[2]
    return machine if arch_of_machine(machine) else None


def userland_arch(host: Host, info: CpuInfo | None = None) -> str | None:
    """Return the architecture (Go names) that the programs here are for: not always that of the kernel."""
    shell = host.query("elf") or host.read("/bin/sh") or b""
    debian: str | None = host.query("dpkg-architecture")
    if elf_arch(shell) is not None:
        return elf_arch(shell)
    if debian is not None:
        return _DEBIAN.get(debian, debian)
    machine = kernel_machine(host, _cpuinfo(host) if info is None else info)
    arch = arch_of_machine(machine) if machine else None
    return _HALVES.get(arch or "", arch) if host.query("long-bit") == 32 else arch


def arch_of_machine(machine: str) -> str | None:
    """Return the architecture (Go names) of a machine name of uname -m; None for an unknown one."""
    if re.fullmatch(r"i[3-6]86", machine):
        return "386"
    if re.fullmatch(r"armv\d.*", machine):
        return "arm"
    return _MACHINES.get(machine)


def _variant(arch: str | None, machine: str | None, info: CpuInfo) -> str | None:
    if arch != "arm":
        return None
    match = re.match(r"armv([5-8])", machine or "")
    version = info.arm_version or (int(match[1]) if match else 7)
    return f"v{min(version, 7)}"


def _online(host: Host) -> frozenset[int]:
    """Return the numbers of the CPUs that are switched on; none when they are unknown."""
    return parse_cpu_list(read_text(host, f"{_CPUS}/online") or "")


def _effective(host: Host, online: int | None, numbers: frozenset[int]) -> float | None:
    """Return the cores that are left after affinity, cpuset and quota; None when nothing is known.

    Affinity and cpuset may hold CPUs that are switched off, such as those that a Jetson's power mode does without.
    """
    limits = cgroups.limits(host)
    allowed = [numbers for numbers in (numbers, frozenset(host.query("affinity") or ()), limits.cpuset) if numbers]
    shared = frozenset.intersection(*allowed) if allowed else frozenset()
    counts = [len(shared)] if shared else [len(numbers) for numbers in allowed]
    amounts = (online, *counts, limits.cpus)
    return min((float(amount) for amount in amounts if amount is not None), default=None)


def _heterogeneous(host: Host, info: CpuInfo) -> bool | None:
    if info.models and len(info.models) > 1:
        return True
    names = [name for name in host.list(_CPUS) if re.fullmatch(r"cpu\d+", name)]
    for path in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        values = [read_int(host, f"{_CPUS}/{name}/{path}") for name in names]
        known = [value for value in values if value]
        if len(known) > 1:
            return differ(known)
    # A part number or a core design is per core; the model name of x86 is that of the whole package.
    per_core = info.models is not None and info.machine != "x86_64" and info.machine != "i686"
    return False if per_core or info.count == 1 else None


def differ(values: Iterable[int]) -> bool:
    """Say whether capacities or top frequencies are those of different kinds of cores."""
    known = sorted(values)
    return known[0] < _SAME_KIND * known[-1]


def kernel_release(host: Host) -> str:
    """Return uname -r, or an empty text."""
    release: str | None = host.query("uname-r") or read_text(host, "/proc/sys/kernel/osrelease")
    version = (read_text(host, "/proc/version") or "").split()
    return release or (version[2] if len(version) > 2 else "")


def page_size(host: Host) -> int | None:
    """Return the bytes in a page of memory."""
    return host.query("page-size") or parse_page_size(kernel_release(host))


def parse_page_size(release: str) -> int | None:
    """Return the page size in bytes that the name of a kernel flavour tells ("...-nvidia-64k"), else None."""
    match = re.search(r"[-+_.](4|16|64)k\b", release)
    if match is None:
        return _PI5_PAGES if release.endswith("rpi-2712") else None
    return int(match[1]) * 1024
