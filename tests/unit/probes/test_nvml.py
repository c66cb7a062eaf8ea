from __future__ import annotations

from typing import Any

import pytest
from agent.nvml import answers, ask, error_name
from agent.probes.nvml import parse_answer, parse_cuda, parse_device, parse_driver, parse_slowdowns
from pynvml import NVMLError, NVMLLibraryMismatchError


def _failing(*codes: int | None) -> Any:
    waiting = list(codes)

    def query() -> str:
        code = waiting.pop(0)
        if code is not None:
            raise NVMLError(code)
        return "answer"

    return query


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (NVMLError(3), "NotSupported"),
        (NVMLError(15), "GpuIsLost"),
        (NVMLError(18), "LibRmVersionMismatch"),
        (NVMLError(999), "Unknown"),
        (NVMLError(543), "Unknown"),
        (NVMLLibraryMismatchError("old"), "FunctionNotFound"),
        (AttributeError("nvmlNew"), "FunctionNotFound"),
    ],
)
def test_an_error_has_the_name_of_recordings(error: Exception, name: str) -> None:
    assert error_name(error) == name


def test_an_unknown_error_is_asked_once_more() -> None:
    assert ask(_failing(999, None)) == "answer"
    assert ask(_failing(999, 999, None)) == "Unknown"


def test_another_error_is_not_asked_again() -> None:
    assert ask(_failing(3, None)) == "NotSupported"


def test_a_machine_without_the_library_says_so() -> None:
    assert answers()["init"] in ("LibraryNotFound", "DriverNotLoaded", "ok")


@pytest.mark.parametrize(
    ("value", "cuda"),
    [(12040, "12.4"), (13000, "13.0"), (9020, "9.2"), ("Unknown", None), (0, None), (True, None)],
)
def test_cuda_is_read_from_its_number(value: Any, cuda: str | None) -> None:
    assert parse_cuda(value) == cuda


@pytest.mark.parametrize(
    ("value", "version"), [("550.54.15", "550.54.15"), ("580.x (unverified)", None), ("Unknown", None), (550, None)]
)
def test_a_driver_version_is_numbers(value: Any, version: str | None) -> None:
    assert parse_driver(value) == version


@pytest.mark.parametrize(
    ("value", "slowdowns"),
    [
        (0, ()),
        (0x1 | 0x2 | 0x4 | 0x10 | 0x100, ()),
        (0x8, ("hardware slowdown",)),
        (0x20 | 0x4, ("heat",)),
        (0x40 | 0x80, ("heat (hardware)", "power brake")),
        ("NotSupported", None),
        (None, None),
        (True, None),
        (-1, None),
    ],
)
def test_only_what_protects_a_device_slows_it_down(value: Any, slowdowns: tuple[str, ...] | None) -> None:
    assert parse_slowdowns(value) == slowdowns


@pytest.mark.parametrize("name", ["GpuIsLost", "ResetRequired"])
@pytest.mark.parametrize("field", ["handle", "name", "temperature", "memory_info"])
def test_a_device_that_any_field_calls_lost_is_lost(field: str, name: str) -> None:
    assert parse_device({"name": "NVIDIA A10", field: name}).fault == "gpu-lost"


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"handle": "NoPermission"}, "no-permission"),
        ({"handle": "Unknown"}, "gpu-lost"),
        ("IrqIssue", "gpu-lost"),
        ({"name": "NVIDIA A10", "uuid": "GPU-a", "error": "Timeout"}, "nvml-timeout"),
        ({"name": "NVIDIA A10", "power_usage": "NoPermission"}, None),
        ({"name": "Orin (nvgpu)", "pci_info": "NotSupported"}, None),
    ],
)
def test_a_device_is_judged_by_what_is_essential(table: Any, fault: str | None) -> None:
    assert parse_device(table).fault == fault


def test_the_name_of_an_error_is_no_answer() -> None:
    refused = dict.fromkeys(("name", "uuid", "pci_info", "cuda_compute_capability", "mig_mode"), "NotSupported")
    device = parse_device({**refused, "memory_info": "NotSupported", "processes": "NotSupported"})
    assert (device.name, device.uuid, device.pci, device.compute_capability, device.mig) == (None,) * 5
    assert (device.memory_bytes, device.memory_error, device.pids) == (None, "NotSupported", ())


def test_memory_is_exact_where_bytes_are_known() -> None:
    assert parse_device({"memory_info": {"total_mib": 1, "total_bytes": 1048577}}).memory_bytes == 1048577
    assert parse_device({"memory_info": {"total_mib": 16}}).memory_bytes == 16 * 1024**2
    assert parse_device({"memory_info": {"total_mib": 0}}).memory_bytes is None


def test_a_divided_gpu_without_instances_is_still_divided() -> None:
    assert parse_device({"mig_mode": [1, 1], "mig_devices": []}).mig == ()
    assert parse_device({"mig_mode": [0, 1]}).mig is None


@pytest.mark.parametrize("garbage", [None, 7, "text", [], {}, {"init": 3}, {"init": "ok", "devices": {"a": 1}}])
def test_a_broken_answer_has_no_devices(garbage: Any) -> None:
    assert parse_answer(garbage).devices == ()


@pytest.mark.parametrize("garbage", [None, 7, [1], {"mig_mode": [1], "mig_devices": [None, {"uuid": []}]}])
def test_a_broken_device_is_unknown(garbage: Any) -> None:
    device = parse_device(garbage)
    assert (device.name, device.uuid, device.mig or None) == (None, None, None)
