"""Holder, waiter and client with real processes: what they promise must hold whoever of them is killed."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from agent.supervisor import cgroups, processes, protocol
from agent.supervisor.client import Absent, HolderClient, HolderRefused, HolderUnavailable, Lost, Running

from tests.supervision import (
    BURN,
    CGROUP_MOUNTS,
    HOGS,
    LONG,
    MIB,
    Supervision,
    children_of,
    copy_of_the_package,
    kill,
    named,
    pss_kib,
    session_of,
    told_cpu_s,
    wrapper,
)
from tests.waiting import wait_until

ROUNDS = 20
IGNORES_TERM = f"trap '' TERM; echo up; while :; do sleep {LONG}; done"


@pytest.fixture
def supervision(tmp_path: Path) -> Iterator[Supervision]:
    supervision = Supervision(tmp_path)
    yield supervision
    supervision.close()


@pytest.fixture
def token() -> str:
    """An argument of sleep that no other process has."""
    return f"{LONG}.{random.randrange(10**9):09d}"


@pytest.fixture
def cgroup() -> Iterator[str | None]:
    """A cgroup of the test's own where this user may make one, else None: the job must end without it too."""
    mount = next((top for top in CGROUP_MOUNTS if (top / "cgroup.procs").exists()), None)
    if mount is None or not os.access(mount, os.W_OK):
        yield None
        return
    path = mount / f"edge-agent-tests-{os.getpid()}" / f"job-{random.randrange(10**9)}"
    path.parent.mkdir()
    yield str(path)
    wait_until(lambda: not path.exists(), 10, f"{path} is removed with its job")
    path.parent.rmdir()


# Results


@pytest.mark.parametrize("code", [0, 1, 42, 127, 137, 255])
def test_exit_status_of_the_job_is_in_the_result(supervision: Supervision, code: int) -> None:
    supervision.shell("a", f"exit {code}")
    result = supervision.ended("a")
    assert (result.exit_code, result.signal, result.why, result.error) == (code, None, "exited", None)
    assert result.started is None
    assert result.started_at <= result.ended_at


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE])
def test_signal_that_ended_the_job_is_in_the_result(supervision: Supervision, number: signal.Signals) -> None:
    supervision.shell("a", f"kill -{number.value} $$")
    result = supervision.ended("a")
    assert (result.exit_code, result.signal) == (None, number)


def test_log_holds_stdout_and_stderr_in_the_order_written(supervision: Supervision) -> None:
    supervision.shell("a", "for i in $(seq 2000); do echo out $i; echo err $i >&2; done; cat")
    result = supervision.ended("a")
    expected = b"".join(b"out %d\nerr %d\n" % (i, i) for i in range(1, 2001))
    assert supervision.log("a") == expected
    assert (result.log_bytes, result.log_truncated) == (len(expected), False)


def test_log_is_cut_at_its_limit_and_the_job_goes_on(supervision: Supervision) -> None:
    supervision.shell("a", "head -c 3000000 /dev/zero; exit 3", log_limit_bytes=1000)
    result = supervision.ended("a")
    assert supervision.log("a") == b"\0" * 1000 + b"\n[log truncated after 1000 bytes]\n"
    assert (result.exit_code, result.log_bytes, result.log_truncated) == (3, 3_000_000, True)


def test_program_that_cannot_run_is_named_in_the_result(supervision: Supervision) -> None:
    supervision.start("a", "/no/such/program")
    result = supervision.ended("a")
    assert (result.exit_code, result.signal) == (None, None)
    assert result.error is not None
    assert "execute /no/such/program: [Errno 2]" in result.error


def test_limits_and_directory_hold_for_the_job(supervision: Supervision, tmp_path: Path) -> None:
    changes = {"rlimits": {"core": 0, "nofile": 123}, "oom_score_adj": 700, "cwd": str(tmp_path)}
    script = "ulimit -c; ulimit -n; cat /proc/self/oom_score_adj; pwd; readlink /proc/self/fd/0"
    supervision.shell("a", script, **changes)
    supervision.ended("a")
    assert supervision.log("a").decode().split() == ["0", "123", "700", str(tmp_path), "/dev/null"]


