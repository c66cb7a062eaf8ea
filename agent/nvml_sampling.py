"""Print how GPUs are used, a line of JSON every few seconds: run as a child, because a broken driver can hang or crash.

    python -m agent.nvml_sampling SECONDS UUID...

A line has an object for each unit, by UUID: {"memory_bytes", "utilization", "processes", "by_process"}. Utilization is
the share of time (0 to 1) since the line before; "processes" has {"memory_bytes", "utilization"} by process id,
"by_process" is whether NVML tells utilization of processes here at all. What it does not tell is null; a unit that
does not answer has {"error"}. Where NVML does not start, the only line is {"init": ERROR}.

It ends with whoever started it: when its standard input is closed, even while a call hangs.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import pynvml

from agent.nvml import ask

_AHEAD = 1.0  # seconds that the driver's clock may be ahead of this one


class _Unit:
    """One GPU or instance; it remembers up to when the use of processes was told."""

    def __init__(self, uuid: str, since: float) -> None:
        self._uuid = uuid
        self._told = int(since * 1e6)  # the driver's time stamps are microseconds since the epoch

    def sample(self) -> dict[str, Any]:
        handle = ask(lambda: pynvml.nvmlDeviceGetHandleByUUID(self._uuid))
        if isinstance(handle, str):
            return {"error": handle}
        shares = self._shares(handle)
        return {
            "memory_bytes": _number(ask(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).used)),
            "utilization": _share(ask(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
            "processes": _processes(handle, shares),
            "by_process": shares is not None,
        }

    def _shares(self, handle: Any) -> dict[int, float] | None:
        """Return the utilization by process id since the last call, None where NVML does not tell."""
        found = ask(lambda: _process_samples(handle, self._told))
        if isinstance(found, str):
            return None
        latest = int((time.time() + _AHEAD) * 1e6)
        # The driver fills up its list with entries of no process and of any time.
        fresh = [each for each in found if each.pid and self._told < each.timeStamp <= latest]
        self._told = max([self._told, *(int(each.timeStamp) for each in fresh)])
        shares: dict[int, list[int]] = {}
        for each in fresh:
            shares.setdefault(int(each.pid), []).append(int(each.smUtil))
        return {pid: sum(values) / len(values) / 100 for pid, values in shares.items()}


def _process_samples(handle: Any, since: int) -> list[Any]:
    try:
        return list(pynvml.nvmlDeviceGetProcessUtilization(handle, since))
    except pynvml.NVMLError as error:
        if error.value in (pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND):  # nobody has used it since
            return []
        raise


def _processes(handle: Any, shares: dict[int, float] | None) -> dict[int, dict[str, Any]]:
    found = ask(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
    return {
        int(process.pid): {
            "memory_bytes": _number(process.usedGpuMemory),
            "utilization": None if shares is None else shares.get(int(process.pid), 0.0),
        }
        for process in (() if isinstance(found, str) else found)
    }


def _number(answer: Any) -> int | None:
    return None if answer is None or isinstance(answer, str) else int(answer)


def _share(answer: Any) -> float | None:
    percent = _number(answer)
    return None if percent is None else percent / 100


def sample_for_ever(every: float, uuids: Sequence[str]) -> None:
    """Print samples, or why there can be none, and return."""
    failed = ask(pynvml.nvmlInit)
    if isinstance(failed, str):
        _tell({"init": failed})
        return
    units = {uuid: _Unit(uuid, time.time() - every) for uuid in uuids}
    while True:
        _tell({uuid: unit.sample() for uuid, unit in units.items()})
        threading.Event().wait(every)


def _tell(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sample_for_ever(float(sys.argv[1]), sys.argv[2:])
    os._exit(0)  # the library's own end could wait for a call that hangs
