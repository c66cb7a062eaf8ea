"""One job on its way, from the pull to its end, over the fakes."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from agent.model.records import Outcome
from agent.ports import ContainerRun

from tests.faults import Between, fail
from tests.worlds import World, world

WAIT_FOR_GO = "echo up; while [ ! -e go ]; do sleep 0.02; done; "
FOREVER = "echo up; sleep 60"


@pytest.fixture(autouse=True)
def _short_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.watching.TICK", 0.02)


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path)


def tar_of(*members: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [getattr(record, "event", "") for record in caplog.records]


# --- results ---


def test_a_job_that_succeeds_leaves_its_result_and_nothing_else(made: World) -> None:
    sid = made.submit("echo hello; echo made > out", outputs=[{"path": "out"}])
    assert made.run_one() == sid
    commit = made.commit(sid)
    assert (commit.outcome, commit.exit_code, commit.n, commit.host) == (Outcome.SUCCEEDED, 0, 1, "host-a")
    assert made.artifact(sid, "log") == b"hello\n"
    assert made.artifact(sid, "outputs/out") == b"made\n"
    assert made.attempts(sid)[0].outcome is Outcome.SUCCEEDED
    assert made.waiting() == []
    assert made.leftovers() == []


def test_a_job_sees_its_environment_inputs_and_secrets(made: World) -> None:
    uri = made.stores.put_artifact("data", b"the data\n")
    sid = made.submit(
        'cat sub/data; echo "$GREETING $EDGE_JOB $EDGE_ATTEMPT"; cat ../secrets/TOKEN; pwd',
        env={"GREETING": "hi $HOME"},
        inputs=[{"uri": uri, "path": "sub/data", "sha256": hashlib.sha256(b"the data\n").hexdigest()}],
        secrets=["TOKEN"],
    )
    made.run_one()
    lines = made.artifact(sid, "log").decode()
    assert lines == f"the data\nhi $HOME {sid} 1\nvalue of TOKEN{made.directory(sid)}/work\n"
    assert made.leftovers() == [], "the secret is gone with the directory"


def test_secrets_are_readable_by_the_agents_user_alone(made: World) -> None:
    sid = made.submit("ls -l ../secrets/TOKEN; ls -ld ../secrets", secrets=["TOKEN"])
    made.run_one()
    modes = [line.split()[0][:10] for line in made.artifact(sid, "log").decode().splitlines()]
    assert modes == ["-r--------", "drwx------"]


def test_a_job_without_a_command_runs_its_image(made: World) -> None:
    sid = made.submit(command=None)
    made.run_one()
    assert made.artifact(sid, "log") == b"the runscript\n"


def test_an_archive_is_unpacked_where_the_job_wants_it(made: World) -> None:
    uri = made.stores.put_artifact("tree.tar", tar_of(("a/b", b"deep"), ("c", b"flat")))
    sid = made.submit("cat in/a/b in/c; ls", inputs=[{"uri": uri, "path": "in", "unpack": True}])
    made.run_one()
    assert made.artifact(sid, "log") == b"deepflatin\n"


def test_a_job_that_fails_is_committed_with_its_exit_code_and_log(made: World) -> None:
    sid = made.submit("echo why; exit 3")
    made.run_one()
    assert (made.commit(sid).outcome, made.commit(sid).exit_code) == (Outcome.FAILED, 3)
    assert made.commit(sid).reason == "exit code 3"
    assert made.artifact(sid, "log") == b"why\n"
    assert made.waiting() == []
    assert made.leftovers() == []


def test_a_job_that_runs_too_long_is_ended(made: World) -> None:
    sid = made.submit("echo up; sleep 60", timeout=0.2, grace=0.1)
    made.run_one()
    assert made.commit(sid).outcome is Outcome.TIMED_OUT
    assert made.artifact(sid, "log") == b"up\n"


# --- retries ---


@pytest.mark.parametrize(
    ("keys", "attempts"),
    [
        ({}, 1),
        ({"retries": 2}, 3),
        ({"retries": 2, "retry_on": [3]}, 3),
        ({"retries": 2, "retry_on": [4]}, 1),
    ],
)
def test_a_job_that_fails_is_tried_as_often_as_it_says(made: World, keys: dict[str, Any], attempts: int) -> None:
    sid = made.submit("exit 3", **keys)
    made.until_over()
    assert [record.outcome for record in made.attempts(sid)] == [Outcome.FAILED] * attempts
    assert made.commit(sid).n == attempts
    assert made.leftovers() == []


def test_a_retry_that_succeeds_is_the_result(made: World) -> None:
    sid = made.submit('[ "$EDGE_ATTEMPT" = 2 ]', retries=5)
    made.until_over()
    assert (made.commit(sid).outcome, made.commit(sid).n) == (Outcome.SUCCEEDED, 2)


def test_a_failed_job_comes_back_after_a_pause_that_grows(made: World) -> None:
    made.submit("exit 1", retries=9)
    for pause in (7.5, 15.0, 30.0):
        assert made.run_one()
        made.clock.advance(pause - 0.1)
        assert made.run_one() is None
        made.clock.advance(0.2)


# --- faults before the start ---


@pytest.mark.parametrize(
    ("content", "keys", "reason"),
    [
        (None, {}, "no such artifact"),
        (b"x", {"sha256": "0" * 64}, "the job promises"),
        (tar_of(("../out", b"x")), {"unpack": True}, "../out"),
        (b"no archive", {"unpack": True}, "mem://in/data"),
    ],
    ids=["missing", "wrong digest", "unsafe archive", "no archive"],
)
def test_an_input_that_can_never_be_had_is_the_fault_of_the_job(
    made: World, content: bytes | None, keys: dict[str, Any], reason: str
) -> None:
    if content is not None:
        made.stores.put_artifact("data", content)
    sid = made.submit("echo never", inputs=[{"uri": "mem://in/data", "path": "data", **keys}])
    made.run_one()
    assert made.commit(sid).outcome is Outcome.FAILED
    assert reason in (made.commit(sid).reason or "")
    assert reason in made.artifact(sid, "log").decode()
    assert made.waiting() == []
    assert made.leftovers() == []


def test_a_fault_of_the_host_gives_the_job_back_and_uses_no_retry(made: World) -> None:
    sid = made.submit()
    (made.state_dir / "attempts").write_text("a file in the way")
    made.run_one()
    record = made.attempts(sid)[0]
    assert record.outcome is Outcome.SETUP_FAILED
    assert "workspace" in (record.reason or "")
    assert made.waiting() == [sid]
    (made.state_dir / "attempts").unlink()
    made.until_over()
    assert made.commit(sid).outcome is Outcome.SUCCEEDED


def test_an_image_that_is_gone_when_it_starts_is_a_failed_set_up(made: World) -> None:
    sid = made.submit()
    (made.state_dir.parent / "tiny.sif").unlink()
    made.run_one()
    assert made.attempts(sid)[0].outcome is Outcome.SETUP_FAILED
    assert made.waiting() == [sid]
    assert made.leftovers() == []


def test_a_job_that_three_hosts_cannot_set_up_is_buried(made: World) -> None:
    sid = made.submit()
    (made.state_dir.parent / "tiny.sif").unlink()
    for n, host in enumerate(("host-b", "host-c"), 1):
        made.overtake(sid, n, host, outcome=Outcome.SETUP_FAILED)
    made.run_one()
    assert made.buried(sid) is None, "whoever has the message next buries it"
    made.until_over()
    assert "no such image" in (made.buried(sid) or "")
    assert len(made.attempts(sid)) == 3
    assert made.results.committed(sid) is None
    assert made.waiting() == []
    assert made.leftovers() == []


def test_a_store_that_is_down_while_staging_defers_the_job(made: World) -> None:
    uri = made.stores.put_artifact("data", b"x")
    sid = made.submit("cat data", inputs=[{"uri": uri, "path": "data"}], retries=0)
    made.stores.artifacts.down = True
    made.run_one()
    made.stores.artifacts.down = False
    assert made.attempts(sid)[0].outcome is Outcome.DEFERRED
    assert made.waiting() == [sid]
    made.until_over()
    assert made.commit(sid).outcome is Outcome.SUCCEEDED
    assert len(made.attempts(sid)) == 2


def test_what_was_moved_for_a_job_and_who_ended_it_is_in_its_record_and_its_result(made: World) -> None:
    inputs = [{"uri": made.stores.put_artifact("data", b"x" * 1000), "path": "data"}]
    sid = made.submit("printf 12345; head -c 300 data > out", inputs=inputs, outputs=[{"path": "out"}])
    made.run_one()
    used = made.commit(sid).usage
    assert used is not None
    assert (used.bytes_in, used.bytes_out, used.ended_by) == (1000, 305, "itself")
    assert made.attempts(sid)[0].usage == used
    (shown,) = made.context.board.ended()
    assert shown.attempt.usage == used


def test_a_job_that_fails_while_it_is_staged_has_used_what_was_fetched(made: World) -> None:
    data = {"uri": made.stores.put_artifact("data", b"x" * 1000), "path": "data"}
    sid = made.submit(inputs=[data, {"uri": "mem://in/none", "path": "none"}])
    made.run_one()
    used = made.commit(sid).usage
    assert used is not None
    assert (used.bytes_in, used.cpu_s, used.wall_s, used.ended_by) == (1000, None, None, None)
    assert used.bytes_out == len(made.artifact(sid, "log")) > 0


def test_totals_count_every_attempt_that_came_to_its_end(made: World) -> None:
    for script, keys in (("exit 3", {"retries": 1}), ("printf 123", {})):
        made.submit(script, **keys)
    made.until_over()
    totals = made.context.board.totals()
    assert totals.jobs_total == {"failed": 2, "succeeded": 1}
    assert (totals.bytes_in_total, totals.bytes_out_total) == (0, 3)


# --- what others want of it ---


def test_a_job_cancelled_while_staging_never_starts(made: World) -> None:
    sid = made.submit("echo never")

    def fetch(image: Any, cargo: object) -> Any:
        made.cancel(sid)
        made.renew()
        return images.fetch(image)

    images = made.context.images
    made.change(images=Between(images, fetch=fetch))
    made.run_one()
    assert (made.commit(sid).outcome, made.commit(sid).reason) == (Outcome.CANCELLED, "cancelled before it ran")
    assert made.artifact_names(sid) == []
    assert made.waiting() == []
    assert made.leftovers() == []


def test_a_detaching_agent_starts_nothing_more(made: World) -> None:
    sid = made.submit("echo never")
    made.context.detaching.set()
    made.run_one()
    assert made.attempts(sid)[0].outcome is Outcome.STOPPED
    assert made.waiting() == [sid]
    assert made.leftovers() == []


# --- what nobody foresaw ---


@pytest.mark.parametrize("part", ["images", "runtime", "artifacts", "journal"])
def test_an_unforeseen_error_gives_the_job_back_and_the_agent_goes_on(
    made: World, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    method = {"images": "fetch", "runtime": "start", "artifacts": "write", "journal": "put"}[part]
    whole = getattr(made.context, part)
    broken = Between(whole, **{method: fail(ZeroDivisionError("a bug"))})
    made.change_part(part, broken)
    sid = made.submit("echo ran")
    made.run_one()
    assert "internal-error" in events(caplog)
    made.change_part(part, whole)
    made.until_over()
    assert made.commit(sid).outcome is Outcome.SUCCEEDED
    assert made.waiting() == []
    assert made.leftovers() == []


def test_an_unforeseen_error_before_the_claim_gives_the_job_back(made: World) -> None:
    sid = made.submit()
    whole = made.context
    made.change(profile=fail(ZeroDivisionError("a bug")))
    made.run_one()
    assert not made.context.leases.holds(sid)
    assert made.context.board.returning(made.clock.boottime())
    made.context = whole
    assert made.run_one() is None, "it comes back after a pause"
    made.until_over()
    assert made.commit(sid).outcome is Outcome.SUCCEEDED


def test_the_container_is_told_all_that_the_job_says(made: World) -> None:
    seen: list[ContainerRun] = []
    real = made.context.runtime

    def start(run: ContainerRun) -> None:
        seen.append(run)
        real.start(run)

    made.change(runtime=Between(real, start=start))
    requires = {"cpus": 2, "memory": "64MiB"}
    sid = made.submit("true", requires=requires, network="host", timeout=50, grace=3, workdir="w")
    made.run_one()
    (run,) = seen
    assert (run.attempt_id, run.cpus, run.memory) == (f"{sid}.1", 2.0, 64 * 1024**2)
    assert (run.network, run.timeout, run.grace, run.workdir, run.secrets) == ("host", 50, 3, "w", None)
    assert run.home == made.directory(sid) / "work"
    assert made.commit(sid).outcome is Outcome.SUCCEEDED
