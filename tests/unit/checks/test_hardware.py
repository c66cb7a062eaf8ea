"""The checks of GPUs, Jetson lists, emulation, power and heat, over recorded hosts and over hosts that are not well."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from agent.adapters.host import RecordedHost
from agent.checks import Bench, Finding
from agent.checks.hardware import check_emulation, check_gpus, check_jetson, check_throttling
from agent.model.capabilities import Problem
from agent.ports import Host
from agent.probes import probe_host, reasons

from tests.fakes import FakeArtifacts
from tests.hosts import RECORDED
from tests.unit.probes.fakehost import FakeHost
from tests.unit.probes.test_emulation import ARM64
from tests.unit.probes.test_gpu import A10, ok, pci, tegra
from tests.unit.probes.test_health import FIRMWARE

CSV = "/etc/nvidia-container-runtime/host-files-for-container.d"
BINFMT = "/proc/sys/fs/binfmt_misc"
ON = {f"{BINFMT}/status": "enabled\n"}
GPU = pci("0000:01:00.0")
Check = Callable[[Bench], Iterator[Finding]]


def bench_of(host: Host, emulate: Sequence[str] = (), problems: Sequence[Problem] = ()) -> Bench:
    """Return a bench with this host on it; what is not hardware is not asked."""

    def not_asked() -> Any:
        raise AssertionError("this is not hardware")

    return Bench(
        state_dir=Path("/"),
        host=host,
        profile=probe_host(host, host_id="a", problems=problems),
        prepare=not_asked,
        free_disk=not_asked,
        canary=not_asked,
        artifacts=FakeArtifacts,
        emulate=emulate,
    )


def told(check: Check, host: Host, **given: Any) -> list[tuple[str, str]]:
    """Return status and message of each finding; whatever is not well has a remedy, and nothing else has."""
    findings = list(check(bench_of(host, **given)))
    assert {finding.status != "ok" for finding in findings if finding.remedy} <= {True}
    assert {bool(finding.remedy) for finding in findings if finding.status != "ok"} <= {True}
    return [(finding.status, finding.message) for finding in findings]


def recorded(name: str) -> RecordedHost:
    return RecordedHost(RECORDED / name)


# --- GPUs -------------------------------------------------------------------------------------------------------------


def test_gpus_that_can_be_used_are_well() -> None:
    assert told(check_gpus, FakeHost()) == [("ok", "there is none of NVIDIA's")]
    assert told(check_gpus, recorded("x86-workstation-amdgpu")) == [("ok", "there is none of NVIDIA's")]
    assert {status for status, _ in told(check_gpus, recorded("x86-desktop-rtx3090"))} == {"ok"}


def test_a_library_of_another_release_than_the_kernel_module_fails() -> None:
    ((status, message),) = told(check_gpus, recorded("x86-nvml-mismatch"))
    assert status == "failure"
    assert message.endswith(f"cannot be used: {reasons.MISMATCH}")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"init": "LibraryNotFound"}, reasons.NO_DRIVER),
        ({"init": "DriverNotLoaded"}, reasons.NO_DRIVER),
        ({"init": "LibRmVersionMismatch"}, reasons.MISMATCH),
        ({"init": "NoPermission"}, reasons.NO_PERMISSION),
        ({"init": "Timeout"}, reasons.TIMEOUT),
        (ok({"handle": "GpuIsLost"}), reasons.LOST),
    ],
)
def test_a_gpu_whose_driver_does_not_work_fails(answer: Any, reason: str) -> None:
    ((status, message),) = told(check_gpus, FakeHost(GPU, nvml=answer))
    assert (status, message) == ("failure", f"an NVIDIA GPU 0000:01:00.0 cannot be used: {reason}")


@pytest.mark.parametrize(
    ("changes", "reason"), [({"compute_mode": 2}, reasons.PROHIBITED), ({"processes": [1]}, reasons.BUSY)]
)
def test_a_gpu_that_others_use_or_forbid_is_a_warning(changes: dict[str, Any], reason: str) -> None:
    ((status, message),) = told(check_gpus, FakeHost(GPU, nvml=ok({**A10, **changes})))
    assert (status, message.endswith(reason)) == ("warning", True)


def test_a_gpu_without_the_node_for_its_memory_fails() -> None:
    nodes = ("/dev/nvidia0", "/dev/nvidiactl")
    answers = told(check_gpus, FakeHost(GPU, nvml=ok(A10), dev_nodes=nodes))
    assert [status for status, _ in answers] == ["ok", "failure"]
    assert answers[1][1].startswith("/dev/nvidia-uvm is missing")
    complete = FakeHost(GPU, nvml=ok(A10), dev_nodes=(*nodes, "/dev/nvidia-uvm"))
    assert [status for status, _ in told(check_gpus, complete)] == ["ok"]


def test_a_jetson_needs_no_such_node() -> None:
    host = FakeHost(tegra("tegra234"), nvml={"init": "LibraryNotFound"}, dev_nodes=("/dev/nvidiactl", "/dev/nvmap"))
    assert [status for status, _ in told(check_gpus, host)] == ["ok"]


def test_a_driver_library_that_crashes_fails_with_what_the_probe_says() -> None:
    findings = told(check_gpus, FakeHost(GPU, nvml={"init": "Crashed"}))
    assert findings[0] == ("failure", "the NVIDIA driver library crashed")


# --- Jetson -----------------------------------------------------------------------------------------------------------


def test_other_machines_need_no_lists() -> None:
    assert told(check_jetson, recorded("dgx-spark-gb10")) == [("ok", "this host is none")]


def test_a_jetson_with_its_lists_is_well() -> None:
    ((status, message),) = told(check_jetson, recorded("jetson-orin-nano-super-r36"))
    assert (status, message) == ("ok", f"what containers need of the GPU is listed in {CSV}/devices.csv")


@pytest.mark.parametrize("folder", ["/etc/cdi", "/var/run/cdi"])
def test_a_cdi_specification_is_a_list_as_well(folder: str) -> None:
    host = FakeHost({**tegra("tegra234"), f"{folder}/nvidia.yaml": "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\n"})
    ((status, message),) = told(check_jetson, host)
    assert (status, message.endswith(f"{folder}/nvidia.yaml")) == ("ok", True)


def test_a_jetson_without_lists_fails() -> None:
    ((status, message),) = told(check_jetson, recorded("jetson-agx-orin-r36"))
    assert (status, message) == ("failure", f"no lists for containers in {CSV} and /etc/cdi, /var/run/cdi")
    others = FakeHost(
        {**tegra("tegra234"), "/etc/cdi/other.json": '{"kind": "example.com/fpga"}', f"{CSV}/README": "dev"}
    )
    assert told(check_jetson, others) == [("failure", message)]


@pytest.mark.parametrize("content", ["", "lib, /usr/lib/libcuda.so\n", "\0"])
def test_lists_without_a_device_fail(content: str) -> None:
    host = FakeHost({**tegra("tegra234"), f"{CSV}/drivers.csv": content})
    assert told(check_jetson, host) == [("failure", f"no device is listed in {CSV}/drivers.csv")]


# --- emulation --------------------------------------------------------------------------------------------------------


def test_nothing_is_to_emulate_unless_it_is_configured() -> None:
    assert told(check_emulation, FakeHost()) == [("ok", "none is configured")]


def test_a_registered_emulator_is_well() -> None:
    assert told(check_emulation, recorded("x86-binfmt-aarch64"), emulate=("arm64",)) == [("ok", "arm64 is emulated")]


def test_the_own_architecture_needs_none() -> None:
    host = FakeHost(uname_m="x86_64", runtime_version="apptainer version 1.4.5")
    assert told(check_emulation, host, emulate=("amd64",)) == [("ok", "this host runs amd64 without")]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "binfmt_misc is not mounted"),
        ({f"{BINFMT}/status": "disabled\n", f"{BINFMT}/qemu-aarch64": ARM64}, "binfmt_misc is switched off"),
        (ON, "no emulator for arm64 is registered"),
        ({**ON, f"{BINFMT}/qemu-aarch64": ARM64.replace("enabled", "disabled")}, "qemu-aarch64 is disabled"),
        (
            {**ON, f"{BINFMT}/qemu-aarch64": ARM64.replace("PF", "P")},
            "qemu-aarch64 is registered without flag F: containers do not find the emulator",
        ),
    ],
)
def test_an_architecture_that_is_configured_and_not_emulated_fails(files: dict[str, str], said: str) -> None:
    assert told(check_emulation, FakeHost(files), emulate=("arm64",)) == [("failure", said)]


def test_each_architecture_is_checked_for_itself() -> None:
    findings = told(check_emulation, recorded("x86-binfmt-aarch64"), emulate=("arm64", "riscv64"))
    assert findings == [("ok", "arm64 is emulated"), ("failure", "no emulator for riscv64 is registered")]


# --- power and heat ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "findings"),
    [
        ("0", [("ok", "not now")]),
        ("50000", [("ok", "not now; since boot: under_voltage, throttled")]),
        ("50005", [("failure", "(under_voltage)"), ("warning", "slowed down now: throttled")]),
        ("1", [("failure", "(under_voltage)")]),
        ("8", [("warning", "slowed down now: soft_temperature_limit")]),
    ],
)
def test_power_and_heat_of_a_raspberry_pi(bits: str, findings: list[tuple[str, str]]) -> None:
    answer = told(check_throttling, FakeHost({FIRMWARE: f"{bits}\n"}))
    assert [status for status, _ in answer] == [status for status, _ in findings]
    assert all(said in message for (_, message), (_, said) in zip(answer, findings, strict=True))


def test_a_host_that_does_not_tell_of_now_says_so() -> None:
    counter = "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    assert told(check_throttling, FakeHost()) == [("ok", "this host does not tell whether now")]
    assert told(check_throttling, FakeHost({counter: "3\n"})) == [
        ("ok", "this host does not tell whether now; since boot: throttled")
    ]


@pytest.mark.parametrize(
    ("bits", "said"), [(0x40, "heat (hardware)"), (0x28, "hardware slowdown, heat"), (0x80, "power brake")]
)
def test_a_gpu_that_protects_itself_is_a_warning(bits: int, said: str) -> None:
    host = FakeHost(GPU, nvml=ok({**A10, "clocks_event_reasons": bits}))
    assert told(check_throttling, host) == [("warning", f"GPU {A10['uuid']} is slowed down now: {said}")]


@pytest.mark.parametrize("bits", [0, 0x1, 0x2, 0x4, 0x5, 0x10, 0x100, "NotSupported", None])
def test_a_power_cap_and_an_idle_gpu_are_no_slowdown(bits: Any) -> None:
    host = FakeHost(GPU, nvml=ok({**A10, "clocks_event_reasons": bits}))
    assert [status for status, _ in told(check_throttling, host)] == ["ok"]
