"""What NVML answered, as hosts/_nvml.json and `python -m agent.nvml` write it, read without trust in any of it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, TypeGuard

from agent.model.capabilities import CudaFacts
from agent.ports import Host
from agent.probes import driver
from agent.probes.host import ProbeProblem
from agent.probes.pci import normal_address

_MIB = 1024**2
CRASHED = "Crashed"  # no error of NVML's: its process ended before it answered
_ABSENT = "LibraryNotFound"
_LOST = ("GpuIsLost", "ResetRequired")
_MOST_SENSIBLE = 2**63 - 1
# Errors of NVML by which a whole device is judged when even its name or its address is refused.
_REFUSED = {
    "NoPermission": "no-permission",
    "OperatingSystem": "no-permission",
    "Timeout": "nvml-timeout",
    "GpuNotFound": "gpu-lost",
    "IrqIssue": "gpu-lost",
    "NotFound": "gpu-lost",
    "NotReady": "gpu-lost",
    "Unknown": "gpu-lost",
    "Uninitialized": "gpu-lost",
}
# Bits of clocks_event_reasons (nvml.h, nvmlClocksEventReasons) by which a device protects itself. The others are
# normal: 0x1 idle, 0x2 and 0x100 clocks as set, 0x4 power cap, 0x10 in step with another GPU.
_SLOWDOWNS = {0x8: "hardware slowdown", 0x20: "heat", 0x40: "heat (hardware)", 0x80: "power brake"}
_PROHIBITED = 2  # NVML_COMPUTEMODE_PROHIBITED
_ATS = 2  # NVML_DEVICE_ADDRESSING_MODE_ATS: CPU and GPU share page tables


class Device(NamedTuple):
    """One GPU as NVML sees it; None is unknown. memory_error is what the query for its memory failed with, minor the
    number of its node in /dev.

    slowdowns: what makes it slower than it is set to be at this moment.
    """

    name: str | None = None
    uuid: str | None = None
    pci: str | None = None
    compute_capability: str | None = None
    memory_bytes: int | None = None
    memory_error: str | None = None
    mig: tuple[str, ...] | None = None
    prohibited: bool = False
    ats: bool = False
    pids: tuple[int, ...] = ()
    minor: int | None = None
    slowdowns: tuple[str, ...] | None = None
    fault: str | None = None


class Answer(NamedTuple):
    """init is "ok" or the name of an error; driver "550.54.15"; cuda "12.4"."""

    init: str
    driver: str | None = None
    cuda: str | None = None
    devices: tuple[Device, ...] = ()


def probe(host: Host) -> CudaFacts:
    """Return the driver's version and the highest CUDA it runs. Raises ProbeProblem when NVML crashed."""
    answer = answer_of(host)
    if answer.init == CRASHED:
        raise ProbeProblem("the NVIDIA driver library crashed", "reinstall the NVIDIA driver, and reboot")
    return CudaFacts(version=answer.cuda, driver=answer.driver or driver.version(host))


def answer_of(host: Host) -> Answer:
    """Return what NVML answers on `host`. It is not asked where nothing shows an NVIDIA GPU."""
    return parse_answer(host.query("nvml")) if driver.is_expected(host) else Answer(_ABSENT)


def parse_answer(table: Any) -> Answer:
    """Return the parsed answer; one that is no table is that of a library that is not there."""
    if not isinstance(table, dict) or not isinstance(table.get("init"), str):
        return Answer(_ABSENT)
    devices, init, count = table.get("devices"), table["init"], table.get("count")
    # A driver that starts and then cannot even count tells no more than one that does not start.
    failed = count if init == "ok" and isinstance(count, str) and count and not devices else init
    return Answer(
        failed,
        parse_driver(table.get("driver_version")),
        parse_cuda(table.get("cuda_driver_version")),
        tuple(map(parse_device, devices)) if isinstance(devices, list) else (),
    )


def parse_driver(value: Any) -> str | None:
    """Return a driver version; None for the name of an error, and for anything else."""
    return value if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)+", value) else None


def parse_cuda(value: Any) -> str | None:
    """Return "12.4" for 12040; None for no such number."""
    return f"{value // 1000}.{value % 1000 // 10}" if _is_number(value) and value >= 1000 else None


def parse_device(table: Any) -> Device:
    """Return one device. An entry that is no table is the error that the device itself gives."""
    if not isinstance(table, dict):
        table = {"handle": table}
    memory = table.get("memory_info")
    return Device(
        name=_name(table.get("name")),
        uuid=_uuid(table.get("uuid")),
        pci=_address(table.get("pci_info")),
        compute_capability=_capability(table.get("cuda_compute_capability")),
        memory_bytes=_total(memory),
        memory_error=memory if isinstance(memory, str) and memory != "ok" else None,
        mig=_mig(table),
        prohibited=table.get("compute_mode") == _PROHIBITED,
        ats=table.get("addressing_mode") in (_ATS, "ATS"),
        pids=_pids(table.get("processes")),
        minor=table["minor_number"] if _is_number(table.get("minor_number")) else None,
        slowdowns=parse_slowdowns(table.get("clocks_event_reasons")),
        fault=_fault(table),
    )


def parse_slowdowns(value: Any) -> tuple[str, ...] | None:
    """Return by what a device protects itself: heat, a power brake; None where it does not tell."""
    return tuple(name for bit, name in _SLOWDOWNS.items() if value & bit) if _is_number(value) else None


def _is_number(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_SENSIBLE


def _name(value: Any) -> str | None:
    """Return a marketing name: unlike the names of errors it has a blank or a bracket, or a digit."""
    return value if isinstance(value, str) and re.search(r"[\s()\d]", value) else None


def _uuid(value: Any) -> str | None:
    """Return a UUID: with the prefix GPU- or MIG-, or bare as on Jetsons."""
    pattern = r"(GPU|MIG)-[\w/-]+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    return value if isinstance(value, str) and re.fullmatch(pattern, value) else None


def _address(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("bus_id", value.get("busId"))
    return normal_address(value) if isinstance(value, str) else None


def _capability(value: Any) -> str | None:
    if isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)):
        return f"{value[0]}.{value[1]}"
    return None


def _total(memory: Any) -> int | None:
    if not isinstance(memory, dict):
        return None
    exact, mib = memory.get("total_bytes"), memory.get("total_mib")
    if _is_number(exact):
        return exact or None
    return mib * _MIB or None if _is_number(mib) else None


def _mig(table: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the UUIDs of the MIG instances; None when the GPU is not divided."""
    mode = table.get("mig_mode")
    if not isinstance(mode, list) or mode[:1] != [1]:
        return None
    listed = table.get("mig_devices")
    instances = listed if isinstance(listed, list) else []
    found = [_uuid(item.get("uuid")) for item in instances if isinstance(item, dict)]
    return tuple(uuid for uuid in found if uuid is not None)


def _pids(value: Any) -> tuple[int, ...]:
    entries = value if isinstance(value, list) else []
    numbers = [entry.get("pid") if isinstance(entry, dict) else entry for entry in entries]
    return tuple(filter(_is_number, numbers))


def _fault(table: dict[str, Any]) -> str | None:
    """Return the reason why the device cannot be used. A field that is merely not supported is none."""
    if any(value in _LOST for value in table.values() if isinstance(value, str)):
        return "gpu-lost"
    essential = (table.get(field) for field in ("handle", "error", "name", "uuid", "pci_info"))
    return next((_REFUSED[value] for value in essential if isinstance(value, str) and value in _REFUSED), None)