def test_job_inherits_no_descriptor_and_no_ignored_signal(supervision: Supervision) -> None:
    supervision.start("a", "/bin/ls", "/proc/self/fd")
    supervision.start("b", "/bin/grep", "-E", "Sig(Blk|Ign)", "/proc/self/status")
    assert [supervision.ended(attempt).exit_code for attempt in ("a", "b")] == [0, 0]
    assert supervision.log("a").split() == [b"0", b"1", b"2", b"3"]  # 3 is the directory that ls reads
    _, blocked, _, ignored = supervision.log("b").decode().split()
    # The C library keeps signals 32 and 33 for its threads: no program can ask for them, nor put them right.
    assert (int(blocked, 16), int(ignored, 16) & ~(0b11 << 31)) == (0, 0)


def test_result_waits_for_room_on_the_disk(supervision: Supervision, tmp_path: Path) -> None:
    go = tmp_path / "go"
    supervision.shell("a", f"until [ -e {go} ]; do sleep 0.05; done; exit 5")
    in_the_way = supervision.attempts / "a" / "exit.json" / "x"
    in_the_way.mkdir(parents=True)
    go.touch()
    wait_until(lambda: "cannot write its result" in supervision.holder_log(), 20)
    shutil.rmtree(in_the_way.parent)
    assert supervision.ended("a").exit_code == 5


def test_waiter_of_a_directory_that_somebody_removed_ends_and_says_so(supervision: Supervision, tmp_path: Path) -> None:
    go = tmp_path / "go"
    run = supervision.shell("a", f"until [ -e {go} ]; do sleep 0.05; done")
    shutil.rmtree(supervision.attempts / "a")
    go.touch()
    wait_until(lambda: not processes.alive(run.waiter), 20, "the waiter ends")
    assert "a: it has nowhere to write its result" in supervision.holder_log()


def test_environment_of_the_job_is_complete_and_never_on_disk(supervision: Supervision) -> None:
    secret = "s3cr3t-only-in-memory"
    supervision.shell("a", "env; sleep 0.1", env={"TOKEN": secret, "PATH": os.defpath})
    supervision.ended("a")
    assert {b"TOKEN=" + secret.encode(), b"PATH=" + os.defpath.encode()} <= set(supervision.log("a").split())
    (supervision.attempts / "a" / "log").unlink()
    written = [path for path in supervision.state.rglob("*") if path.is_file()]
    assert written
    assert [path for path in written if secret.encode() in path.read_bytes()] == []


# Stopping


def test_deadline_ends_the_job_although_nobody_watches(supervision: Supervision, token: str) -> None:
    run = supervision.start("a", "/bin/sleep", token, timeout_s=0.3)
    supervision.kill_holder()
    wait_until(lambda: not processes.alive(run.waiter), 20)
    assert (supervision.ended("a").why, named(token)) == ("timeout", [])


def test_term_is_passed_on_and_the_answer_of_the_job_counts(supervision: Supervision) -> None:
    supervision.shell("a", f"trap 'echo saved; exit 9' TERM; echo up; sleep {LONG} & wait")
    supervision.logged("a", b"up")
    supervision.client.stop("a", "cancelled")
    result = supervision.ended("a")
    assert (result.exit_code, result.why) == (9, "cancelled")
    assert b"saved" in supervision.log("a")


def test_job_that_ignores_term_is_killed_after_the_grace(supervision: Supervision) -> None:
    run = supervision.shell("a", IGNORES_TERM)
    supervision.logged("a", b"up")
    supervision.client.stop("a", "lease-lost", grace_s=0.3)
    result = supervision.ended("a")
    assert (result.signal, result.why) == (signal.SIGKILL, "lease-lost")
    assert result.elapsed_s >= 0.3
    assert session_of(run) == []


def test_later_stop_keeps_the_first_reason_and_shortens_the_grace(supervision: Supervision) -> None:
    supervision.shell("a", f"trap 'echo asked' TERM; echo up; while :; do sleep {LONG} & wait; done")
    supervision.logged("a", b"up")
    supervision.client.stop("a", "cancelled", grace_s=3600)
    supervision.logged("a", b"asked")
    supervision.client.stop("a", "shutdown", grace_s=0.1)
    result = supervision.ended("a")
    assert (result.why, result.signal) == ("cancelled", signal.SIGKILL)


