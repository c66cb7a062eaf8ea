from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from agent.model.capabilities import Capabilities, Gpu
from agent.probes import probe_host
from agent.probes.driver import parse_information, parse_version
from agent.probes.numa import parse_node_total, parse_status
from agent.probes.reasons import REMEDIES
from agent.probes.tenants import parse_parent

from tests.unit.probes.fakehost import FakeHost

A10: dict[str, Any] = {
    "name": "NVIDIA A10",
    "uuid": "GPU-a",
    "pci_info": "00000000:01:00.0",
    "memory_info": {"total_mib": 24576},
    "mig_mode": "NotSupported",
    "compute_mode": 0,
    "cuda_compute_capability": [8, 6],
    "processes": [],
}
THOR = {**A10, "name": "NVIDIA Thor", "memory_info": "NotSupported", "cuda_compute_capability": [11, 0]}
ORIN = {"name": "Orin (nvgpu)", "uuid": "54d0709b-558d-5a59-9c65-0c5fc14a21a4", "memory_info": "NotSupported"}
RTX = {**A10, "name": "NVIDIA RTX 6000 Ada Generation", "uuid": "GPU-rtx", "pci_info": "00000009:01:00.0"}
MEMINFO = {"/proc/meminfo": "MemTotal:       1000000 kB\n"}


def pci(address: str, vendor: str = "10de", device: str = "2236", kind: str = "0302", driver: str = "nvidia") -> Any:
    below = f"/sys/bus/pci/devices/{address}"
    return {
        f"{below}/vendor": f"0x{vendor}",
        f"{below}/device": f"0x{device}",
        f"{below}/class": f"0x{kind}00",
        f"{below}/uevent": f"DRIVER={driver}\n",
    }


def module(address: str, uuid: str = "GPU-a", minor: int = 0, excluded: str = "No") -> dict[str, str]:
    text = f"Model: \t\t NVIDIA A10\nGPU UUID: \t {uuid}\nBus Location: \t {address}\nDevice Minor: \t {minor}\n"
    return {f"/proc/driver/nvidia/gpus/{address}/information": text + f"GPU Excluded:\t {excluded}\n"}


def tegra(chip: str) -> dict[str, str]:
    return {"/proc/device-tree/compatible": f"nvidia,p0000-0000\0nvidia,{chip}\0"}


def ok(*devices: Any) -> dict[str, Any]:
    return {"init": "ok", "driver_version": "550.54", "cuda_driver_version": 12040, "devices": list(devices)}


def profile(files: Mapping[str, str], nvml: Any = None, nodes: tuple[str, ...] | None = None) -> Capabilities:
    return probe_host(FakeHost({**MEMINFO, **files}, nvml=nvml, dev_nodes=nodes), host_id="a")


def only(files: Mapping[str, str], nvml: Any = None, nodes: tuple[str, ...] | None = None) -> Gpu:
    (gpu,) = profile(files, nvml, nodes).gpus or ()
    return gpu


def test_a_host_without_gpu_has_an_empty_list() -> None:
    assert profile({}).gpus == ()


def test_nvml_is_not_asked_without_a_sign_of_nvidia() -> None:
    assert profile(pci("0000:00:02.0", "8086"), ok(A10)).cuda.version is None


def test_a_healthy_gpu_can_be_granted() -> None:
    gpu = only(pci("0000:01:00.0"), ok(A10))
    assert gpu == Gpu(
        vendor="nvidia",
        kind="discrete",
        name="NVIDIA A10",
        uuid="GPU-a",
        pci="0000:01:00.0",
        pci_id="10de:2236",
        driver="550.54",
        compute_capability="8.6",
        memory_kind="dedicated",
        memory_bytes=24 * 1024**3,
        usable=True,
        units=("GPU-a",),
    )


