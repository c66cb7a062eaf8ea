"""Devices on the PCI bus."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from agent.ports import Host
from agent.probes.host import read_text

NVIDIA, AMD, INTEL = "10de", "1002", "8086"
_DEVICES = "/sys/bus/pci/devices"
# PCI Code and ID Assignment Specification: VGA compatible, 3D and other display controllers; XGA is history.
_DISPLAY = ("0300", "0302", "0380")
_PROCESSING = "12"
# Kernel drivers that only bind to GPUs: they tell one where the class is not known.
_GPU_DRIVERS = ("amdgpu", "radeon", "nvidia", "nouveau", "i915", "xe")


class PciDevice(NamedTuple):
    """address as 0000:01:00.0; vendor, device and kind (class and subclass) as four hexadecimal digits."""

    address: str
    vendor: str
    device: str
    kind: str | None
    driver: str | None = None

    @property
    def id(self) -> str:
        """Return vendor and device as lspci shows them: 10de:2204."""
        return f"{self.vendor}:{self.device}"

    @property
    def is_gpu(self) -> bool:
        """Say whether it is a GPU of NVIDIA, AMD or Intel; bridges, audio functions and BMC displays are none."""
        if self.kind is None:
            return self.driver in _GPU_DRIVERS
        if self.vendor not in (NVIDIA, AMD, INTEL):
            return False
        # A processing accelerator of Intel is an NPU; those of AMD (its GPU vendor number) and NVIDIA are GPUs.
        return self.kind in _DISPLAY or (self.kind.startswith(_PROCESSING) and self.vendor != INTEL)


def pci_devices(host: Host) -> tuple[PciDevice, ...]:
    """Return all devices by address, from sysfs, or from /proc/bus/pci where that alone is known."""
    found = tuple(_device(host, name) for name in host.list(_DEVICES))
    known = tuple(device for device in found if device is not None)
    return known or parse_proc(read_text(host, "/proc/bus/pci/devices") or "")


def _device(host: Host, name: str) -> PciDevice | None:
    address = normal_address(name)
    vendor, device = (_hex(read_text(host, f"{_DEVICES}/{name}/{file}"), 4) for file in ("vendor", "device"))
    if address is None or vendor is None or device is None:
        return None
    kind = _hex(read_text(host, f"{_DEVICES}/{name}/class"), 6)
    return PciDevice(address, vendor, device, kind[:4] if kind else None, _driver(host, name))


def _driver(host: Host, name: str) -> str | None:
    match = re.search(r"^DRIVER=(\S+)$", read_text(host, f"{_DEVICES}/{name}/uevent") or "", re.MULTILINE)
    return match[1] if match else None


def _hex(text: str | None, digits: int) -> str | None:
    match = re.fullmatch(r"(?:0x)?([0-9a-fA-F]+)", text or "")
    return match[1].lower().zfill(digits) if match and len(match[1]) <= digits else None


def parse_proc(text: str) -> tuple[PciDevice, ...]:
    """Return the devices of /proc/bus/pci/devices: bus and slot, numbers, resources, driver; there is no class."""
    return tuple(device for line in text.splitlines() if (device := _parse_line(line)))


def _parse_line(line: str) -> PciDevice | None:
    match = re.match(r"([0-9a-f]{2})([0-9a-f]{2})\t([0-9a-f]{4})([0-9a-f]{4})\t", line)
    if match is None:
        return None
    place = int(match[2], 16)
    last = line.split("\t")[-1].strip()
    driver = last if re.fullmatch(r"[A-Za-z]\w*(-\w+)*", last) else None
    return PciDevice(f"0000:{match[1]}:{place >> 3:02x}.{place & 7}", match[3], match[4], None, driver)


def normal_address(text: str) -> str | None:
    """Return 0000:0f:00.0 for 00000000:0F:00.0; None for what is no PCI address. A domain keeps all it needs."""
    match = re.fullmatch(r"([0-9a-fA-F]{1,8}):([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-7])", text.strip())
    if match is None:
        return None
    return f"{int(match[1], 16):04x}:{match[2]}:{match[3]}.{match[4]}".lower()


def is_on_processor(gpu: PciDevice, others: Iterable[PciDevice]) -> bool:
    """Say whether a GPU of Intel or AMD is part of the processor.

    Intel's always is device 2 on bus 0; AMD's is on bus 0, or shares its slot with functions of the processor (vendor
    1022: security processor, USB), which a graphics card does not have.
    """
    if gpu.vendor == INTEL:
        return gpu.address.startswith("0000:00:02.")
    slot = gpu.address.rpartition(".")[0]
    shared = any(other.vendor == "1022" and other.address.rpartition(".")[0] == slot for other in others)
    return gpu.vendor == AMD and (shared or gpu.address.startswith("0000:00:"))
