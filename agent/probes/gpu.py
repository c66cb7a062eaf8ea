"""All GPUs of the host: NVIDIA's, which jobs can be given, and those of AMD and Intel, which are only listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agent.model.capabilities import Gpu, MemoryFacts
from agent.ports import Host
from agent.probes import numa, nvml, reasons
from agent.probes.host import AskedOnce, read_int, read_text
from agent.probes.nvidia import nvidia_gpus
from agent.probes.pci import AMD, INTEL, PciDevice, is_on_processor, pci_devices

_VENDORS = {AMD: "amd", INTEL: "intel"}
_DEVICES = "/sys/bus/pci/devices"


class GpuLook(NamedTuple):
    """The GPUs at one moment. slowdowns: by UUID, what slows a GPU down, for those that tell."""

    gpus: tuple[Gpu, ...]
    slowdowns: Mapping[str, tuple[str, ...]]


def look(host: Host) -> GpuLook:
    """Return the GPUs and how they do, asking NVML once: what is worth a look between two probes of the whole host."""
    host = AskedOnce(host)
    told = ((device.uuid, device.slowdowns) for device in nvml.answer_of(host).devices)
    slowdowns = {uuid: names for uuid, names in told if uuid is not None and names is not None}
    return GpuLook(probe(host), slowdowns)


def probe(host: Host) -> tuple[Gpu, ...]:
    """Return the GPUs; an empty tuple where there is none."""
    devices = pci_devices(host)
    others = (device for device in devices if device.is_gpu and device.vendor in _VENDORS)
    return (*nvidia_gpus(host), *(_listed(host, device, devices) for device in others))


def probe_memory(host: Host) -> MemoryFacts:
    """Return the main memory without that of GPUs; only that field is filled."""
    return numa.system_memory(host, numa.total_bytes(host), nvidia_gpus(host))


def _listed(host: Host, device: PciDevice, all_devices: Iterable[PciDevice]) -> Gpu:
    integrated = is_on_processor(device, all_devices)
    total = numa.total_bytes(host) if integrated else read_int(host, f"{_DEVICES}/{device.address}/mem_info_vram_total")
    gpu = Gpu(
        vendor=_VENDORS[device.vendor],
        kind="integrated" if integrated else "discrete",
        name=read_text(host, f"{_DEVICES}/{device.address}/product_name") or None,
        pci=device.address,
        pci_id=device.id,
        driver=device.driver,
        memory_kind="shared" if integrated else "dedicated",
        memory_bytes=total,
    )
    return reasons.judged(gpu, reasons.NOT_SCHEDULABLE)
