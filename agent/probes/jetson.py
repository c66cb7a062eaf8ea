"""Jetson boards: how one is told from other Arm machines with NVIDIA GPUs, and what is on it.

A DGX Spark, a GH200 and a server with a graphics card are none. Any one of these shows a Jetson: a Tegra chip in the
device tree, NVIDIA's board support package (L4T), the family of soc0, the chip number of the fuse driver. Kernel names
and command lines are left alone: "tegra" stands there on other machines, too.
"""

from __future__ import annotations

import re

import msgspec

from agent.model.capabilities import CudaFacts, Gpu, JetsonFacts
from agent.ports import Host
from agent.probes import devicetree, l4t, memory, tegra
from agent.probes.cpuinfo import parse_cpuinfo
from agent.probes.host import read_int, read_text
from agent.probes.nvpmodel import power_mode

_RELEASE = "/etc/nv_tegra_release"
_PACKAGES = "/var/lib/dpkg/status"
_SOCS = ("/sys/devices/soc0", "/sys/devices/soc1")
_NVIDIA_SOC, _GRACE = "jep106:036b", "jep106:036b:0241"  # as SMCCC names them
# What L4T runs on; a recording may not tell.
_MACHINES = (None, "aarch64", "armv8l", "armv7l")
_CHIP_ID = "/sys/module/tegra_fuse/parameters/tegra_chip_id"
# What stands for the GPU's UUID before R36, where NVML gives none.
UNIT = "igpu0"


class Board(msgspec.Struct, frozen=True):
    """A Jetson. l4t as major.minor.patch, compatible from the device tree, memory in bytes."""

    soc: str | None = None
    l4t: str | None = None
    compatible: tuple[str, ...] = ()
    memory_bytes: int | None = None


def board(host: Host) -> Board | None:
    """Return the Jetson that this host is; None on every other machine."""
    compatible = devicetree.strings(host, "compatible")
    release = l4t.parse_release(read_text(host, _RELEASE) or "")
    chip = tegra.parse_soc(compatible) or _fused_chip(host)
    if not (chip or _is_tegra(host, compatible, release)):
        return None
    release = release or l4t.parse_package_version(read_text(host, _PACKAGES) or "")
    return Board(
        soc=chip or (None if compatible else _masked_chip(host, release)),
        l4t=release,
        compatible=compatible,
        memory_bytes=memory.parse_total(read_text(host, "/proc/meminfo") or ""),
    )


def _fused_chip(host: Host) -> str | None:
    """Return the chip by its number; a container sees it even where the device tree is masked."""
    told = (tegra.parse_chip_id(soc_id) for family, soc_id in _socs(host) if _is_nvidia(family))
    number = next((chip for chip in (read_int(host, _CHIP_ID), *told) if chip is not None), None)
    return tegra.soc_of_chip_id(number)


def _masked_chip(host: Host, release: str | None) -> str | None:
    """Return the chip by what a container sees of it that has neither device tree nor chip number."""
    return tegra.soc_of_parts(_cores(host), host.list("/sys/class/devfreq")) or tegra.soc_of_release(release)


def _cores(host: Host) -> tuple[str, ...]:
    return parse_cpuinfo(read_text(host, "/proc/cpuinfo") or "").models or ()


def _socs(host: Host) -> tuple[tuple[str, str], ...]:
    """Return (family, id) of each soc device: the Tegra driver registers one, firmware (SMCCC) may have another."""
    return tuple((read_text(host, f"{soc}/family") or "", read_text(host, f"{soc}/soc_id") or "") for soc in _SOCS)


def _is_nvidia(family: str) -> bool:
    return family.lower().startswith("tegra") or family == _NVIDIA_SOC


def _is_tegra(host: Host, compatible: tuple[str, ...], release: str | None) -> bool:
    """Say whether a machine whose chip is not known is a Jetson: one with a newer chip, or a container on one."""
    if compatible:
        return release is not None and any(entry.startswith("nvidia,tegra") for entry in compatible)
    socs = _socs(host)
    if any(family.lower().startswith("tegra") for family, _ in socs):
        return True
    # Images made for Jetsons bring the release file to any machine.
    foreign = any(soc_id == _GRACE or (family and not _is_nvidia(family)) for family, soc_id in socs)
    runs_l4t = host.query("uname-m") in _MACHINES and tegra.may_be_jetson(_cores(host))
    return release is not None and runs_l4t and not foreign


def probe(host: Host) -> JetsonFacts | None:
    """Return the facts of a Jetson; None on every other machine."""
    found = board(host)
    if found is None:
        return None
    mode = power_mode(host)
    return JetsonFacts(
        module=_module(host, found.compatible),
        l4t=found.l4t,
        jetpack=l4t.jetpack(found.l4t) if found.l4t else None,
        power_mode=mode,
        super_mode=True if "SUPER" in (mode.name or "") else tegra.parse_super_mode(found.compatible),
    )


def _module(host: Host, compatible: tuple[str, ...]) -> str | None:
    """Return the part number: from `compatible`, else from what older device trees have beside it."""
    source = " ".join(devicetree.strings(host, "nvidia,dtsfilename"))
    number = " ".join(devicetree.strings(host, "nvidia,proc-boardid"))
    name = re.sub(r".*/", "", source)
    return tegra.parse_module(compatible) or tegra.parse_dts_name(name) or tegra.parse_board_id(number)


def cuda(host: Host) -> CudaFacts:
    """Return the CUDA version of the L4T release; all is unknown on other machines."""
    found = board(host)
    return CudaFacts(version=l4t.cuda(found.l4t)) if found and found.l4t else CudaFacts()


def jetson_gpu(facts: Board) -> Gpu:
    """Return a Jetson's own GPU as it is known without NVML, which some releases lack and others answer in part.

    Its memory is the main memory. `units` holds UNIT, for want of a UUID.
    """
    return Gpu(
        vendor="nvidia",
        kind="integrated",
        name=tegra.GPU_NAMES.get(facts.soc or ""),
        compute_capability=tegra.COMPUTE_CAPABILITIES.get(facts.soc or ""),
        memory_kind="shared",
        memory_bytes=facts.memory_bytes,
        usable=True,
        units=(UNIT,),
    )
