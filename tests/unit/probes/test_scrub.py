"""What a recording leaves out, and that the profile stays the same without it."""

from __future__ import annotations

from typing import Any

import pytest
from agent.probes import accelerators, identity
from agent.probes.scrub import (
    HOST_NAME,
    MACHINE_ID,
    restore_path,
    scrub_answer,
    scrub_file,
    scrub_groups,
    scrub_names,
    scrub_text,
)

from tests.unit.probes.fakehost import FakeHost

UUID = "8f3c2a10-1111-2222-3333-0123456789ab"
MAC = "00:1a:2b:3c:4d:5e"


@pytest.mark.parametrize("path", ["/etc/machine-id", "/var/lib/dbus/machine-id"])
@pytest.mark.parametrize("content", ["0123456789abcdef0123456789abcdef\n", "odd"])
def test_every_machine_id_is_the_same_one(path: str, content: str) -> None:
    scrubbed = scrub_file(path, content.encode())
    assert scrubbed == f"{MACHINE_ID}\n".encode()
    assert identity.host_id(FakeHost({path: scrubbed.decode()})) == identity.hashed_id(MACHINE_ID)


@pytest.mark.parametrize("content", [b"", b"uninitialized\n"])
def test_a_machine_id_that_is_none_stays_none(content: bytes) -> None:
    assert scrub_file("/etc/machine-id", content) == content


@pytest.mark.parametrize(
    "path",
    [
        "/proc/device-tree/serial-number",
        "/sys/firmware/devicetree/base/serial-number",
        "/sys/class/dmi/id/product_serial",
        "/sys/class/dmi/id/product_uuid",
        "/sys/class/dmi/id/board_serial",
        "/sys/class/dmi/id/chassis_serial",
        "/sys/class/dmi/id/chassis_asset_tag",
        "/sys/bus/usb/devices/1-1/serial",
        "/sys/class/drm/card0/device/unique_id",
    ],
)
def test_a_file_with_a_serial_number_has_none(path: str) -> None:
    assert scrub_file(path, b"10000000abcdef01") == b"0\n"


@pytest.mark.parametrize(
    ("path", "content", "kept"),
    [
        ("/proc/cpuinfo", "Revision\t: a02082\nSerial\t\t: 00000000f00dcafe\nModel\t: x", "Revision\t: a02082"),
        ("/proc/cpuinfo", "processor 0: version = FF,  identification = F00DCAFE,  machine = 2964", "machine = 2964"),
        ("/proc/version", "Linux version 6.1.0 (f00dcafe@box.lan) (gcc) #1 SMP", "Linux version 6.1.0 ("),
        ("/proc/driver/nvidia/version", "NVRM version: 550.1 Release (f00dcafe@box)", "NVRM version: 550.1"),
        ("/proc/1/environ", "TOKEN=f00dcafe\0container=podman\0A=1", "container=podman\0"),
        ("/proc/1/environ", "TOKEN=f00dcafe\0", "HOME=/\0"),
        ("/proc/self/mountinfo", "1 2 0:3 / /f00dcafe rw - ext4 /dev/x rw\n3 1 0:4 / /c rw - cgroup2 c rw\n", "/c rw"),
        ("/proc/mounts", "/dev/f00dcafe / ext4 rw 0 0\ncgroup2 /c cgroup2 rw 0 0\n", "cgroup2 /c"),
        ("/usr/bin/nvidia-container-cli", "\x7fELF f00dcafe", ""),
        ("/proc/812/cmdline", "train\0--token=f00dcafe", "program"),
        ("/proc/812/cmdline", "python3\0-m\0agent.supervisor\0/f00dcafe", "agent.supervisor"),
        ("/proc/812/stat", "812 (f00dcafe) x) S 77 812 ", "812 (program) S 77 812 "),
        ("/sys/class/kfd/kfd/topology/nodes/1/properties", "simd_count 8\nunique_id 4027509502\n", "simd_count 8"),
        ("/run/.containerenv", 'name="f00dcafe"', ""),
        ("/etc/hostname", "f00dcafe\n", HOST_NAME),
        ("/proc/sys/kernel/hostname", "f00dcafe\n", HOST_NAME),
        ("/var/lib/dpkg/status", "Package: f00dcafe\n\nPackage: nvidia-l4t-core\nVersion: 36.4.0", "Version: 36.4.0"),
    ],
)
def test_what_names_one_machine_goes_and_what_tells_its_kind_stays(path: str, content: str, kept: str) -> None:
    scrubbed = scrub_file(path, content.encode()).decode()
    assert kept in scrubbed
    assert "f00dcafe" not in scrubbed.lower()
    assert "4027509502" not in scrubbed


