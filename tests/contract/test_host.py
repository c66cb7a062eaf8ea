"""Host: this machine, and a recording of this very machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from agent.adapters.host import LiveHost, RecordedHost, find_runtime, runs_aarch32
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
    "denied-nodes": tuple,
    "nvml": dict,
    "nvpmodel": str,
    "throttled": str,
    "runtime-elf": bytes,
    "aarch32": bool,
    "runtime-version": str,
    "uid": int,
    "setuid-starter": bool,
    "fuse": str,
    "unshare": str,
    "limits-test": dict,
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


def _installed(*arguments: str | Path, state_dir: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "agent", "--state-dir", str(state_dir), "probe", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_this_machine_is_recorded_and_replayed_with_an_equal_profile(tmp_path: Path) -> None:
    state_dir, recorded = tmp_path / "state", tmp_path / "recorded"
    first = _installed("--record", recorded, "--json", state_dir=state_dir)
    again = _installed("--root", recorded, "--json", state_dir=state_dir)
    assert (first.returncode, first.stderr, again.returncode, again.stderr) == (0, "", 0, "")
    assert json.loads(first.stdout)["cpu"]["arch"] is not None
    assert json.loads(again.stdout) == json.loads(first.stdout)


def test_a_recording_of_this_machine_does_not_name_it(tmp_path: Path) -> None:
    assert _installed("--record", tmp_path / "recorded", state_dir=tmp_path / "state").returncode == 0
    texts = [path.read_bytes() for path in (tmp_path / "recorded").rglob("*") if path.is_file()]
    assert len(texts) > 10
    for path in (Path("/etc/machine-id"), *Path("/sys/class/dmi/id").glob("*_serial")):
        secret = path.read_bytes().strip() if path.exists() else b""
        assert len(secret) < 4 or not any(secret in text for text in texts)


def test_a_directory_with_something_in_it_is_not_recorded_into(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    done = _installed("--record", tmp_path, state_dir=tmp_path / "state")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--record: {tmp_path} is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_on_a_terminal_it_is_told_where_the_recording_is(tmp_path: Path) -> None:
    reader, terminal = os.openpty()
    recorded = tmp_path / "recorded"
    argv = [sys.executable, "-m", "agent", "--state-dir", str(tmp_path), "probe", "--record", str(recorded), "--json"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=terminal, timeout=60, check=True)
    told = os.read(reader, 4096).decode()
    os.close(terminal)
    os.close(reader)
    assert f"recorded in {recorded}: " in told
    assert json.loads(done.stdout)["schema"]


def test_another_host_cannot_be_recorded(tmp_path: Path) -> None:
    done = _installed("--record", tmp_path / "a", "--root", tmp_path, state_dir=tmp_path / "state")
    assert done.returncode == 2
    assert "give one of them" in done.stderr


def test_trying_limits_leaves_no_group_behind(tmp_path: Path) -> None:
    answer = LiveHost(state_dir=tmp_path).query("limits-test")
    assert answer["step"] in ("done", "tree", "controllers", "make", "kill", "enable", "write")
    groups = _groups_of(tmp_path)
    assert [each for each in groups if each.exists()] == []


def _groups_of(state_dir: Path) -> list[Path]:
    """Where groups of this state directory may be, by their name."""
    name = "edge-agent-" + hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:8]
    return list(Path("/sys/fs/cgroup").glob(f"**/{name}"))


def test_fuse_is_tried(tmp_path: Path) -> None:
    host = LiveHost(tmp_path, state_dir=tmp_path)
    assert host.query("fuse") == "ENOENT"
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "fuse").touch()
    assert host.query("fuse") == ""
    (tmp_path / "dev" / "fuse").unlink()
    (tmp_path / "dev" / "fuse").mkdir()
    assert host.query("fuse") == "EISDIR"


def test_nodes_of_gpus_that_may_not_be_opened_are_told(tmp_path: Path) -> None:
    host = LiveHost(tmp_path, state_dir=tmp_path)
    assert (host.query("dev-nodes"), host.query("denied-nodes")) == ((), ())
    (tmp_path / "dev" / "nvgpu" / "igpu0").mkdir(parents=True)
    for name in ("nvidia0", "nvmap", "nvgpu/igpu0/ctrl", "null"):
        (tmp_path / "dev" / name).touch()
    (tmp_path / "dev" / "nvidia1").symlink_to("gone")
    assert host.query("dev-nodes") == ("/dev/nvgpu/igpu0/ctrl", "/dev/nvidia0", "/dev/nvidia1", "/dev/nvmap")
    assert host.query("denied-nodes") == ("/dev/nvidia1",)


def test_a_setuid_starter_is_one_that_root_owns_with_the_bit_set(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = _program(tmp_path / "bin" / "apptainer", "exit 0\n")
    host = LiveHost(state_dir=tmp_path, runtime=program)
    assert host.query("setuid-starter") is False
    folder = tmp_path / "lib" / "x86_64-linux-gnu" / "apptainer" / "bin"
    folder.mkdir(parents=True)
    starter = _program(folder / "starter-suid", "exit 0\n")
    assert host.query("setuid-starter") is False
    starter.chmod(0o4755)
    assert host.query("setuid-starter") is (os.geteuid() == 0)


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ('test "$*" = "--user --map-root-user true"\n', ""),
        ("echo unshare: not permitted >&2; exit 1\n", "unshare: not permitted"),
        ("exit 3\n", "it ends with status 3"),
    ],
)
def test_user_namespaces_are_tried_with_the_program_for_it(
    script: str, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert LiveHost(state_dir=tmp_path).query("unshare") is None
    _program(tmp_path / "unshare", script)
    assert LiveHost(state_dir=tmp_path).query("unshare") == answer


def test_the_header_of_the_runtimes_program_is_read(tmp_path: Path) -> None:
    program = tmp_path / "apptainer"
    assert LiveHost(state_dir=tmp_path, runtime=program).query("runtime-elf") is None
    shutil.copyfile(sys.executable, program)
    program.chmod(0o755)
    assert LiveHost(state_dir=tmp_path, runtime=program).query("runtime-elf") == program.read_bytes()[:64]


def test_32_bit_programs_of_arm_are_a_question_to_arm64_kernels_only(tmp_path: Path) -> None:
    answer = LiveHost(state_dir=tmp_path).query("aarch32")
    assert (answer is None) == (os.uname().machine != "aarch64")


def test_asking_for_32_bit_programs_leaves_this_process_as_it_is() -> None:
    before = os.uname().machine
    assert isinstance(runs_aarch32("aarch64"), bool)
    assert os.uname().machine == before


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