@pytest.mark.parametrize(
    ("init", "reason"),
    [
        ("LibraryNotFound", "no-driver"),
        ("DriverNotLoaded", "no-driver"),
        ("LibRmVersionMismatch", "driver-library-mismatch"),
        ("NoPermission", "no-permission"),
        ("OperatingSystem", "no-permission"),
        ("Unknown", "no-permission"),
        ("Timeout", "nvml-timeout"),
        ("GpuIsLost", "gpu-lost"),
    ],
)
def test_a_driver_that_does_not_start_is_the_reason_for_every_gpu(init: str, reason: str) -> None:
    files = {**pci("0000:01:00.0"), **pci("0000:02:00.0")}
    gpus = profile(files, {"init": init}).gpus or ()
    assert [(gpu.usable, gpu.reason, gpu.remedy, gpu.units) for gpu in gpus] == [
        (False, reason, REMEDIES[reason], ())
    ] * 2


def test_a_library_that_crashed_is_a_problem_and_its_gpus_stay() -> None:
    found = profile(pci("0000:01:00.0"), {"init": "Crashed"})
    assert [gpu.usable for gpu in found.gpus or ()] == [False]
    assert [problem.probe for problem in found.problems] == ["cuda"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"compute_mode": 2}, "compute-prohibited"),
        ({"compute_mode": 3}, None),
        ({"temperature": "GpuIsLost"}, "gpu-lost"),
        ({"processes": [4711]}, "busy-elsewhere"),
        ({"processes": "NotSupported"}, None),
        ({"name": "NVIDIA DGX Display"}, "compute-prohibited"),
    ],
)
def test_a_gpu_is_judged_by_itself(change: dict[str, Any], reason: str | None) -> None:
    gpus = profile(
        {}, ok({**A10, **change}, {**A10, "uuid": "GPU-b", "pci_info": "00000000:02:00.0"}), ("/dev/nvidia0",)
    )
    assert [(gpu.usable, gpu.reason) for gpu in gpus.gpus or ()] == [(reason is None, reason), (True, None)]


def test_a_process_of_an_own_job_does_not_make_a_gpu_busy() -> None:
    files = {
        "/proc/30/stat": "30 (a (b) c) S 20 30 30 0",
        "/proc/30/cmdline": "python\0train.py\0",
        "/proc/20/stat": "20 (python3) S 1 20 20 0",
        "/proc/20/cmdline": "python3\0-c\0from agent.supervisor.holder import main\0",
    }
    assert only({**files, **pci("0000:01:00.0")}, ok({**A10, "processes": [30]})).usable
    del files["/proc/20/cmdline"]
    assert only({**files, **pci("0000:01:00.0")}, ok({**A10, "processes": [30]})).reason == "busy-elsewhere"


def test_a_lost_gpu_gets_the_address_that_is_left_and_hides_no_other() -> None:
    files = {**pci("0000:01:00.0"), **pci("0000:02:00.0"), **module("0000:02:00.0", "GPU-b")}
    good, lost = profile(files, ok({"handle": "GpuIsLost"}, A10)).gpus or ()
    if good.usable is False:
        good, lost = lost, good
    assert (good.pci, good.units) == ("0000:01:00.0", ("GPU-a",))
    assert (lost.pci, lost.uuid, lost.reason, lost.units) == ("0000:02:00.0", "GPU-b", "gpu-lost", ())


@pytest.mark.parametrize(
    ("files", "nodes", "reason"),
    [
        (pci("0000:02:00.0", driver="vfio-pci"), None, "no-driver"),
        (pci("0000:02:00.0", driver="nouveau"), None, "no-driver"),
        ({**pci("0000:02:00.0"), **module("0000:02:00.0", "GPU-b", 1)}, None, "gpu-lost"),
        ({**pci("0000:02:00.0"), **module("0000:02:00.0", "GPU-b", 1)}, ("/dev/nvidia0",), "no-permission"),
        ({**pci("0000:02:00.0"), **module("0000:02:00.0", "GPU-b", 1, "Yes")}, None, "no-permission"),
        (pci("0000:02:00.0"), ("/dev/nvidia0", "/dev/nvidiactl"), "no-permission"),
    ],
)
def test_a_gpu_that_nvml_leaves_out_stays_with_its_reason(
    files: dict[str, str], nodes: tuple[str, ...] | None, reason: str
) -> None:
    first, second = profile({**pci("0000:01:00.0"), **files}, ok(A10), nodes).gpus or ()
    assert first.usable
    assert (second.pci, second.usable, second.reason) == ("0000:02:00.0", False, reason)