def test_sigterm_to_the_waiter_alone_stops_the_job(supervision: Supervision) -> None:
    run = supervision.start("a", "/bin/sleep", LONG)
    processes.send_signal(run.waiter, signal.SIGTERM)
    result = supervision.ended("a")
    assert (result.signal, result.why) == (signal.SIGTERM, "stopped")


@pytest.mark.parametrize("code", [0, 7])
def test_daemon_with_a_session_of_its_own_ends_with_the_job(supervision: Supervision, token: str, code: int) -> None:
    supervision.shell("a", f"setsid sh -c 'sleep {token} & sleep {token}' & exit {code}")
    assert supervision.ended("a").exit_code == code
    assert named(token) == []


def test_job_in_a_cgroup_ends_completely_and_the_cgroup_goes(
    supervision: Supervision, token: str, cgroup: str | None
) -> None:
    below = f"mkdir -p {cgroup}/sub/sub && echo $$ > {cgroup}/sub/sub/cgroup.procs;" if cgroup else ""
    script = f"{below} cat /proc/self/cgroup; setsid setsid sleep {token} & :"
    run = supervision.shell("a", script, cgroup=cgroup)
    assert supervision.ended("a").exit_code == 0
    assert named(token) == []
    assert run.cgroup == cgroup
    assert cgroup is None or cgroup.rpartition("/")[2].encode() in supervision.log("a")


def test_waiter_stays_outside_the_cgroup_of_its_job(supervision: Supervision, cgroup: str | None) -> None:
    run = supervision.start("a", "/bin/sleep", LONG, cgroup=cgroup)
    if cgroup is not None:
        wait_until(lambda: cgroups.pids(cgroup) == [run.container.pid])
    supervision.client.stop("a", "cancelled")
    supervision.ended("a")


@pytest.mark.parametrize("grouped", [False, True])
def test_job_that_takes_too_much_memory_is_killed(supervision: Supervision, cgroup: str | None, grouped: bool) -> None:
    group = {"cgroup": cgroup} if grouped else {}
    hog = "x = bytearray(200 << 20); import signal; signal.pause()"
    supervision.start("a", sys.executable, "-I", "-S", "-c", hog, memory_bytes=100 << 20, **group)
    result = supervision.ended("a")
    assert (result.signal, result.why) == (signal.SIGKILL, "memory")
    assert result.max_rss_bytes > 100 << 20


def test_job_within_its_memory_is_left_alone(supervision: Supervision) -> None:
    supervision.shell("a", "sleep 2.2; exit 4", memory_bytes=100 << 20)
    assert supervision.ended("a").exit_code == 4


# Use


@pytest.mark.parametrize("grouped", [False, True])
def test_cpu_time_is_what_the_job_says_of_itself(supervision: Supervision, cgroup: str | None, grouped: bool) -> None:
    supervision.shell("a", BURN, cgroup=cgroup if grouped else None)
    used, told = supervision.ended("a").usage, told_cpu_s(supervision.log("a"))
    assert told > 0.1
    assert 0.9 * told <= used.user_s + used.system_s <= 1.5 * told + 0.2
    assert used.wall_s > 0.5 * told


@pytest.mark.parametrize("grouped", [False, True])
def test_peak_of_memory_is_that_of_all_processes_together(
    supervision: Supervision, cgroup: str | None, grouped: bool
) -> None:
    supervision.shell("a", HOGS, cgroup=cgroup if grouped else None, memory_bytes=1024 * MIB)
    result = supervision.ended("a")
    assert result.exit_code == 0
    assert result.max_rss_bytes < 90 * MIB  # of the largest one
    assert 110 * MIB < result.usage.peak_memory_bytes < 240 * MIB


# Deaths


def test_job_of_a_killed_waiter_is_ended_and_lost(supervision: Supervision, token: str, cgroup: str | None) -> None:
    run = supervision.shell("a", f"trap '' TERM; setsid sleep {token} & sleep {token}", cgroup=cgroup)
    wait_until(lambda: len(named(token)) >= 2)
    kill(run.waiter)
    wait_until(lambda: not named(token), 10, "the holder ended the job")
    assert isinstance(supervision.client.read_status("a"), Lost)
    if cgroup is not None:
        wait_until(lambda: not Path(cgroup).exists())


