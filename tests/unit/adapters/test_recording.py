"""A recording answers what was asked as the host did, says nothing more, and names nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from agent import __version__
from agent.adapters.host import RecordedHost
from agent.adapters.recording import Recording, prepare
from agent.errors import HostFault, InvalidInput
from agent.ports import Host
from agent.probes import probe_host
from agent.probes.scrub import HOST_NAME

from tests.hosts import RECORDED, recorded_hosts
from tests.unit.probes.fakehost import FakeHost

SECRET = re.compile(rb"hunter2|box|f00dcafe|alice|de:ad:be:ef|11112222333344445555666677778888", re.IGNORECASE)
UUID = "f00dcafe-1111-2222-3333-444455556666"
NVML: dict[str, Any] = {
    "init": "ok",
    "driver_version": "550.54.15",
    "cuda_driver_version": 12040,
    "count": 1,
    "devices": [
        {
            "name": "NVIDIA A100",
            "uuid": f"GPU-{UUID}",
            "serial": "f00dcafe",
            "pci_info": "00000000:01:00.0",
            "memory_info": {"total_mib": 40960},
            "mig_mode": [0, 0],
            "processes": [77],
        }
    ],
}
PCI = "/sys/bus/pci/devices/0000:01:00.0"
FILES = {
    "/etc/machine-id": "11112222333344445555666677778888\n",
    "/etc/hostname": "box\n",
    "/proc/sys/kernel/hostname": "box\n",
    "/proc/version": "Linux version 6.1.0 (alice@box) #1 SMP",
    "/proc/1/environ": "container=docker\0PASSWORD=hunter2\0",
    "/proc/77/cmdline": "train\0--password=hunter2",
    "/proc/77/stat": "77 (hunter2) S 1 77",
    "/proc/cpuinfo": "processor\t: 0\nmodel name\t: Cortex\nSerial\t\t: 00000000f00dcafe\n",
    "/proc/meminfo": "MemTotal:       1024 kB\n",
    "/proc/self/cgroup": "0::/lxc/box/init.scope\n",
    "/proc/self/mountinfo": "1 0 0:1 / /home/alice rw - nfs box:/home rw\n2 0 0:2 / /c rw - cgroup2 none rw\n",
    "/c/lxc/box/memory.max": "524288\n",
    "/dev/box-vg/root": "",
    "/proc/device-tree/serial-number": "f00dcafe\0",
    "/proc/driver/nvidia/gpus/0000:01:00.0/information": f"Model: A100\nGPU UUID: GPU-{UUID}\nDevice Minor: 0\n",
    f"{PCI}/vendor": "0x10de\n",
    f"{PCI}/device": "0x20b0\n",
    f"{PCI}/class": "0x030200\n",
    f"{PCI}/serial": "f00dcafe",
}
ANSWERS: dict[str, Any] = {
    "uname_m": "x86_64",
    "nvml": NVML,
    "runtime_version": "apptainer version 1.4.5",
    "statvfs": ("/home/alice/state", 10, 5),
    "dev_nodes": ("/dev/nvidia0",),
    "uid": 1000,
    "fuse": "ENOENT",
    "setuid_starter": False,
    "limits_test": {"step": "make", "path": "/c/lxc/box/edge-agent-1", "error": "Permission denied"},
}


def record(host: Host, folder: Path) -> dict[str, Any]:
    """Record what all probes read; return the profile that they found."""
    recording = Recording(host)
    profile = probe_host(recording)
    recording.save(folder)
    return profile.table()


def everything_in(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "recorded"


@pytest.mark.parametrize("name", recorded_hosts())
def test_a_recording_of_any_host_has_the_same_profile(name: str, folder: Path) -> None:
    profile = record(RecordedHost(RECORDED / name), folder)
    assert probe_host(RecordedHost(folder)).table() == profile


@pytest.mark.parametrize("name", recorded_hosts())
def test_scrubbing_changes_no_fact_of_any_host(name: str, folder: Path) -> None:
    found, scrubbed = probe_host(RecordedHost(RECORDED / name)).table(), record(RecordedHost(RECORDED / name), folder)
    assert _without_ids(scrubbed) == _without_ids(found)


def _without_ids(table: dict[str, Any]) -> str:
    found = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", json.dumps(table))
    return re.sub(r'"id": "[0-9a-f]{12}"', '"id": "ID"', found)


def test_nothing_in_a_recording_names_the_machine_or_its_people(folder: Path) -> None:
    host = FakeHost(FILES, **ANSWERS)
    profile = record(host, folder)
    files = everything_in(folder)
    assert {name: text for name, text in files.items() if SECRET.search(text) or SECRET.search(name.encode())} == {}
    assert SECRET.search(json.dumps(profile).encode()) is None
    assert probe_host(RecordedHost(folder)).table() == profile


def test_facts_that_hang_on_what_is_scrubbed_are_kept(folder: Path) -> None:
    record(FakeHost(FILES, **ANSWERS), folder)
    profile = probe_host(RecordedHost(folder))
    assert profile.host.container == "docker"
    assert profile.memory.effective_bytes == 524288  # of a group that is named after the host
    assert [gpu.reason for gpu in profile.gpus or ()] == ["busy-elsewhere"]
    assert profile.runtime.limits == "best-effort"
    assert [problem.message for problem in profile.problems] == ["there is no /dev/fuse (ENOENT)"]


def test_the_same_uuid_is_the_same_one_in_all_places(folder: Path) -> None:
    (device,) = NVML["devices"]
    divided = {**device, "mig_mode": [1, 1], "mig_devices": [{"uuid": f"MIG-{UUID}"}]}
    record(FakeHost(FILES, **{**ANSWERS, "nvml": {**NVML, "devices": [divided]}}), folder)
    (gpu,) = probe_host(RecordedHost(folder)).gpus or ()
    assert gpu.uuid is not None
    assert gpu.units == (f"MIG-{gpu.uuid.removeprefix('GPU-')}",)
    assert gpu.uuid.encode() in (folder / "proc/driver/nvidia/gpus/0000:01:00.0/information").read_bytes()


def test_a_recording_has_what_was_asked_for_and_nothing_else(folder: Path) -> None:
    recording = Recording(FakeHost({"/a/asked": "1", "/a/other": "2", "/b/other": "3"}, uid=7))
    assert (recording.read("/a/asked"), recording.read("/a/absent"), recording.list("/gone")) == (b"1", None, ())
    assert recording.query("uid") == 7
    assert recording.query("nvml") is None
    assert recording.save(folder) == 2
    assert set(everything_in(folder)) == {"a/asked", "_cmd/uid.txt", "_provenance.json"}


def test_entries_of_directories_come_back_without_their_content(folder: Path) -> None:
    files = {"/d/read": "1", "/d/unread": "2", "/d/below/deep/file": "3", "/d/listed/file": "4"}
    recording = Recording(FakeHost(files))
    recording.read("/d/read")
    recording.read("/d/below")
    recording.read("/d/listed/x/y")
    asked = ("/d", "/d/listed", "/d/listed/file", "/none")
    names = [recording.list(path) for path in asked]
    recording.save(folder)
    host = RecordedHost(folder)
    assert [host.list(path) for path in asked] == names
    assert (host.read("/d/read"), host.read("/d/unread"), host.read("/d/below")) == (b"1", b"", None)
    assert host.read("/d/listed/x/y") is None


def test_a_directory_that_is_listed_after_its_file_was_read_stays_one(folder: Path) -> None:
    recording = Recording(FakeHost({"/s/a/value": "1"}))
    assert recording.read("/s/a/value") == b"1"
    assert recording.list("/s") == ("a",)
    recording.save(folder)
    assert RecordedHost(folder).read("/s/a/value") == b"1"


class Changing(FakeHost):
    """Answers differently each time."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def query(self, name: str) -> Any:
        self._count += 1
        return self._count

    def read(self, path: str) -> bytes | None:
        return b"%d" % self.query(path)

    def list(self, path: str) -> tuple[str, ...]:
        return (str(self.query(path)),)


