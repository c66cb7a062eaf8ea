"""Host: this machine, and a recording of this very machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from agent.adapters.host import LiveHost, RecordedHost, find_runtime
from agent.ports import Host
from agent.probes import probe_host
from agent.probes.host import QUERIES

_FILES = ("proc/meminfo", "proc/cpuinfo", "proc/self/cgroup", "proc/self/mountinfo", "sys/devices/system/cpu/online")
_TYPES = {
    "uname-m": str,
    "uname-r": str,
    "elf": bytes,
    "dpkg-architecture": str,
    "long-bit": int,
    "affinity": tuple,
    "page-size": int,
    "statvfs": tuple,
    "dev-nodes": tuple,
    "nvml": dict,
    "nvpmodel": str,
    "throttled": str,
    "runtime-version": str,
}


def _record(directory: Path) -> RecordedHost:
    for name in _FILES:
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path("/", name).read_bytes())
    commands = directory / "_cmd"
    commands.mkdir()
    system = os.uname()
    line = f"{system.sysname} host {system.release} #1 SMP {system.machine} GNU/Linux\n"
    (commands / "uname-a.txt").write_text(line)
    (commands / "getconf-PAGESIZE.txt").write_text(f"{os.sysconf('SC_PAGE_SIZE')}\n")
    (directory / "bin").mkdir()
    shutil.copyfile("/bin/sh", directory / "bin" / "sh")
    return RecordedHost(directory)


@pytest.fixture(params=["live", "recorded"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    return LiveHost(state_dir=tmp_path) if request.param == "live" else _record(tmp_path)


def test_a_file_is_read_as_it_is(host: Host) -> None:
    assert b"MemTotal:" in (host.read("/proc/meminfo") or b"")


@pytest.mark.parametrize("path", ["/no/such/file", "/proc", "/proc/meminfo/below"])
def test_what_cannot_be_read_is_none(host: Host, path: str) -> None:
    assert host.read(path) is None


def test_a_directory_is_listed_sorted(host: Host) -> None:
    names = host.list("/proc/self")
    assert {"cgroup", "mountinfo"} <= set(names)
    assert list(names) == sorted(names)


@pytest.mark.parametrize("path", ["/no/such/directory", "/proc/meminfo"])
def test_what_cannot_be_listed_is_empty(host: Host, path: str) -> None:
    assert host.list(path) == ()


@pytest.mark.parametrize("name", QUERIES)
def test_an_answer_has_the_documented_type_or_is_none(host: Host, name: str) -> None:
    answer = host.query(name)
    assert answer is None or isinstance(answer, _TYPES[name])


def test_an_undocumented_question_is_an_error(host: Host) -> None:
    with pytest.raises(KeyError, match="no query"):
        host.query("weather")


def test_the_kernel_is_known(host: Host) -> None:
    assert host.query("uname-m") == os.uname().machine
    assert host.query("uname-r") == os.uname().release
    assert host.query("page-size") == os.sysconf("SC_PAGE_SIZE")


def test_both_see_the_same_processor_and_memory(tmp_path: Path) -> None:
    live = probe_host(LiveHost(state_dir=tmp_path))
    recorded = probe_host(_record(tmp_path))
    assert recorded.cpu.arch == live.cpu.arch
    assert recorded.cpu.models == live.cpu.models
    assert recorded.cpu.features == live.cpu.features
    assert recorded.cpu.online == live.cpu.online
    assert recorded.memory.total_bytes == live.memory.total_bytes


@pytest.fixture
def small_root(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    return tmp_path


def test_a_fifo_in_the_place_of_a_file_holds_nothing_up(small_root: Path) -> None:
    assert not LiveHost(small_root, state_dir=small_root).read("/fifo")


def test_a_huge_file_does_not_fill_the_memory(small_root: Path) -> None:
    assert len(LiveHost(small_root, state_dir=small_root).read("/huge") or b"") == 4 * 1024**2


def test_storage_of_a_state_directory_that_is_yet_to_be_made(tmp_path: Path) -> None:
    path, total, free = LiveHost(state_dir=tmp_path / "a" / "b").query("statvfs")
    assert path == str(tmp_path / "a" / "b")
    assert 0 <= free <= total


def _program(path: Path, script: str) -> Path:
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return path


def test_the_runtime_is_asked_again_only_after_it_was_changed(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    program = _program(tmp_path / "apptainer", f"echo called >>{calls}\necho apptainer version 1.2.3\n")
    host = LiveHost(state_dir=tmp_path, runtime=program)
    assert [host.query("runtime-version").strip() for _ in range(3)] == ["apptainer version 1.2.3"] * 3
    assert calls.read_text() == "called\n"
    os.utime(program, (1, 1))
    host.query("runtime-version")
    assert calls.read_text() == "called\n" * 2


def test_a_configured_runtime_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert find_runtime(tmp_path / "apptainer") is None
    assert LiveHost(state_dir=tmp_path, runtime=tmp_path / "apptainer").query("runtime-version") == ""


def test_a_runtime_that_fails_is_a_problem_with_its_words(tmp_path: Path) -> None:
    program = _program(tmp_path / "apptainer", "echo cannot load libseccomp >&2; exit 127\n")
    profile = probe_host(LiveHost(state_dir=tmp_path, runtime=program), host_id="a")
    assert profile.runtime.archs is None
    assert ["cannot load libseccomp" in problem.message for problem in profile.problems] == [True]


@pytest.mark.parametrize(("name", "program"), [("nvpmodel", "nvpmodel -q"), ("throttled", "vcgencmd get_throttled")])
def test_a_tool_of_the_boards_maker_is_asked_where_there_is_one(
    name: str, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool, argument = program.split()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert LiveHost(state_dir=tmp_path).query(name) is None
    _program(tmp_path / tool, f'test "$*" = "{argument}" && echo answer; exit 1\n')
    assert LiveHost(state_dir=tmp_path).query(name) == "answer\n"
