"""The container runtime: Apptainer or SingularityCE, its version, what it runs natively, GPUs, and how limits hold."""

from __future__ import annotations

import re
from typing import NamedTuple

from agent.images.elf import elf_arch
from agent.model.capabilities import RuntimeFacts
from agent.ports import Host
from agent.probes import gpu_methods, limits
from agent.probes.cpu import page_size, userland_arch
from agent.probes.host import ProbeProblem

# The first releases with --no-eval: without it the values of a job's environment go through a shell.
_OLDEST = {"apptainer": (1, 1), "singularity-ce": (3, 10)}
_REMEDY = "install Apptainer 1.1 or newer (Debian, Ubuntu, Fedora: package apptainer), or set [runtime] path"
# What Apptainer accepts beside its own architecture; whether an arm64 CPU runs arm it does not ask.
_COMPATIBLE = {"amd64": ("386",), "arm64": ("arm",)}
_LARGE_PAGES = 64 * 1024  # kernels with such pages run no 32-bit programs


class Version(NamedTuple):
    """The name a runtime gives itself, and its version without packaging suffixes."""

    name: str
    version: str


def probe(host: Host) -> RuntimeFacts:
    """Return the runtime's facts. Raises ProbeProblem when there is none, or none that is new enough."""
    answer: str | None = host.query("runtime-version")
    if answer is None:
        return RuntimeFacts()
    if not answer:
        raise ProbeProblem("there is no container runtime", _REMEDY)
    name, version = parse_version(answer)
    if not is_new_enough(name, version):
        raise ProbeProblem(f"{name} {version} is too old", _REMEDY)
    found = limits.limits(host)
    kind = found.kind if found else None
    methods = gpu_methods.methods(host, name, version)
    return RuntimeFacts(name=name, version=version, archs=native_archs(host), gpu_methods=methods, limits=kind)


def parse_version(text: str) -> Version:
    """Return name and version from "apptainer version 1.4.5-1.el9". Raises ProbeProblem for other answers."""
    match = re.search(r"(apptainer|singularity(?:-ce|-pro)?) version v?(\d+(?:\.\d+)*)", text)
    if match is None:
        shown = " ".join(text.split())[:200]
        raise ProbeProblem(f'the container runtime answers "{shown}" instead of its version', _REMEDY)
    return Version(match[1], match[2])


def is_new_enough(name: str, version: str) -> bool:
    """Say whether the runtime can run jobs. Singularity of before the fork counts like SingularityCE."""
    numbers = tuple(int(part) for part in version.split("."))
    return numbers >= _OLDEST.get(name, _OLDEST["singularity-ce"])


def native_archs(host: Host) -> tuple[str, ...] | None:
    """Return the architectures whose images run without emulation, the own first; None when that is unknown.

    The own one is that of the runtime's program, which need not be that of the userland around it.
    """
    own = elf_arch(host.query("runtime-elf") or b"") or userland_arch(host)
    if own is None:
        return None
    if own == "arm64" and not _runs_arm(host):
        return (own,)
    return (own, *_COMPATIBLE.get(own, ()))


def _runs_arm(host: Host) -> bool:
    """Say whether 32-bit programs of Arm run on an arm64 host: not on Grace, GH200 and other new servers."""
    return host.query("aarch32") is not False and page_size(host) != _LARGE_PAGES