def test_each_question_has_one_answer() -> None:
    recording = Recording(Changing())
    assert recording.read("/a") == recording.read("/a")
    assert recording.list("/b") == recording.list("/b")
    assert recording.query("uid") == recording.query("uid")


def test_where_each_file_comes_from_is_told(folder: Path) -> None:
    recording = Recording(FakeHost({"/etc/machine-id": "1", "/proc/meminfo": "2", "/d/unread": "3"}, uid=7))
    recording.read("/etc/machine-id")
    recording.read("/proc/meminfo")
    recording.list("/d")
    recording.query("uid")
    recording.save(folder)
    rows = json.loads((folder / "_provenance.json").read_text())
    assert {row["path"]: row["kind"] for row in rows} == {
        "_cmd/uid.txt": "verbatim",
        "d/unread": "reconstructed",
        "etc/machine-id": "scrubbed",
        "proc/meminfo": "verbatim",
    }
    assert all(row["source"].startswith(f"edge-agent {__version__}, ") for row in rows)


def test_a_host_without_a_name_is_recorded_as_well(folder: Path) -> None:
    recording = Recording(FakeHost({"/proc/self/cgroup": f"0::/{HOST_NAME}"}))
    assert recording.read("/proc/self/cgroup") == f"0::/{HOST_NAME}".encode()


def test_a_directory_is_made_and_an_empty_one_is_taken(tmp_path: Path) -> None:
    prepare(tmp_path / "a" / "b")
    prepare(tmp_path / "a" / "b")
    assert list((tmp_path / "a").iterdir()) == [tmp_path / "a" / "b"]


@pytest.mark.parametrize("name", ["full", "full/file", "full/file/below"])
def test_any_other_place_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("precious")
    with pytest.raises(InvalidInput, match=f"--record: {tmp_path / name}.*name a new directory"):
        prepare(tmp_path / name)
    assert everything_in(tmp_path) == {"full/file": b"precious"}


def test_a_recording_that_cannot_be_written_is_a_fault_of_the_host(folder: Path) -> None:
    folder.mkdir()
    (folder / "proc").touch()
    recording = Recording(FakeHost({"/proc/meminfo": "1"}))
    recording.read("/proc/meminfo")
    with pytest.raises(HostFault, match=str(folder / "proc")):
        recording.save(folder)