def test_waiter_killed_at_any_moment_of_the_start_leaves_nothing(supervision: Supervision, token: str) -> None:
    supervision.client.ensure()
    holder = supervision.holder_pid()
    for number in range(ROUNDS):
        spec = supervision.spec(f"a{number}", "/bin/sh", "-c", f"setsid sleep {token} & sleep {token}")
        starter = Thread(target=_start_or_be_refused, args=(supervision, spec))
        starter.start()
        wait_until(lambda: children_of(holder))
        Event().wait(random.uniform(0, 0.01))
        for child in children_of(holder):
            processes.send_signal(child.identity, signal.SIGKILL)
        starter.join(20)
        wait_until(lambda: not named(token) and not children_of(holder), 10, f"round {number}")
        assert not isinstance(supervision.client.read_status(f"a{number}"), Running)


def _start_or_be_refused(supervision: Supervision, spec: dict[str, Any]) -> None:
    with contextlib.suppress(HolderRefused):
        supervision.client.start(spec)


def test_full_disk_does_not_keep_a_job_from_being_stopped(supervision: Supervision) -> None:
    supervision.start("a", "/bin/sleep", LONG)
    (supervision.attempts / "a" / "stop.json" / "in the way").mkdir(parents=True)
    supervision.client.stop("a", "cancelled")
    assert supervision.ended("a").why == "stopped"


def test_job_outlives_its_holder_and_a_new_one_starts_nothing_twice(supervision: Supervision, tmp_path: Path) -> None:
    go = tmp_path / "go"
    supervision.shell("a", f"until [ -e {go} ]; do sleep 0.05; done; echo once; exit 6")
    supervision.kill_holder()
    spec = supervision.spec("a", "/bin/sh", "-c", "echo twice")
    assert supervision.client.start(spec) is False
    assert supervision.client.list() == ["a"]
    go.touch()
    assert supervision.ended("a").exit_code == 6
    assert supervision.log("a") == b"once\n"
    assert supervision.client.start(spec) is False
    wait_until(lambda: supervision.client.list() == [])


def test_new_holder_ends_the_job_of_a_waiter_killed_before_it_came(supervision: Supervision, token: str) -> None:
    run = supervision.start("a", "/bin/sleep", token)
    wait_until(lambda: named(token))  # the waiter's record is there before its child has become the job
    supervision.kill_holder()
    kill(run.waiter)
    assert named(token)
    supervision.client.ensure()
    wait_until(lambda: not named(token))


def test_new_holder_ends_the_job_of_an_adopted_waiter(supervision: Supervision, token: str) -> None:
    run = supervision.start("a", "/bin/sleep", token)
    wait_until(lambda: named(token))
    supervision.kill_holder()
    supervision.client.ensure()
    kill(run.waiter)
    wait_until(lambda: not named(token))


def test_remove_ends_everything_when_holder_and_waiter_are_killed(
    supervision: Supervision, token: str, cgroup: str | None
) -> None:
    run = supervision.shell("a", f"sleep {token} & sleep {token}", cgroup=cgroup)
    wait_until(lambda: len(named(token)) >= 2)
    supervision.kill_holder()
    kill(run.waiter)
    assert isinstance(supervision.client.read_status("a"), Lost)
    supervision.client.remove("a")
    assert named(token) == []
    supervision.client.remove("a")


