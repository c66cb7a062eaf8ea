"""Print what NVML answers, as JSON: run as a child (`python -m agent.nvml`), because a broken driver can hang or crash.

The form is that of a recorded host's _nvml.json. "init" is "ok" or the name of an error; each field of a device is the
answer, or the name of the error that the query gives (NVMLError_NotSupported is "NotSupported"). Power is in
milliwatts, temperature in degrees Celsius, utilization in percent, clocks_event_reasons the bits of nvml.h.

A device that does not answer in time has the fields that it answered, and "error": "Timeout". Each device is asked in
a thread of its own: one that hangs keeps nothing from the others but what the driver itself locks.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pynvml

_MIB = 1024**2
_MIG_ENABLED = 1
PATIENCE = 9.0  # seconds until devices that have not answered are given up: before this process is killed (LiveHost)


def error_name(error: Exception) -> str:
    """Return the name that recordings give to an error of pynvml; a code that pynvml does not know is Unknown."""
    if not isinstance(error, pynvml.NVMLError):
        return "FunctionNotFound"  # the library, or pynvml itself, is older than the query
    return type(error).__name__.removeprefix("NVMLError").lstrip("_") or "Unknown"


def ask(query: Callable[[], Any]) -> Any:
    """Return what `query` answers, or the name of its error. A driver that says Unknown is asked once more."""
    answer = _ask_once(query)
    return _ask_once(query) if answer == "Unknown" else answer


def _ask_once(query: Callable[[], Any]) -> Any:
    try:
        return query()
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError, AttributeError, UnicodeDecodeError) as error:
        return error_name(error)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _memory(handle: Any) -> dict[str, int]:
    # The first version of the call: the second one fails on WSL 2.
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    total, used = int(memory.total), int(memory.used)
    return {"total_mib": total // _MIB, "used_mib": used // _MIB, "total_bytes": total}


def _clocks_event_reasons(handle: Any) -> int:
    try:
        return int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
    except (pynvml.NVMLError_FunctionNotFound, AttributeError):  # a driver, or a pynvml, of before 535
        return int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))


# The name of each field and how to ask for it.
_FIELDS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("name", lambda handle: _text(pynvml.nvmlDeviceGetName(handle))),
    ("uuid", lambda handle: _text(pynvml.nvmlDeviceGetUUID(handle))),
    ("pci_info", lambda handle: _text(pynvml.nvmlDeviceGetPciInfo(handle).busId)),
    ("minor_number", lambda handle: pynvml.nvmlDeviceGetMinorNumber(handle)),
    ("cuda_compute_capability", lambda handle: list(pynvml.nvmlDeviceGetCudaComputeCapability(handle))),
    ("memory_info", _memory),
    ("mig_mode", lambda handle: list(pynvml.nvmlDeviceGetMigMode(handle))),
    ("compute_mode", lambda handle: pynvml.nvmlDeviceGetComputeMode(handle)),
    ("addressing_mode", lambda handle: pynvml.nvmlDeviceGetAddressingMode(handle)),
    ("utilization", lambda handle: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
    ("temperature", lambda handle: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
    ("power_usage", lambda handle: pynvml.nvmlDeviceGetPowerUsage(handle)),
    ("clocks_event_reasons", _clocks_event_reasons),
    ("processes", lambda handle: [process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)]),
)


class _Device(threading.Thread):
    """One device that is asked; `table` grows with each answer."""

    def __init__(self, index: int) -> None:
        super().__init__(daemon=True)
        self._index = index
        self._table: dict[str, Any] = {}

    def run(self) -> None:
        handle = ask(lambda: pynvml.nvmlDeviceGetHandleByIndex(self._index))
        if isinstance(handle, str):
            self._table["handle"] = handle
            return
        for name, query in _FIELDS:
            self._table[name] = ask(partial(query, handle))
        if _is_mig(self._table["mig_mode"]):
            self._table["mig_devices"] = list(_mig_devices(handle))

    def answer(self, deadline: float) -> dict[str, Any]:
        """Return what is known at the deadline (seconds of the monotonic clock) at the latest."""
        self.join(max(0.0, deadline - time.monotonic()))
        return {**self._table, "error": "Timeout"} if self.is_alive() else self._table


def _devices(count: int, deadline: float) -> list[dict[str, Any]]:
    devices = [_Device(index) for index in range(count)]
    for device in devices:
        device.start()
    return [device.answer(deadline) for device in devices]


def _is_mig(mode: Any) -> bool:
    return isinstance(mode, list) and mode[:1] == [_MIG_ENABLED]


def _mig_devices(parent: Any) -> Iterator[dict[str, Any]]:
    most = ask(lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(parent))
    for index in range(most if isinstance(most, int) else 0):
        handle = ask(partial(_mig_handle, parent, index))
        if handle not in ("NotFound", "InvalidArgument"):  # an empty place
            yield _instance(handle)


def _mig_handle(parent: Any, index: int) -> Any:
    return pynvml.nvmlDeviceGetMigDeviceHandleByIndex(parent, index)


def _instance(handle: Any) -> dict[str, Any]:
    if isinstance(handle, str):
        return {"uuid": handle}
    memory = ask(lambda: _memory(handle))
    return {
        "uuid": ask(lambda: _text(pynvml.nvmlDeviceGetUUID(handle))),
        "name": ask(lambda: _text(pynvml.nvmlDeviceGetName(handle))),
        "gi": ask(lambda: pynvml.nvmlDeviceGetGpuInstanceId(handle)),
        "ci": ask(lambda: pynvml.nvmlDeviceGetComputeInstanceId(handle)),
        "memory_mib": memory if isinstance(memory, str) else memory["total_mib"],
    }


def answers(patience: float = PATIENCE) -> dict[str, Any]:
    """Return all that NVML answers; devices that have not after `patience` seconds are cut short.

    Each device and each field fails for itself alone.
    """
    deadline = time.monotonic() + patience
    failed = ask(pynvml.nvmlInit)
    if isinstance(failed, str):
        return {"init": failed}
    count = ask(pynvml.nvmlDeviceGetCount)
    return {
        "init": "ok",
        "driver_version": ask(lambda: _text(pynvml.nvmlSystemGetDriverVersion())),
        "cuda_driver_version": ask(pynvml.nvmlSystemGetCudaDriverVersion_v2),
        "count": count,
        "devices": _devices(count, deadline) if isinstance(count, int) else [],
    }


if __name__ == "__main__":
    json.dump(answers(*map(float, sys.argv[1:2])), sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # the library's own end could wait for a call that hangs