@pytest.mark.parametrize(
    ("numbers", "nodes", "denied", "reason"),
    [
        ({"minor_number": 1}, ("/dev/nvidiactl", "/dev/nvidia1"), (), None),
        ({"minor_number": 1}, ("/dev/nvidiactl", "/dev/nvidia0"), (), "no-permission"),
        ({"minor_number": 1}, ("/dev/nvidiactl", "/dev/nvidia1"), ("/dev/nvidia1",), "no-permission"),
        ({"minor_number": 1}, None, None, None),
        ({"minor_number": "NotSupported"}, ("/dev/nvidiactl",), (), None),
        ({"minor_number": 1}, (), (), None),
    ],
)
def test_a_gpu_that_nvml_counts_and_nobody_here_may_open_is_not_usable(
    numbers: dict[str, Any], nodes: tuple[str, ...] | None, denied: tuple[str, ...] | None, reason: str | None
) -> None:
    host = FakeHost(
        {**MEMINFO, **pci("0000:01:00.0")}, nvml=ok({**A10, **numbers}), dev_nodes=nodes, denied_nodes=denied
    )
    (gpu,) = probe_host(host, host_id="a").gpus or ()
    assert (gpu.usable, gpu.reason) == (reason is None, reason)


@pytest.mark.parametrize(
    ("nodes", "denied", "usable"),
    [
        (None, None, True),
        ((), (), False),
        (("/dev/nvmap", "/dev/nvhost-gpu"), (), True),
        (("/dev/nvmap", "/dev/nvhost-gpu"), ("/dev/nvmap", "/dev/nvhost-gpu"), False),
    ],
)
def test_the_gpu_of_a_jetson_is_usable_by_who_may_open_its_nodes(
    nodes: tuple[str, ...] | None, denied: tuple[str, ...] | None, usable: bool
) -> None:
    host = FakeHost({**MEMINFO, **tegra("tegra194")}, dev_nodes=nodes, denied_nodes=denied)
    (gpu,) = probe_host(host, host_id="a").gpus or ()
    assert (gpu.usable, gpu.reason) == (usable, None if usable else "no-permission")


def test_a_lost_gpu_is_not_the_one_that_another_driver_has() -> None:
    files = {**pci("0000:01:00.0", driver="vfio-pci"), **pci("0000:02:00.0")}
    lost, lent = profile(files, ok({"handle": "GpuIsLost"})).gpus or ()
    assert [(lost.pci, lost.reason), (lent.pci, lent.reason)] == [
        ("0000:02:00.0", "gpu-lost"),
        ("0000:01:00.0", "no-driver"),
    ]


def test_entries_are_paired_by_uuid_where_nvml_gives_no_address() -> None:
    gpu = only({**pci("0000:01:00.0"), **module("0000:01:00.0")}, ok({**A10, "pci_info": "NotSupported"}))
    assert (gpu.pci_id, gpu.units) == ("10de:2236", ("GPU-a",))


def test_the_instances_of_a_divided_gpu_are_its_units() -> None:
    divided = {**A10, "mig_mode": [1, 1], "mig_devices": [{"uuid": "MIG-1"}, {"uuid": "GpuIsLost"}, {"uuid": "MIG-2"}]}
    assert only(pci("0000:01:00.0"), ok(divided)).units == ("MIG-1", "MIG-2")
    assert only(pci("0000:01:00.0"), ok({**divided, "mig_devices": []})).units == ()