def test_remove_ends_a_running_attempt_and_one_with_a_frozen_waiter(
    supervision: Supervision, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervision.start("a", "/bin/sleep", token)
    supervision.client.remove("a")
    assert supervision.ended("a").why == "removed"
    run = supervision.start("b", "/bin/sleep", token)
    processes.send_signal(run.waiter, signal.SIGSTOP)
    monkeypatch.setattr("agent.supervisor.client.CLEAN_STOP_S", 0.2)
    supervision.client.remove("b")
    assert named(token) == []


def test_status_of_another_boot_is_lost(supervision: Supervision) -> None:
    assert isinstance(supervision.client.read_status("a"), Absent)
    run = supervision.start("a", "/bin/sleep", LONG)
    path = supervision.attempts / "a" / "run.json"
    record = path.read_text()
    path.write_text(record.replace(run.boot_id, "0" * 8))
    status = supervision.client.read_status("a")
    path.write_text(record)
    assert isinstance(status, Lost)
    assert status.reason == "the host was restarted"


def test_wait_returns_the_running_status_when_its_time_is_over(supervision: Supervision) -> None:
    supervision.start("a", "/bin/sleep", LONG)
    assert isinstance(supervision.client.wait("a", 0.05), Running)


# The holder


def test_second_holder_leaves_the_first_alone(supervision: Supervision) -> None:
    supervision.client.ensure()
    program = f"import sys; sys.path.insert(0, {str(Path(protocol.__file__).parents[2])!r});"
    program += "from agent.supervisor.holder import main; main()"
    argv = [sys.executable, "-I", "-S", "-c", program, str(supervision.state)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, f"another holder serves {supervision.state}\n")
    assert supervision.ask({"op": "ping"})["ok"]


@pytest.mark.parametrize("way", ["end", "sigterm"])
def test_end_stops_all_jobs_and_then_the_holder(supervision: Supervision, way: str) -> None:
    for attempt in ("a", "b"):
        supervision.start(attempt, "/bin/sleep", LONG)
    holder = processes.identify(supervision.holder_pid())
    if way == "end":
        supervision.client.end("shutdown")
    else:
        processes.send_signal(holder, signal.SIGTERM)
    wait_until(lambda: not processes.alive(holder))
    assert [supervision.ended(attempt).why for attempt in ("a", "b")] == ["shutdown", "shutdown"]


def test_holder_that_is_ending_starts_nothing(supervision: Supervision) -> None:
    supervision.shell("a", IGNORES_TERM, grace_s=2)
    supervision.logged("a", b"up")
    supervision.client.end()
    with pytest.raises(HolderRefused, match="ending"):
        supervision.start("b", "/bin/true")
    assert supervision.ended("a").why == "shutdown"


def test_idle_holder_leaves_when_told_so(tmp_path: Path) -> None:
    supervision = Supervision(tmp_path, idle_exit_s=1)
    run = supervision.shell("a", "sleep 1.5")
    holder = processes.identify(supervision.holder_pid())
    supervision.ended("a")
    assert not processes.alive(run.container)
    wait_until(lambda: not processes.alive(holder), 10, "the holder leaves")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"\xff\xfe\n", "not one line of JSON"),
        (b"[" * 100_000 + b"\n", "not one line of JSON"),
        (b"[]\n", "a list, not an object"),
        (b"{}\n", "op is None; known are start, list, ping, end"),
        (b'{"op": "start"}\n', "spec is null, not an object"),
        (b'{"op": "start", "spec": {"version": 7}}\n', "this holder understands 1"),
        (b"x" * (protocol.LINE_LIMIT_BYTES + 2), "the line is longer than"),
    ],
)
def test_garbage_is_answered_with_what_is_wrong(supervision: Supervision, line: bytes, error: str) -> None:
    supervision.client.ensure()
    answer = supervision.ask_raw(line)
    assert answer["ok"] is False
    assert error in answer["error"]


def test_hanging_clients_block_nobody(supervision: Supervision) -> None:
    supervision.client.ensure()
    hanging = [protocol.connect(str(supervision.state), 5) for _ in range(80)]
    for connection in hanging[-50:]:
        connection.sendall(b'{"op": "pi')
    assert supervision.ask({"op": "ping"})["ok"]
    hanging[-1].sendall(b'ng"}\n{"op": "list"}\n')
    with hanging[-1].makefile("rb") as stream:
        assert [b'"pid"' in stream.readline(), b'"waiters"' in stream.readline()] == [True, True]
    for connection in hanging:
        connection.close()


def test_directory_of_another_attempt_is_refused(supervision: Supervision) -> None:
    spec = supervision.spec("a", "/bin/true")
    with pytest.raises(HolderRefused, match="not the existing directory"):
        supervision.client.start({**spec, "attempt": "b"})


def test_attempt_that_cannot_be_recorded_is_not_started(supervision: Supervision, token: str) -> None:
    spec = supervision.spec("a", "/bin/sleep", token, cgroup="/proc/no-cgroup")
    with pytest.raises(HolderRefused, match=r"cannot start a: .*no-cgroup"):
        supervision.client.start(spec)
    assert isinstance(supervision.client.read_status("a"), Absent)
    assert supervision.client.start({**spec, "cgroup": None})


