from __future__ import annotations

from typing import Any

import pytest
from agent.gpu.units import Place, own_nodes, parse_access, places

DIVIDED = {
    "uuid": "GPU-b",
    "minor_number": 1,
    "mig_devices": [
        {"uuid": "MIG-1", "gi": 7, "ci": 0},
        {"uuid": "MIG-2", "gi": "NotSupported", "ci": 0},
        "NoPermission",
    ],
}


def test_units_are_where_nvml_says() -> None:
    answer = {"devices": [{"uuid": "GPU-a", "minor_number": 3}, DIVIDED]}
    assert places(answer, {}) == {"GPU-a": Place(3), "GPU-b": Place(1), "MIG-1": Place(1, 7, 0)}


def test_where_nvml_gives_no_number_the_kernel_modules_counts() -> None:
    answer = {"devices": [{"uuid": "GPU-a", "minor_number": "NotSupported"}, {"handle": "GpuIsLost"}]}
    assert places(answer, {"GPU-a": 2, "GPU-c": 4}) == {"GPU-a": Place(2), "GPU-c": Place(4)}


@pytest.mark.parametrize("answer", [None, {}, {"devices": None}, {"devices": ["x", {"uuid": 1}]}, "Timeout"])
def test_without_an_answer_nothing_is_known(answer: Any) -> None:
    assert places(answer, {}) == {}


def test_an_instance_has_two_files_of_capabilities_and_a_whole_gpu_none() -> None:
    folder = "/proc/driver/nvidia/capabilities/gpu1/mig/gi7"
    assert Place(1, 7, 0).access_files == (f"{folder}/access", f"{folder}/ci0/access")
    assert Place(1).access_files == ()


def test_a_capability_is_a_node() -> None:
    text = "DeviceFileMinor: 66\nDeviceFileMode: 292\nDeviceFileModify: 1\n"
    assert parse_access(text) == "/dev/nvidia-caps/nvidia-cap66"
    assert parse_access("DeviceFileMode: 292\n") is None


def test_nodes_of_the_driver_belong_to_no_unit() -> None:
    own = ("/dev/nvidia0", "/dev/nvidia12", "/dev/nvidia-caps/nvidia-cap3")
    assert own_nodes([*own, "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-modeset"]) == set(own)
