"""What no contract test says of the fakes, above all of the runtime without containers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from agent.errors import ArtifactMismatch, ArtifactMissing
from agent.model.job import Image
from agent.ports import ABSENT, LOST, RUNNING, ContainerRun, Exit, ImageFacts

from tests.fakes import FakeClock, FakeImages, LocalRuntime
from tests.waiting import wait_until


@pytest.fixture
def runtime() -> Iterator[LocalRuntime]:
    runtime = LocalRuntime()
    yield runtime
    runtime.close()


def container(directory: Path, *command: str, timeout: float | None = None, grace: float = 5.0) -> ContainerRun:
    image = directory / "image"
    image.write_text("#!/bin/sh\necho the runscript\n")
    image.chmod(0o755)
    (directory / "work").mkdir(exist_ok=True)
    return ContainerRun(
        attempt_id="a.1",
        directory=directory,
        image=image,
        command=command or None,
        env={"GREETING": "hello", "PATH": os.defpath},
        home=directory,
        workdir="work",
        network="none",
        cpus=1.0,
        memory=1 << 20,
        timeout=timeout,
        grace=grace,
        log=directory / "log",
    )


def exit_of(runtime: LocalRuntime) -> Exit:
    status = runtime.status("a.1", timeout=30)
    assert status.phase == "exited"
    assert status.exit is not None
    return status.exit


def log_has(directory: Path, word: str) -> None:
    wait_until(lambda: (directory / "log").exists() and word in (directory / "log").read_text())


def test_what_was_never_started_is_absent(runtime: LocalRuntime) -> None:
    assert runtime.status("a.1") == ABSENT
    runtime.stop("a.1", "stopped", 0)
    runtime.remove("a.1")


def test_a_command_runs_with_its_environment_directory_and_log(runtime: LocalRuntime, tmp_path: Path) -> None:
    runtime.start(container(tmp_path, "sh", "-c", "echo $GREETING; pwd >&2; exit 7"))
    ended = exit_of(runtime)
    assert (ended.exit_code, ended.signal, ended.why, ended.started) == (7, None, "exited", True)
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert ended.started_at <= ended.ended_at
    assert (tmp_path / "log").read_text() == f"hello\n{tmp_path}/work\n"


def test_without_a_command_the_image_runs(runtime: LocalRuntime, tmp_path: Path) -> None:
    runtime.start(container(tmp_path))
    assert exit_of(runtime).exit_code == 0
    assert (tmp_path / "log").read_text() == "the runscript\n"


def test_starting_twice_runs_once(runtime: LocalRuntime, tmp_path: Path) -> None:
    run = container(tmp_path, "sh", "-c", "echo once")
    runtime.start(run)
    exit_of(runtime)
    runtime.start(run)
    assert exit_of(runtime).exit_code == 0
    assert (tmp_path / "log").read_text() == "once\n"


def test_a_missing_image_is_a_failed_setup_and_a_missing_command_is_not(tmp_path: Path) -> None:
    runtime = LocalRuntime()
    run = container(tmp_path, "no-such-command")
    runtime.start(run)
    ended = exit_of(runtime)
    assert (ended.started, ended.exit_code) == (True, 255)
    runtime.remove("a.1")
    run.image.unlink()
    runtime.start(run)
    ended = exit_of(runtime)
    assert (ended.started, ended.exit_code) == (False, None)
    assert "no such image" in (ended.error or "")


def test_a_stop_is_a_term_and_the_first_reason_stays(runtime: LocalRuntime, tmp_path: Path) -> None:
    runtime.start(container(tmp_path, "sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done"))
    log_has(tmp_path, "up")
    assert runtime.status("a.1") == RUNNING
    runtime.stop("a.1", "cancelled", 30)
    runtime.stop("a.1", "stopped", 30)
    ended = exit_of(runtime)
    assert (ended.why, ended.exit_code) == ("cancelled", 9)


def test_what_ignores_the_term_is_killed_with_all_its_children(runtime: LocalRuntime, tmp_path: Path) -> None:
    runtime.start(container(tmp_path, "sh", "-c", "trap '' TERM; sleep 60 & echo child $!; wait; wait; sleep 60"))
    log_has(tmp_path, "child ")
    child = int((tmp_path / "log").read_text().split()[1])
    runtime.stop("a.1", "stopped", 0.05)
    assert exit_of(runtime).exit_code == 137
    wait_until(lambda: is_gone(child))


def test_the_timeout_ends_a_job_without_anybody_asking(runtime: LocalRuntime, tmp_path: Path) -> None:
    runtime.start(container(tmp_path, "sleep", "60", timeout=0.05))
    ended = exit_of(runtime)
    assert (ended.why, ended.exit_code) == ("timeout", 143)


def test_a_lost_job_has_no_exit_and_no_process(runtime: LocalRuntime, tmp_path: Path) -> None:
    runtime.start(container(tmp_path, "sh", "-c", "echo pid $$; exec sleep 60"))
    log_has(tmp_path, "pid ")
    runtime.lose("a.1")
    assert runtime.status("a.1") == LOST
    assert is_gone(int((tmp_path / "log").read_text().split()[1]))


def test_a_removed_job_is_ended_and_forgotten(runtime: LocalRuntime, tmp_path: Path) -> None:
    runtime.start(container(tmp_path, "sh", "-c", "echo pid $$; exec sleep 60"))
    log_has(tmp_path, "pid ")
    runtime.remove("a.1")
    runtime.remove("a.1")
    assert runtime.status("a.1") == ABSENT
    assert is_gone(int((tmp_path / "log").read_text().split()[1]))


def is_gone(pid: int) -> bool:
    """Say whether the process is over: gone, or a zombie that its new parent has not reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_an_image_is_checked_against_the_digest_that_is_pinned(tmp_path: Path) -> None:
    path = tmp_path / "a.sif"
    path.write_bytes(b"content")
    facts = ImageFacts("amd64", 7)
    images = FakeImages({"file:///a.sif": (facts, path)})
    digest = hashlib.sha256(b"content").hexdigest()
    assert images.facts(Image("file:///a.sif")) == facts
    assert images.facts(Image("file:///b.sif")) is None
    assert images.fetch(Image("file:///a.sif")) == path
    assert images.fetch(Image("file:///a.sif", digest)) == path
    with pytest.raises(ArtifactMismatch):
        images.fetch(Image("file:///a.sif", "0" * 64))
    with pytest.raises(ArtifactMissing):
        images.fetch(Image("file:///b.sif"))


def test_who_waits_for_a_time_is_woken_by_the_advance_that_reaches_it() -> None:
    clock = FakeClock(boottime=10.0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(clock.wait_for, 15.0, 30.0)
        clock.advance(2)
        clock.advance(3)
        assert waiting.result()
    assert not clock.wait_for(16.0, 0)


def test_setting_the_wall_clock_does_not_move_the_time_since_boot() -> None:
    clock = FakeClock()
    before = clock.boottime()
    clock.set(5.0)
    assert (clock.time(), clock.boottime()) == (5.0, before)
