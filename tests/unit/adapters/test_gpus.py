"""What a granted GPU becomes in a container, by what a host has of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest
from agent.adapters.gpus import HostGpus
from agent.adapters.host import RecordedHost
from agent.errors import HostFault
from agent.model.run import NO_DEVICES, Devices, Mount

from tests.hosts import RECORDED
from tests.ldcache import X86_64, ldcache
from tests.unit.gpu.test_cdi import COMMON, device, specification
from tests.unit.probes.fakehost import FakeHost

LIBRARY = "/lib/x86_64-linux-gnu/libcuda.so.1"
REAL = "/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.15"
SHARED = ("/dev/nvidiactl", "/dev/nvidia-uvm")
IN_LIBRARIES = "/.singularity.d/libs"
CACHE = ldcache([(X86_64, "libcuda.so.1", LIBRARY), (X86_64, "libc.so.6", "/lib/libc.so.6")])


def information(address: str, uuid: str, minor: int) -> dict[str, str]:
    text = f"Model: NVIDIA A10\nGPU UUID: {uuid}\nBus Location: {address}\nDevice Minor: {minor}\n"
    return {f"/proc/driver/nvidia/gpus/{address}/information": text}


TWO: dict[str, str | bytes] = {
    **dict.fromkeys((*SHARED, "/dev/nvidia0", "/dev/nvidia1", LIBRARY, REAL), ""),
    **information("0000:01:00.0", "GPU-a", 1),
    **information("0000:02:00.0", "GPU-b", 0),
    "/etc/ld.so.cache": CACHE,
    "/usr/bin/nvidia-smi": "",
}
MIG = {
    **dict.fromkeys(("/dev/nvidia-caps/nvidia-cap30", "/dev/nvidia-caps/nvidia-cap31"), ""),
    "/proc/driver/nvidia/capabilities/gpu1/mig/gi3/access": "DeviceFileMinor: 30\n",
    "/proc/driver/nvidia/capabilities/gpu1/mig/gi3/ci0/access": "DeviceFileMinor: 31\n",
}
ANSWER = {
    "init": "ok",
    "devices": [{"uuid": "GPU-a", "minor_number": 1, "mig_devices": [{"uuid": "MIG-a", "gi": 3, "ci": 0}]}],
}


def host(files: Mapping[str, str | bytes], **queries: Any) -> FakeHost:
    return FakeHost(files, **{"uname_m": "x86_64", **queries})


def granted(files: Mapping[str, str | bytes], *units: str, **queries: Any) -> Devices:
    return HostGpus(host(files, **queries)).grant(units)


def cuda(source: str = LIBRARY, name: str = "libcuda.so.1") -> Mount:
    return Mount(source, f"{IN_LIBRARIES}/{name}")


def with_specification(table: dict[str, Any], path: str = "/etc/cdi/nvidia.json") -> dict[str, str | bytes]:
    return {**TWO, path: json.dumps(table)}


def test_nothing_granted_is_nothing_given() -> None:
    assert granted({}) == NO_DEVICES


# --- tables ---


def test_a_unit_gets_its_own_node_those_of_the_driver_and_the_libraries() -> None:
    assert granted(TWO, "GPU-a") == Devices(
        ("/dev/nvidia1", *SHARED),
        (cuda(),),
        {"CUDA_VISIBLE_DEVICES": "GPU-a", "NVIDIA_VISIBLE_DEVICES": "GPU-a"},
    )


def test_several_units_get_each_its_node_in_their_order() -> None:
    devices = granted(TWO, "GPU-b", "GPU-a")
    assert devices.nodes == ("/dev/nvidia0", "/dev/nvidia1", *SHARED)
    assert devices.env["CUDA_VISIBLE_DEVICES"] == "GPU-b,GPU-a"


def test_an_instance_gets_its_capabilities_besides() -> None:
    devices = granted({**TWO, **MIG}, "MIG-a", nvml=ANSWER)
    assert devices.nodes == (
        "/dev/nvidia-caps/nvidia-cap30",
        "/dev/nvidia-caps/nvidia-cap31",
        "/dev/nvidia1",
        *SHARED,
    )
    assert devices.env["CUDA_VISIBLE_DEVICES"] == "MIG-a"


def test_nodes_that_are_there_by_need_are_given_when_they_are() -> None:
    assert granted({**TWO, "/dev/nvidia-uvm-tools": ""}, "GPU-a").nodes[-1] == "/dev/nvidia-uvm-tools"


def test_facts_about_the_processors_are_given_as_far_as_there_are_any() -> None:
    folder = "/sys/devices/system/node"
    assert granted({**TWO, f"{folder}/node0": ""}, "GPU-a").mounts == (cuda(), Mount(folder, folder))


@pytest.mark.parametrize(
    ("files", "unit", "told"),
    [
        ({**TWO, **MIG}, "MIG-z", "the driver does not say which node GPU MIG-z has"),
        (TWO, "MIG-a", "which capabilities instance MIG-a needs"),
        ({key: TWO[key] for key in TWO if key != "/dev/nvidia-uvm"}, "GPU-a", "/dev/nvidia-uvm is not there"),
        ({key: TWO[key] for key in TWO if key != "/dev/nvidia1"}, "GPU-a", "/dev/nvidia1 is not there"),
        ({key: TWO[key] for key in TWO if key != LIBRARY}, "GPU-a", "libcuda.so.1 is not there"),
        ({**TWO, "/etc/ld.so.cache": ""}, "GPU-a", "the loader knows no library of NVIDIA's driver"),
    ],
)
def test_what_a_unit_lacks_is_named(files: Mapping[str, str | bytes], unit: str, told: str) -> None:
    with pytest.raises(HostFault, match=told):
        granted(files, unit, nvml=ANSWER)


@pytest.mark.parametrize("node", ["/dev/nvidia1", "/dev/nvidia-uvm"])
def test_a_node_that_the_agent_may_not_open_is_named(node: str) -> None:
    with pytest.raises(HostFault, match=f"the agent's user may not open {node}"):
        granted(TWO, "GPU-a", denied_nodes=(node,))


def test_nodes_of_others_and_nodes_for_reading_may_be_closed() -> None:
    closed = ("/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap30")
    assert granted({**TWO, **MIG}, "MIG-a", nvml=ANSWER, denied_nodes=closed).nodes[0] == closed[1]


# --- specifications ---


SPECIFICATION = specification(
    device("0", "/dev/nvidia0"),
    device("1", "/dev/nvidia1"),
    containerEdits={**COMMON, "mounts": [*COMMON["mounts"], {"hostPath": REAL, "containerPath": REAL}]},
)


def test_a_specification_says_what_is_bound_libraries_where_programs_find_them() -> None:
    assert granted(with_specification(SPECIFICATION), "GPU-a") == Devices(
        (*SHARED, "/dev/nvidia1"),
        (
            Mount("/usr/bin/nvidia-smi", "/usr/bin/nvidia-smi"),
            cuda(REAL, "libcuda.so.550.54.15"),
            cuda(REAL, "libcuda.so.1"),
        ),
        {"CUDA_VISIBLE_DEVICES": "GPU-a", "NVIDIA_VISIBLE_DEVICES": "GPU-a"},
    )


def test_a_specification_in_yaml_is_read_too() -> None:
    text = """\