def test_addresses_and_home_directories_go_wherever_they_stand() -> None:
    text = f"eth0 {MAC} {MAC.upper()}, /home/alice/state /home/bob".encode()
    assert scrub_text(text) == b"eth0 00:00:00:00:00:00 00:00:00:00:00:00, /home/user/state /home/user"


@pytest.mark.parametrize("text", [b"0000:01:00.0", b"00000000:0F:00.0", b"a:b:c", b"nvidia,p3768-0000+p3767-0005\0"])
def test_what_only_looks_like_an_address_stays(text: bytes) -> None:
    assert scrub_text(text) == text


def test_a_uuid_becomes_another_one_the_same_everywhere() -> None:
    (first, second) = scrub_text(f"GPU-{UUID} MIG-GPU-{UUID}/7/0".encode()).decode().split()
    other = first.removeprefix("GPU-")
    assert second == f"MIG-GPU-{other}/7/0"
    assert other != UUID
    assert [len(part) for part in other.split("-")] == [8, 4, 4, 4, 12]
    answer = scrub_answer("nvml", {"devices": [{"uuid": f"GPU-{UUID}", "mig_devices": [{"uuid": f"MIG-{UUID}"}]}]})
    assert answer == {"devices": [{"uuid": f"GPU-{other}", "mig_devices": [{"uuid": f"MIG-{other}"}]}]}


def test_serial_numbers_among_the_answers_of_nvml_go() -> None:
    device: dict[str, Any] = {"serial": "1322", "board_serial_number": 7, "name": "NVIDIA A100", "minor_number": 0}
    assert scrub_answer("nvml", device) == {
        "serial": "0",
        "board_serial_number": "0",
        "name": "NVIDIA A100",
        "minor_number": 0,
    }


@pytest.mark.parametrize(
    ("name", "answer", "scrubbed"),
    [
        ("statvfs", ("/home/alice/state", 2, 1), ("/home/user/state", 2, 1)),
        ("runtime-version", f"link {MAC}", "link 00:00:00:00:00:00"),
        ("limits-test", {"step": "make", "path": "/c/box.slice"}, {"step": "make", "path": f"/c/{HOST_NAME}.slice"}),
        ("elf", b"\x7fELF", b"\x7fELF"),
        ("affinity", (0, 1), (0, 1)),
        ("nvml", None, None),
    ],
)
def test_answers(name: str, answer: Any, scrubbed: Any) -> None:
    assert scrub_answer(name, answer, "box") == scrubbed


def test_the_host_name_goes_from_the_paths_of_groups_and_the_real_ones_are_found_again() -> None:
    path = "/machine.slice/machine-box.scope"
    scrubbed = scrub_groups(f"0::{path}\n".encode(), "box").decode()
    assert scrubbed == f"0::/machine.slice/machine-{HOST_NAME}.scope\n"
    assert restore_path(scrubbed.strip().removeprefix("0::"), "box") == path


@pytest.mark.parametrize("name", ["cgroup2", "rw", "", "oxbox"])
def test_a_host_name_that_is_another_word_there_breaks_nothing(name: str) -> None:
    line = b"25 1 0:23 / /c rw - cgroup2 cgroup2 rw,box\n"
    assert scrub_file("/proc/self/mountinfo", line, name) == line


def test_of_dev_only_nodes_of_accelerators_are_recorded() -> None:
    names = ("apex_0", "box-vg", "fastrpc-adsp", "hailo0", "kfd", "sda")
    kept = scrub_names("/dev", names)
    assert kept == ("apex_0", "fastrpc-adsp", "hailo0", "kfd")
    assert all(accelerators.is_node(f"/dev/{name}") for name in kept)


def test_of_the_device_tree_only_names_that_show_a_hypervisor_are_recorded() -> None:
    names = ("chosen", "fw-cfg@9020000", "hmc-managed?", "ibm,partition-name", "serial-number")
    assert scrub_names("/proc/device-tree", names) == names[1:4]


def test_of_apparmors_profiles_only_those_of_runtimes_are_recorded() -> None:
    assert scrub_names("/etc/apparmor.d", ("acme-vpn", "apptainer", "singularity-ce")) == (
        "apptainer",
        "singularity-ce",
    )
    assert scrub_names("/sys/class", ("drm", "net")) == ("drm", "net")