def test_an_orin_is_known_by_its_chip_and_named_by_nvml() -> None:
    gpu = only(tegra("tegra234"), ok(ORIN))
    assert (gpu.kind, gpu.name, gpu.compute_capability, gpu.memory_kind) == (
        "integrated",
        ORIN["name"],
        "8.7",
        "shared",
    )
    assert (gpu.memory_bytes, gpu.usable, gpu.units) == (1000000 * 1024, True, (ORIN["uuid"],))


def test_a_jetson_without_nvml_has_its_gpu() -> None:
    gpu = only(tegra("tegra194"), {"init": "LibraryNotFound"})
    assert (gpu.kind, gpu.compute_capability, gpu.usable, len(gpu.units)) == ("integrated", "7.2", True, 1)


def test_a_container_on_a_jetson_that_was_given_no_device_cannot_use_its_gpu() -> None:
    files = {**tegra("tegra194"), "/dev/null": ""}
    assert only(files, None, ("/dev/nvidiactl",)).reason == "no-permission"
    assert only(files, None, ("/dev/nvmap", "/dev/nvhost-gpu")).usable


def test_a_thor_with_a_card_has_both() -> None:
    files = {**tegra("tegra264"), **pci("0000:01:00.0", device="2b00"), **pci("0009:01:00.0", device="26b1")}
    own, card = profile(files, ok(THOR, RTX)).gpus or ()
    assert (own.kind, own.memory_kind, own.pci_id) == ("integrated", "shared", "10de:2b00")
    assert (card.kind, card.memory_kind, card.compute_capability) == ("discrete", "dedicated", "8.6")


def test_a_jetson_whose_driver_shows_only_the_card_keeps_its_own_gpu() -> None:
    files = {**tegra("tegra234"), **pci("0009:01:00.0", device="26b1")}
    assert [gpu.kind for gpu in profile(files, ok(RTX)).gpus or ()] == ["discrete", "integrated"]


def test_a_card_that_shares_main_memory_is_no_jetson() -> None:
    spark = {**A10, "name": "NVIDIA GB10", "memory_info": "NotSupported"}
    gpu = only(pci("000f:01:00.0", device="2e12"), ok({**spark, "pci_info": "0000000F:01:00.0"}))
    assert (gpu.kind, gpu.memory_kind, gpu.memory_bytes) == ("integrated-coherent", "shared", 1000000 * 1024)
    broken = only(pci("000f:01:00.0", device="2e12"), {"init": "LibRmVersionMismatch"})
    assert (broken.kind, broken.memory_kind) == ("integrated-coherent", "shared")


def test_windows_lends_a_paravirtual_gpu() -> None:
    device = {**A10, "pci_info": "00000000:01:00.0", "memory_info": {"total_mib": 8192}}
    gpu = only({}, ok(device), ("/dev/dxg",))
    assert (gpu.kind, gpu.memory_bytes, gpu.usable) == ("paravirtual", 8 * 1024**3, True)


GRACE = {**A10, "name": "NVIDIA GH200 480GB", "memory_info": {"total_mib": 500}}
GRACE_NODES = {"/sys/devices/system/node/has_cpu": "0", "/sys/devices/system/node/online": "0-8"}


def test_gpu_memory_inside_main_memory_is_not_counted_twice() -> None:
    sizes = {f"/sys/devices/system/node/node{n}/meminfo": f"Node {n} MemTotal: 0 kB\n" for n in range(1, 9)}
    sizes["/sys/devices/system/node/node1/meminfo"] = "Node 1 MemTotal:       400000 kB\n"
    found = profile({**pci("0000:01:00.0", device="2342"), **GRACE_NODES, **sizes}, ok(GRACE))
    assert [gpu.memory_kind for gpu in found.gpus or ()] == ["dedicated-coherent"]
    assert (found.memory.total_bytes, found.memory.system_bytes) == (1000000 * 1024, 600000 * 1024)