def test_attempt_without_room_for_its_record_is_not_started(supervision: Supervision, token: str) -> None:
    spec = supervision.spec("a", "/bin/sleep", token, marker=True)
    in_the_way = supervision.attempts / "a" / "log"
    in_the_way.mkdir()
    for _ in range(ROUNDS):  # the child is forked by then, and must not keep the attempt's lock
        with pytest.raises(HolderRefused, match=r"cannot start a: .*/log"):
            supervision.client.start(spec)
    assert (named(token), supervision.holder_log()) == ([], "")
    in_the_way.rmdir()
    assert supervision.client.start(spec)


def test_long_state_path_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["a-directory-with-a-long-name" * 3] * 3)
    folder.mkdir(parents=True)
    supervision = Supervision(folder)
    supervision.shell("a", "exit 8")
    assert supervision.ended("a").exit_code == 8
    assert (supervision.state / "holder.sock").stat().st_mode & 0o777 == 0o600
    supervision.close()


def test_holder_that_cannot_start_says_why(tmp_path: Path) -> None:
    broken = wrapper(tmp_path / "python", "sh -c 'echo broken >&2; exit 5'")
    supervision = Supervision(tmp_path, python=broken)
    with pytest.raises(HolderUnavailable, match=r"status 5; its last words: broken"):
        supervision.client.ensure()


def test_holder_that_hangs_at_its_start_is_ended_and_the_next_try_is_free(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    hangs = wrapper(tmp_path / "python", f"{sys.executable} <{pipe}")  # nobody ever writes to it
    supervision = Supervision(tmp_path, python=hangs, start_timeout_s=0.2)
    with pytest.raises(HolderUnavailable, match=r"the holder was not there after 0\.2 s"):
        supervision.client.ensure()
    assert named(hangs) == [], "nobody is left who waits"
    supervision.client = HolderClient(supervision.state)
    supervision.shell("a", "exit 4")
    assert supervision.ended("a").exit_code == 4
    supervision.close()


def test_holder_imports_nothing_after_its_start(tmp_path: Path) -> None:
    root = copy_of_the_package(tmp_path / "release")
    python = wrapper(tmp_path / "python", sys.executable, "-X", "importtime")
    supervision = Supervision(tmp_path, python=python, root=str(root))
    supervision.client.ensure()
    at_start = supervision.holder_log()
    shutil.rmtree(root)
    supervision.shell("a", f"setsid sleep {LONG} & exit 3", marker=True, memory_bytes=1 << 30, timeout_s=60)
    run = supervision.start("b", "/bin/sleep", LONG)
    kill(run.waiter)
    supervision.start("c", "/no/such/program")
    supervision.ask_raw(b"garbage\n")
    assert supervision.ended("a").exit_code == 3
    assert supervision.ended("c").error
    supervision.close()
    assert supervision.holder_log() == at_start


def test_idle_holder_and_waiter_do_not_wake_up(supervision: Supervision) -> None:
    run = supervision.start("a", "/bin/sleep", LONG, timeout_s=3600)
    pids = (supervision.holder_pid(), run.waiter.pid)
    assert any(_quiet(supervision, pids) for _ in range(5))  # the first window may still see the start


def _quiet(supervision: Supervision, pids: tuple[int, ...]) -> bool:
    """No process woke up for longer than any polling may pause."""
    before = [_switches(pid) for pid in pids]
    assert isinstance(supervision.client.wait("a", 1.5), Running)
    return [_switches(pid) for pid in pids] == before


def _switches(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line for line in lines if line.startswith("voluntary_ctxt_switches"))


def test_memory_of_the_holder_is_measured(supervision: Supervision, capsys: pytest.CaptureFixture[str]) -> None:
    run = supervision.start("a", "/bin/sleep", LONG)
    holder, waiter = pss_kib(supervision.holder_pid()), pss_kib(run.waiter.pid)
    with capsys.disabled():
        print(f"\nholder PSS {holder} KiB, waiter PSS {waiter} KiB")
    assert 0 < waiter < 64 << 10


def test_unfinished_connection_is_closed_by_its_client_only(supervision: Supervision) -> None:
    supervision.client.ensure()
    connection = protocol.connect(str(supervision.state), 5)
    connection.sendall(b'{"op": "ping"}\n')
    connection.shutdown(socket.SHUT_WR)
    with connection, connection.makefile("rb") as stream:
        assert b'"ok":true' in stream.readline()
