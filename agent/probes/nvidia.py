"""NVIDIA GPUs: the union of what NVML, the PCI bus, the kernel module and a Tegra's device tree show.

Entries are paired by PCI address, else by UUID. What only the bus or the module shows is listed with the reason why it
cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from agent.model.capabilities import Gpu
from agent.ports import Host
from agent.probes import cpu, driver, jetson, numa, nvml, pci, reasons, tenants
from agent.probes.driver import DriverGpu
from agent.probes.nvml import Device
from agent.probes.pci import PciDevice

_LIBRARY_ABSENT = "LibraryNotFound"
# Device numbers of chips that NVML need not name: Thor, GB10 and its sisters in laptops (pci.ids), and those with
# coherent memory of their own: GH200, GB200, GB300 (Linux: drivers/vfio/pci/nvgrace-gpu; NVIDIA's gpu-admin-tools).
_THOR = ("2b00",)
_GB10 = ("2e03", "2e06", "2e12")
_COHERENT = ("2342", "2343", "2345", "2348", "2941", "31c2", "31c3")
# V100 on boards (SXM2), which POWER9 is linked to so that their memory is its own, too (pci.ids).
_NVLINKED = ("1db1", "1db5")
_POWER = "ppc64le"
_COHERENT_NAMES = ("GH200", "GB200", "GB300")
_CONTROL = "/dev/nvidiactl"
_TEGRA_NODES = ("/dev/nvmap", "/dev/nvhost", "/dev/nvgpu", "/dev/nvidia0")


class Seen(NamedTuple):
    """One GPU as each source shows it; None where a source does not."""

    device: Device | None
    bus: PciDevice | None = None
    module: DriverGpu | None = None

    @property
    def name(self) -> str | None:
        """Return the name of NVML, else that of the kernel module."""
        return (self.device and self.device.name) or (self.module and self.module.name) or None

    @property
    def address(self) -> str | None:
        """Return the PCI address."""
        found = (self.device and self.device.pci) or (self.bus and self.bus.address)
        return found or (self.module and self.module.pci) or None


class Place(NamedTuple):
    """What else decides what a GPU is: the Jetson it is on, whether Windows lends it, memory in bytes, NUMA nodes.

    nodes: what may be opened in /dev, None where that is not known.
    """

    board: jetson.Board | None
    wsl: bool
    memory_bytes: int | None
    driver: str | None
    nodes: frozenset[str] | None
    numa: frozenset[str]  # addresses of GPUs whose memory is a NUMA node
    linked: bool = False  # whether CPU and GPUs are those that share their memory over NVLink


def nvidia_gpus(host: Host) -> tuple[Gpu, ...]:
    """Return all NVIDIA GPUs of the host: those of NVML in its order, then the others by address."""
    answer = nvml.answer_of(host)
    buses = [device for device in pci.pci_devices(host) if device.vendor == pci.NVIDIA and device.is_gpu]
    modules = driver.driver_gpus(host)
    place = _place(host, answer, buses, modules)
    gpus = [_judged(host, seen, answer.init, place) for seen in paired(answer.devices, buses, modules)]
    if place.board is not None and not any(gpu.kind == "integrated" for gpu in gpus):
        gpus.append(_own_gpu(place.board, answer.init, place))
    return tuple(gpus)


def _place(host: Host, answer: nvml.Answer, buses: Iterable[PciDevice], modules: Iterable[DriverGpu]) -> Place:
    return Place(
        board=jetson.board(host),
        wsl=driver.is_wsl(host),
        memory_bytes=numa.total_bytes(host),
        driver=answer.driver or driver.version(host),
        nodes=driver.open_nodes(host),
        numa=frozenset(gpu.pci for gpu in modules if numa.status_node(host, gpu.pci) is not None),
        linked=any(bus.device in _NVLINKED for bus in buses) and cpu.userland_arch(host) == _POWER,
    )


def paired(devices: Iterable[Device], buses: Iterable[PciDevice], modules: Iterable[DriverGpu]) -> Iterator[Seen]:
    """Yield each GPU once: those of NVML first, then what only the bus or the kernel module shows.

    A device whose address NVML does not give (it is lost) gets one that is left over, unless it is a Tegra's own.
    """
    bus_by_address = {bus.address: bus for bus in buses}
    module_by_address = {module.pci: module for module in modules}
    addresses = {module.uuid: module.pci for module in module_by_address.values() if module.uuid}
    placed = [(device, device.pci or addresses.get(device.uuid or "")) for device in devices]
    taken = {address for _, address in placed}
    free = [address for address in sorted({*bus_by_address, *module_by_address}) if address not in taken]
    held = [address for address in free if address not in bus_by_address or _is_held(bus_by_address[address])]
    for device, known in placed:
        address = known or (held.pop(0) if held and not _is_tegra_name(device.name) else "")
        taken.add(address)
        yield Seen(device, bus_by_address.get(address), module_by_address.get(address))
    for address in free:
        if address not in taken:
            yield Seen(None, bus_by_address.get(address), module_by_address.get(address))


def _is_held(bus: PciDevice) -> bool:
    """Say whether a driver of NVIDIA's may have the GPU (nvgpu: that of a Thor); nouveau and vfio-pci have others."""
    return bus.driver in (None, "nvidia", "nvgpu")


