"""NVIDIA's kernel driver: what it shows without NVML, and whether there is any sign of an NVIDIA GPU at all."""

from __future__ import annotations

import re
from typing import NamedTuple

from agent.ports import Host
from agent.probes import jetson
from agent.probes.host import read_text
from agent.probes.pci import NVIDIA, normal_address, pci_devices

FOLDER = "/proc/driver/nvidia"
WSL_NODE = "/dev/dxg"


class DriverGpu(NamedTuple):
    """One GPU in /proc/driver/nvidia/gpus; excluded by the administrator when so."""

    pci: str
    name: str | None
    uuid: str | None
    minor: int | None
    excluded: bool


def version(host: Host) -> str | None:
    """Return the version of the loaded kernel module."""
    return parse_version(read_text(host, f"{FOLDER}/version") or "")


def parse_version(text: str) -> str | None:
    """Return 550.144.03 of the line "NVRM version: ..."; None when a development build has no number there."""
    match = re.search(r"^NVRM version:.*?\s(\d+\.\d+(?:\.\d+)?)\s", text + "\n", re.MULTILINE)
    return match[1] if match else None


def driver_gpus(host: Host) -> tuple[DriverGpu, ...]:
    """Return the GPUs that the kernel module holds."""
    folders = {name: read_text(host, f"{FOLDER}/gpus/{name}/information") for name in host.list(f"{FOLDER}/gpus")}
    found = (parse_information(text or "", name) for name, text in folders.items())
    return tuple(gpu for gpu in found if gpu is not None)


def parse_information(text: str, folder: str) -> DriverGpu | None:
    """Return what a file `information` says; `folder` is the address it lies under. None without an address."""
    pairs = (line.partition(":") for line in text.splitlines())
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    pci = normal_address(fields.get("Bus Location", "")) or normal_address(folder)
    if pci is None:
        return None
    uuid, minor = fields.get("GPU UUID", ""), fields.get("Device Minor", "")
    return DriverGpu(
        pci=pci,
        name=fields.get("Model") or None,
        uuid=uuid if re.fullmatch(r"GPU-[\w-]+", uuid) else None,  # question marks until it is first used
        minor=int(minor) if re.fullmatch(r"[0-9]{1,9}", minor) else None,
        excluded="Yes" in (fields.get("GPU Excluded"), fields.get("Blacklisted")),
    )


def is_expected(host: Host) -> bool:
    """Say whether anything shows an NVIDIA GPU: without one NVML is not even asked, and the probe stays fast."""
    return (
        any(device.vendor == NVIDIA and device.is_gpu for device in pci_devices(host))
        or bool(host.list(FOLDER))
        or any(re.fullmatch(r"/dev/(nvidia.*|dxg)", node) for node in nodes(host))
        or jetson.board(host) is not None
    )


def nodes(host: Host) -> frozenset[str]:
    """Return the paths of the device nodes in /dev."""
    return frozenset(host.query("dev-nodes") or ())


def open_nodes(host: Host) -> frozenset[str] | None:
    """Return the paths of those that this user may open; None where it is not known which there are."""
    if host.query("dev-nodes") is None:
        return None
    return nodes(host).difference(host.query("denied-nodes") or ())


def is_wsl(host: Host) -> bool:
    """Say whether GPUs are those of Windows, lent to WSL 2."""
    return WSL_NODE in nodes(host)