def test_gpu_memory_of_unknown_nodes_is_what_nvml_says() -> None:
    found = profile({**pci("0000:01:00.0"), **GRACE_NODES}, ok(GRACE))
    assert found.memory.system_bytes == 1000000 * 1024 - 500 * 1024**2


def test_gpu_memory_that_the_driver_keeps_takes_nothing_from_main_memory() -> None:
    nodes = {"/sys/devices/system/node/has_cpu": "0", "/sys/devices/system/node/has_memory": "0"}
    assert profile({**pci("0000:01:00.0"), **nodes}, ok(GRACE)).memory.system_bytes == 1000000 * 1024


def test_memory_of_a_power9_gpu_is_found_by_the_driver() -> None:
    volta = {**A10, "name": "Tesla V100-SXM2-16GB", "pci_info": "00000004:04:00.0", "memory_info": {"total_mib": 16128}}
    address = "0004:04:00.0"
    files = {
        **pci(address, device="1db1"),
        **module(address),
        f"/proc/driver/nvidia/gpus/{address}/numa_status": "Node: 255\nStatus: online\nAddress: 4000\nSize: 3c\n",
        "/sys/devices/system/node/node255/meminfo": "Node 255 MemTotal:       100000 kB\n",
    }
    found = profile(files, ok(volta))
    assert [gpu.memory_kind for gpu in found.gpus or ()] == ["dedicated-coherent"]
    assert found.memory.system_bytes == 900000 * 1024


def test_nodes_without_cpu_are_main_memory_where_no_gpu_is_coherent() -> None:
    found = profile({**pci("0000:01:00.0"), **GRACE_NODES}, ok(A10))
    assert found.memory.system_bytes == found.memory.total_bytes


def test_gpus_of_others_are_listed_and_not_scheduled() -> None:
    files = {
        **pci("0000:03:00.0", "1002", "744c", "0300", "amdgpu"),
        "/sys/bus/pci/devices/0000:03:00.0/mem_info_vram_total": "25753026560\n",
        **pci("0000:00:02.0", "8086", "a7a0", "0300", "i915"),
    }
    intel, amd = profile(files).gpus or ()
    assert (amd.vendor, amd.kind, amd.memory_bytes, amd.driver) == ("amd", "discrete", 25753026560, "amdgpu")
    assert (intel.vendor, intel.kind, intel.memory_kind) == ("intel", "integrated", "shared")
    assert [(gpu.usable, gpu.reason) for gpu in (intel, amd)] == [(False, "vendor-not-schedulable")] * 2


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.90.07  Fri May 31\nGCC version: gcc 12.2.0", "550.90.07"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  570.124.06  Release Build", "570.124.06"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  TempVersion  Release Build", None),
        ("", None),
    ],
)
def test_the_version_of_the_kernel_module(text: str, version: str | None) -> None:
    assert parse_version(text) == version


def test_a_gpu_that_was_never_used_has_no_uuid() -> None:
    gpu = parse_information("GPU UUID: \t GPU-????????-????\nBlacklisted:\t Yes\n", "0000:01:00.0")
    assert gpu is not None
    assert (gpu.pci, gpu.uuid, gpu.minor, gpu.excluded) == ("0000:01:00.0", None, None, True)
    assert parse_information("Model: A\n", "nonsense") is None


def test_a_node_counts_only_when_it_is_online() -> None:
    assert parse_status("Node: 8\nStatus: online\n") == 8
    assert parse_status("Node: 8\nStatus: offline\n") is None
    assert parse_node_total("Node 8 MemTotal:       16 kB") == 16384
    assert parse_node_total("nonsense") is None


@pytest.mark.parametrize(("stat", "parent"), [(b"7 (a) b) S 12 7", 12), (b"7 (a) S", None), (b"", None)])
def test_the_parent_of_a_process(stat: bytes, parent: int | None) -> None:
    assert parse_parent(stat) == parent