def _is_tegra_name(name: str | None) -> bool:
    """Say whether NVML's name is that of a Tegra's own GPU: the test of NVIDIA's container toolkit."""
    return name is not None and ("(nvgpu)" in name or name.startswith("NVIDIA Thor"))


def _judged(host: Host, seen: Seen, init: str, place: Place) -> Gpu:
    gpu = described(seen, place)
    if gpu.kind == "integrated" and seen.device is None and init == _LIBRARY_ABSENT:
        return reasons.judged(gpu, _own_reason(init, place))
    return reasons.judged(gpu, _reason(host, seen, init))


def _reason(host: Host, seen: Seen, init: str) -> str | None:
    if seen.device is None:
        return unseen_reason(seen, init, driver.open_nodes(host) or frozenset())
    if seen.device.fault is not None:
        return seen.device.fault
    if is_shut(seen, driver.open_nodes(host)):
        return reasons.NO_PERMISSION
    if seen.device.prohibited or "DGX Display" in (seen.device.name or ""):
        return reasons.PROHIBITED
    foreign = any(tenants.is_foreign(host, pid) for pid in seen.device.pids)
    return reasons.BUSY if foreign and seen.device.mig is None else None


def is_shut(seen: Seen, nodes: frozenset[str] | None) -> bool:
    """Say whether NVML shows a GPU whose node cannot be opened here; `nodes` can be. NVML counts without opening."""
    told = seen.device.minor if seen.device else None
    minor = told if told is not None else seen.module.minor if seen.module else None
    return nodes is not None and _CONTROL in nodes and minor is not None and f"/dev/nvidia{minor}" not in nodes


def unseen_reason(seen: Seen, init: str, nodes: frozenset[str]) -> str:
    """Return why NVML does not show a GPU that is there; `nodes` can be opened, none when that is not known."""
    if seen.bus is not None and not _is_held(seen.bus):
        return reasons.NO_DRIVER  # nouveau has it, or a virtual machine (vfio-pci)
    if init != "ok":
        return reasons.of_init(init)
    if seen.module is None:
        return reasons.NO_PERMISSION if _CONTROL in nodes else reasons.NO_DRIVER
    if seen.module.excluded or (nodes and f"/dev/nvidia{seen.module.minor}" not in nodes):
        return reasons.NO_PERMISSION
    return reasons.LOST


def described(seen: Seen, place: Place) -> Gpu:
    """Return what a GPU is, not yet whether it can be used."""
    kind = kind_of(seen, place)
    own = jetson.jetson_gpu(place.board) if kind == "integrated" and place.board is not None else Gpu()
    device = seen.device or Device()
    uuid = device.uuid or (seen.module.uuid if seen.module else None)
    shared = kind in ("integrated", "integrated-coherent")
    return Gpu(
        vendor="nvidia",
        kind=kind,
        name=seen.name or own.name,
        uuid=uuid,
        pci=seen.address,
        pci_id=seen.bus.id if seen.bus else None,
        driver=place.driver,
        compute_capability=own.compute_capability or device.compute_capability,
        memory_kind="shared" if shared else _memory_kind(seen, place),
        memory_bytes=place.memory_bytes if shared else device.memory_bytes,
        units=_units(device, uuid, own),
    )


def kind_of(seen: Seen, place: Place) -> str:
    """Return integrated (Tegra), integrated-coherent (GB10), paravirtual (WSL 2) or discrete.

    A PCI address tells nothing: Thor and GB10 have one. Memory that NVML does not know is the main memory.
    """
    number = seen.bus.device if seen.bus else None
    memoryless = seen.device is not None and seen.device.memory_error == "NotSupported"
    if _is_tegra_name(seen.name) or number in _THOR or (place.board is not None and memoryless):
        return "integrated"
    if place.wsl:
        return "paravirtual"
    if memoryless or number in _GB10 or "GB10" in (seen.name or "").split():
        return "integrated-coherent"
    return "discrete"


def _memory_kind(seen: Seen, place: Place) -> str:
    ats = seen.device is not None and seen.device.ats
    number = seen.bus.device if seen.bus else None
    named = any(name in (seen.name or "") for name in _COHERENT_NAMES)
    linked = place.linked and number in _NVLINKED
    coherent = ats or named or linked or number in _COHERENT or seen.address in place.numa
    return numa.COHERENT if coherent else "dedicated"


def _units(device: Device, uuid: str | None, own: Gpu) -> tuple[str, ...]:
    if device.mig is not None:
        return device.mig
    return (uuid,) if uuid is not None else own.units


def _own_gpu(board: jetson.Board, init: str, place: Place) -> Gpu:
    """Return a Jetson's own GPU where NVML shows none."""
    gpu = msgspec.structs.replace(jetson.jetson_gpu(board), driver=place.driver)
    return reasons.judged(gpu, _own_reason(init, place))


def _own_reason(init: str, place: Place) -> str | None:
    """Return why a Jetson's own GPU cannot be used. That NVML is absent, or shows other GPUs only, is no reason."""
    if place.nodes is not None and not any(node.startswith(_TEGRA_NODES) for node in place.nodes):
        return reasons.NO_PERMISSION
    return None if init in ("ok", _LIBRARY_ABSENT, "DriverNotLoaded") else reasons.of_init(init)
