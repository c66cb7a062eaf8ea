"""A running container: what others want of it, what is saved meanwhile, and how its end is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent.errors import RuntimeUnavailable
from agent.model.records import Outcome
from agent.ports import LOST, RunStatus

from tests.faults import Between
from tests.waiting import wait_until
from tests.worlds import LEASE, World, world

WAIT_FOR_GO = "echo up; while [ ! -e go ]; do sleep 0.02; done; "
FOREVER = "echo up; sleep 60"


@pytest.fixture(autouse=True)
def _short_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.watching.TICK", 0.02)


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path)


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [getattr(record, "event", "") for record in caplog.records]


# --- what others want of it ---


def test_a_job_cancelled_while_it_runs_is_ended_and_its_log_kept(made: World) -> None:
    sid = made.submit(FOREVER, grace=0.1)
    task = made.start_one()
    made.wait_for_log(sid, "up")
    made.cancel(sid)
    made.renew()
    task.join(10)
    assert made.commit(sid).outcome is Outcome.CANCELLED
    assert made.artifact(sid, "log") == b"up\n"
    assert made.leftovers() == []


def test_a_job_that_another_agent_took_over_is_ended_and_not_committed(made: World) -> None:
    sid = made.submit(FOREVER, grace=0.1)
    task = made.start_one()
    made.wait_for_log(sid, "up")
    made.clock.advance(LEASE + 1)
    made.overtake(sid, 2)
    made.renew()
    task.join(10)
    assert [record.outcome for record in made.attempts(sid)] == [Outcome.SUPERSEDED, None]
    assert made.results.committed(sid) is None
    assert made.waiting() == [sid], "it is the other one's to take off"
    assert made.leftovers() == []
    assert made.run_one() is None


def test_a_stopped_agent_gives_its_running_job_back_with_what_it_made(made: World) -> None:
    sid = made.submit(FOREVER, grace=0.1, retries=0)
    task = made.start_one()
    made.wait_for_log(sid, "up")
    made.context.board.ask_stop(f"{sid}.1", "stopped")
    task.join(10)
    (record,) = made.attempts(sid)
    assert record.outcome is Outcome.STOPPED
    assert [artifact.name for artifact in record.artifacts] == ["log"]
    assert made.waiting() == [sid]
    assert made.leftovers() == []


def test_a_detaching_agent_leaves_its_running_job_to_the_next_one(made: World) -> None:
    sid = made.submit(WAIT_FOR_GO + "echo done")
    task = made.start_one()
    made.wait_for_log(sid, "up")
    made.context.detaching.set()
    task.join(10)
    assert made.runtime.status(f"{sid}.1").phase == "running"
    assert made.results.committed(sid) is None
    made.tell(sid, "go")
    made.restart()
    assert made.artifact(sid, "log") == b"up\ndone\n"
    assert made.leftovers() == []


def test_the_store_shows_a_running_job_as_started(made: World) -> None:
    sid = made.submit(WAIT_FOR_GO)
    task = made.start_one()
    made.wait_for_log(sid, "up")
    wait_until(lambda: made.attempts(sid)[0].state == "started")
    assert made.attempts(sid)[0].started_at == made.clock.time()
    made.tell(sid, "go")
    task.join(10)


# --- while it runs ---


def test_a_checkpoint_is_saved_while_the_job_runs_and_restored_in_the_next_attempt(made: World) -> None:
    script = "mkdir -p ck; if [ -e ck/state ]; then cat ck/state; else echo kept > ck/state; echo up; sleep 60; fi"
    sid = made.submit(script, checkpoint={"path": "ck", "every": 60}, grace=0.1)
    task = made.start_one()
    made.wait_for_log(sid, "up")
    wait_until(lambda: made.attempts(sid)[0].state == "started")
    assert made.attempts(sid)[0].checkpoint is None

    def saved() -> bool:
        made.clock.advance(20)
        return made.attempts(sid)[0].checkpoint is not None

    wait_until(saved)
    made.runtime.lose(f"{sid}.1")
    task.join(10)
    assert made.attempts(sid)[0].outcome is Outcome.LOST
    made.until_over()
    assert made.artifact(sid, "log") == b"kept\n"


def test_outputs_with_an_interval_are_saved_while_the_job_runs(made: World) -> None:
    sid = made.submit("echo early > out; " + WAIT_FOR_GO, outputs=[{"path": "out", "every": 30}])
    task = made.start_one()
    made.wait_for_log(sid, "up")
    uri = made.results.artifact_uri(sid, 1, "outputs/out")

    def saved() -> bool:
        made.clock.advance(31)
        return uri in made.stores.artifacts.uris

    wait_until(saved)
    assert made.stores.read_artifact(uri) == b"early\n"
    made.tell(sid, "go")
    task.join(10)


def test_a_checkpoint_that_cannot_be_saved_now_does_not_disturb_the_job(
    made: World, caplog: pytest.LogCaptureFixture
) -> None:
    sid = made.submit("touch ck; " + WAIT_FOR_GO, checkpoint={"path": "ck", "every": 30})
    task = made.start_one()
    made.wait_for_log(sid, "up")
    made.stores.artifacts.down = True

    def failed() -> bool:
        made.clock.advance(31)
        return "save-failed" in events(caplog)

    wait_until(failed)
    made.stores.artifacts.down = False
    made.tell(sid, "go")
    task.join(10)
    assert made.commit(sid).outcome is Outcome.SUCCEEDED


def test_a_holder_that_does_not_answer_for_a_while_costs_no_running_job(
    made: World, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([RuntimeUnavailable("no answer")] * 3)
    real = made.context.runtime

    def status(attempt_id: str, timeout: float = 0.0) -> RunStatus:
        for error in failures:
            raise error
        return real.status(attempt_id, timeout)

    made.change(runtime=Between(real, status=status))
    sid = made.submit("echo ran")
    made.run_one()
    assert made.commit(sid).outcome is Outcome.SUCCEEDED
    assert events(caplog).count("watch-failed") == 3


def test_a_wish_that_the_holder_did_not_hear_is_repeated(made: World, caplog: pytest.LogCaptureFixture) -> None:
    failures = iter([RuntimeUnavailable("no answer")] * 2)
    real = made.context.runtime

    def stop(attempt_id: str, why: str, grace: float) -> None:
        for error in failures:
            raise error
        real.stop(attempt_id, why, grace)

    made.change(runtime=Between(real, stop=stop))
    sid = made.submit(FOREVER, grace=0.1)
    task = made.start_one()
    made.wait_for_log(sid, "up")
    made.cancel(sid)
    made.renew()
    task.join(10)
    assert made.commit(sid).outcome is Outcome.CANCELLED
    assert events(caplog).count("stop-failed") == 2


def test_a_container_whose_end_nobody_saw_is_given_back(made: World) -> None:
    real = made.context.runtime
    made.change(runtime=Between(real, status=lambda *_: LOST))
    sid = made.submit("echo ran")
    made.run_one()
    assert made.attempts(sid)[0].outcome is Outcome.LOST
    assert made.waiting() == [sid]