cdiVersion: 0.5.0
kind: nvidia.com/gpu
containerEdits:
  deviceNodes:
  - path: /dev/nvidiactl
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia1
"""
    assert granted({**TWO, "/etc/cdi/nvidia.yaml": text}, "GPU-a").nodes == ("/dev/nvidiactl", "/dev/nvidia1")


def test_the_one_written_at_this_start_of_the_host_comes_first() -> None:
    later = specification(device("x", "/dev/nvidia1"), containerEdits={})
    files = {**with_specification(SPECIFICATION), "/var/run/cdi/nvidia.json": json.dumps(later)}
    assert granted(files, "GPU-a").nodes == ("/dev/nvidia1",)


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("/etc/cdi/nvidia.yaml", "kind: nvidia.com/gpu\ndevices: [{name: all}]\n", "/etc/cdi/nvidia.yaml: line 2"),
        ("/etc/cdi/nvidia.json", '{"kind": "nvidia.com/gpu"', "/etc/cdi/nvidia.json: it is no JSON"),
        ("/etc/cdi/a.json", json.dumps(specification(device("0", "/dev/nvidia7"))), "GPU-a"),
        (
            "/etc/cdi/a.json",
            json.dumps(
                specification(
                    device("1", "/dev/nvidia1"),
                    containerEdits={"mounts": [{"hostPath": "/old/libcuda.so.1", "containerPath": "/x"}]},
                )
            ),
            "/old/libcuda.so.1",
        ),
    ],
    ids=["yaml", "json", "other-gpus", "old-files"],
)
def test_one_that_cannot_be_used_is_told_once_and_the_tables_count(
    path: str, text: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    gpus = HostGpus(host({**TWO, path: text}))
    with caplog.at_level(logging.WARNING):
        assert gpus.grant(["GPU-a"]) == gpus.grant(["GPU-a"]) == granted(TWO, "GPU-a")
    (record,) = caplog.records
    assert told in record.__dict__["reason"]


def test_specifications_of_other_devices_are_none_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    other = json.dumps({"kind": "intel.com/npu", "devices": []})
    assert granted({**TWO, "/etc/cdi/npu.json": other}, "GPU-a") == granted(TWO, "GPU-a")
    assert caplog.records == []


# --- Jetson, WSL 2 ---


JETSON = {
    "/proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0",
    **dict.fromkeys(("/dev/nvmap", "/dev/nvhost-gpu", "/dev/nvhost-ctrl", "/dev/dri/card1", "/etc/egl.json"), ""),
    "/usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1.1": "",
}
LISTS = "/etc/nvidia-container-runtime/host-files-for-container.d"
DEVICES = "dev, /dev/nvmap\ndev, /dev/nvhost-*\ndev, /dev/dri/card*\ndev, /dev/not-here\n"
DRIVERS = "lib, /usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1.1\nlib, /etc/egl.json\nlib, /not/here\n"


def test_a_jetson_gets_what_its_lists_name_and_the_board_has() -> None:
    files = {**JETSON, f"{LISTS}/devices.csv": DEVICES, f"{LISTS}/drivers.csv": DRIVERS}
    assert granted(files, "igpu0", uname_m="aarch64") == Devices(
        ("/dev/nvmap", "/dev/nvhost-ctrl", "/dev/nvhost-gpu", "/dev/dri/card1"),
        (
            cuda("/usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1.1", "libcuda.so.1.1"),
            Mount("/etc/egl.json", "/etc/egl.json"),
        ),
        {"CUDA_VISIBLE_DEVICES": "0", "NVIDIA_VISIBLE_DEVICES": "igpu0"},
    )


def test_a_jetsons_specification_comes_before_its_lists() -> None:
    table = specification(device("0", "/dev/nvmap"), device("all", "/dev/nvmap"), containerEdits={})
    files = {**JETSON, f"{LISTS}/devices.csv": DEVICES, "/etc/cdi/nvidia.json": json.dumps(table)}
    assert granted(files, "igpu0", uname_m="aarch64").nodes == ("/dev/nvmap",)


def test_a_jetson_without_lists_says_what_to_install() -> None:
    with pytest.raises(HostFault, match="install nvidia-container-toolkit"):
        granted(JETSON, "igpu0", uname_m="aarch64")


def test_a_recorded_jetson_gets_its_nodes() -> None:
    listed = (RECORDED / "jetson-orin-nano-super-r36" / LISTS.lstrip("/") / "devices.csv").read_text()
    nodes = [line.split(", ")[1] for line in listed.splitlines() if "*" not in line and line.startswith("dev")]
    files = {**JETSON, **dict.fromkeys(nodes, ""), f"{LISTS}/devices.csv": listed}
    devices = granted(files, "1833c8b5-aa0c-5c39-9b24-b3d7d8d6d8f3", uname_m="aarch64")
    assert set(nodes) <= set(devices.nodes)
    assert devices.env["CUDA_VISIBLE_DEVICES"] == "0"


def test_on_wsl_the_one_node_and_windows_libraries_are_given() -> None:
    files = dict.fromkeys(
        ("/dev/dxg", "/usr/lib/wsl/lib/libcuda.so.1", "/usr/lib/wsl/lib/nvidia-smi", "/usr/lib/wsl/drivers/x"), ""
    )
    drivers = "/usr/lib/wsl/drivers"
    devices = granted(files, "GPU-a", dev_nodes=("/dev/dxg",))
    assert devices.nodes == ("/dev/dxg",)
    assert devices.mounts == (cuda("/usr/lib/wsl/lib/libcuda.so.1"), Mount(drivers, drivers))


def test_a_recorded_server_without_its_capabilities_grants_no_instance() -> None:
    with pytest.raises(HostFault, match="the driver does not say which node"):
        HostGpus(RecordedHost(RECORDED / "x86-dgx-a100-mig")).grant(["MIG-e243b789-88dd-5d74-bf9e-74a65024ef0d"])
