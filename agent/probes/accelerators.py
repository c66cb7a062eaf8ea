"""Accelerators that are listed and not scheduled: NPUs, and GPUs of AMD and Intel that programs can compute on.

Numbers: pci.ids, usb.ids and the kernel's drivers/accel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from agent.model.capabilities import Accelerator
from agent.ports import Host
from agent.probes import board, devicetree
from agent.probes.driver import nodes
from agent.probes.host import read_text
from agent.probes.pci import INTEL, PciDevice, pci_devices

_ACCEL, _DRM, _USB = "/sys/class/accel", "/sys/class/drm", "/sys/bus/usb/devices"
_KFD = "/sys/class/kfd/kfd/topology/nodes"
_NODE_FOLDERS = ("/dev", "/dev/accel", "/dev/dri")


class Part(NamedTuple):
    """What an accelerator is called, and the form of its device nodes outside of /dev/accel."""

    vendor: str
    name: str
    nodes: str = ""


_CORAL = Part("google", "coral-edge-tpu", r"/dev/apex_\d+")
_PCI_PARTS = {
    "1e60:2864": Part("hailo", "hailo8", r"/dev/hailo\d+"),
    "1e60:45c4": Part("hailo", "hailo10h", r"/dev/hailo\d+"),
    "1ac1:089a": _CORAL,
    "8086:7d1d": Part("intel", "npu"),  # Meteor Lake
    "8086:ad1d": Part("intel", "npu"),  # Arrow Lake
    "8086:643e": Part("intel", "npu"),  # Lunar Lake
    "8086:b03e": Part("intel", "npu"),  # Panther Lake
}
# Before and after its firmware is loaded.
_USB_PARTS = {"1a6e:089a": _CORAL, "18d1:9302": _CORAL}
_DRIVERS = {
    "amdxdna": Part("amd", "npu"),
    "ethosu": Part("arm", "ethos-u"),
    "habanalabs": Part("intel", "gaudi"),
    "intel_vpu": Part("intel", "npu"),
    "qaic": Part("qualcomm", "cloud-ai-100"),
    "rocket": Part("rockchip", "npu"),
}
_VENDORS = {"1002": "amd", "1022": "amd", "10de": "nvidia", "17cb": "qualcomm", "1d0f": "amazon", "8086": "intel"}
_PROCESSING = "12"  # PCI class "processing accelerators"
# Chips of Rockchip's that have an NPU, by their beginnings (what its rknn-toolkit and rknn-toolkit2 are for); its own
# kernels have no node in /dev/accel for it.
_ROCKCHIP_NPUS = ("rk1808", "rk3399pro", "rk356", "rk3576", "rk3588", "rv1103", "rv1106", "rv1109", "rv1126")
_DSP = re.compile(r"/dev/fastrpc-\w+")
_KFD_NODE = "/dev/kfd"


def is_node(path: str) -> bool:
    """Say whether an accelerator is found by a device node at `path`."""
    forms = (*(part.nodes for part in _PCI_PARTS.values()), _DSP.pattern, _KFD_NODE)
    return any(re.fullmatch(form, path) for form in forms)


class _Node(NamedTuple):
    """A node of a device class: its path, its driver, and its PCI address, "" on other buses."""

    path: str
    driver: str
    pci: str


def probe(host: Host) -> tuple[Accelerator, ...] | None:
    """Return what was found; None when nothing of the host can be seen."""
    soc = board.parse_soc(devicetree.strings(host, "compatible"))
    devices = pci_devices(host)
    if not (devices or soc or host.list("/sys/class")):
        return None
    paths = sorted({*nodes(host), *(f"{folder}/{name}" for folder in _NODE_FOLDERS for name in host.list(folder))})
    accel, render = _class_nodes(host, _ACCEL, "/dev/accel"), _class_nodes(host, _DRM, "/dev/dri")
    return (
        *_on_pci(devices, accel, paths),
        *(_of_driver(node) for node in accel if not node.pci),
        *_on_usb(host),
        *_rockchip(soc, accel, render),
        *(Accelerator("qualcomm", path.rpartition("-")[2], path) for path in paths if _DSP.fullmatch(path)),
        *_amd_gpus(host, paths),
        *_intel_gpus(devices, render),
    )


def _class_nodes(host: Host, folder: str, node_folder: str) -> tuple[_Node, ...]:
    return tuple(
        _Node(f"{node_folder}/{name}", event.get("DRIVER", ""), event.get("PCI_SLOT_NAME", ""))
        for name in host.list(folder)
        if re.fullmatch(r"(accel|renderD)\d+", name)
        for event in [parse_pairs(read_text(host, f"{folder}/{name}/device/uevent") or "", "=")]
    )


def parse_pairs(text: str, separator: str) -> dict[str, str]:
    """Return the pairs of a file with one KEY, separator and VALUE a line."""
    pairs = (line.partition(separator) for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _of_driver(node: _Node) -> Accelerator:
    part = _DRIVERS.get(node.driver, Part("", node.driver))
    return Accelerator(part.vendor or None, part.name or None, node.path)


def _on_pci(devices: tuple[PciDevice, ...], accel: tuple[_Node, ...], paths: list[str]) -> Iterator[Accelerator]:
    by_address = {node.pci: node for node in accel if node.pci}
    found = [
        (device, _part(device, by_address.get(device.address)))
        for device in devices
        if not device.is_gpu and _is_accelerator(device, by_address)
    ]
    for device, part in found:
        node = by_address.get(device.address)
        alike = [other.address for other, other_part in found if other_part.nodes == part.nodes]
        own = _paired(device.address, alike, [path for path in paths if re.fullmatch(part.nodes, path)])
        yield Accelerator(part.vendor, part.name, node.path if node else own)


def _is_accelerator(device: PciDevice, accel: Mapping[str, _Node]) -> bool:
    is_processing = (device.kind or "").startswith(_PROCESSING)
    return is_processing or device.id in _PCI_PARTS or device.address in accel


def _part(device: PciDevice, node: _Node | None) -> Part:
    unnamed = Part(_VENDORS.get(device.vendor, device.vendor), device.id)
    driver = node.driver if node else device.driver or ""
    return _PCI_PARTS.get(device.id) or _DRIVERS.get(driver, unnamed)


def _paired(address: str, addresses: list[str], paths: list[str]) -> str | None:
    """Return the node of a device: drivers number them in the order of their addresses, when all are there."""
    return paths[addresses.index(address)] if len(addresses) == len(paths) else None


def _on_usb(host: Host) -> Iterator[Accelerator]:
    for name in host.list(_USB):
        vendor, product = (read_text(host, f"{_USB}/{name}/{file}") for file in ("idVendor", "idProduct"))
        part = _USB_PARTS.get(f"{vendor}:{product}")
        if part is not None:
            yield Accelerator(part.vendor, part.name, f"{_USB}/{name}")


def _rockchip(soc: str | None, accel: tuple[_Node, ...], render: tuple[_Node, ...]) -> Iterator[Accelerator]:
    if (soc or "").startswith(_ROCKCHIP_NPUS) and all(node.driver != "rocket" for node in accel):
        path = next((node.path for node in render if node.driver == "RKNPU"), None)
        yield Accelerator("rockchip", "npu", path)


def _amd_gpus(host: Host, paths: list[str]) -> Iterator[Accelerator]:
    """Yield the GPUs that AMD's compute driver offers, by their instruction set."""
    if _KFD_NODE not in paths:
        return
    for name in host.list(_KFD):
        facts = parse_pairs(read_text(host, f"{_KFD}/{name}/properties") or "", " ")
        target = parse_gfx(facts.get("gfx_target_version", ""))
        if target is not None:
            yield Accelerator("amd", target, f"/dev/dri/renderD{facts.get('drm_render_minor', '')}")


def parse_gfx(text: str) -> str | None:
    """Return gfx90a for 90010: major version, then two digits each for minor and stepping; None for 0, a CPU."""
    match = re.fullmatch(r"([1-9]\d?)(\d\d)(\d\d)", text)
    return f"gfx{match[1]}{int(match[2]):x}{int(match[3]):x}" if match else None


def _intel_gpus(devices: tuple[PciDevice, ...], render: tuple[_Node, ...]) -> Iterator[Accelerator]:
    gpus = {device.address for device in devices if device.vendor == INTEL and device.is_gpu}
    yield from (Accelerator("intel", "gpu", node.path) for node in render if node.pci in gpus)
