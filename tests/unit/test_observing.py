"""Observers of attempts: told of a run while it goes on and when it is over, by threads that hold nobody up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent.attempt import Ending, State
from agent.delivery import deliver
from agent.errors import JobFault
from agent.model.cargo import Access, Cargo
from agent.model.records import Outcome
from agent.worker import stage_and_launch

from tests.waiting import wait_until
from tests.worlds import World, world

OBSERVED = Cargo(form="observed")
WAIT_FOR_GO = "echo up; while [ ! -e go ]; do sleep 0.02; done; "


@pytest.fixture(autouse=True)
def _short_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.watching.TICK", 0.02)
    monkeypatch.setattr("agent.observing.TICK", 0.02)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    yield made
    made.runtime.close()


def submit(made: World, script: str, cargo: Cargo = OBSERVED, **keys: Any) -> str:
    sid = made.submit(script, **keys)
    made.cargo[sid] = cargo
    return sid


def test_an_observer_hears_of_start_lines_and_end(made: World) -> None:
    sid = submit(made, "echo one; printf 'two\\r\\nthree'")
    made.run_one()
    told = made.observers.told
    assert told[0] == ("started", f"{sid}.1")
    assert told[-4:] == [("line", "one"), ("line", "two"), ("line", "three"), ("finished", f"{sid}.1", True)]


def test_lines_are_told_while_the_job_runs(made: World) -> None:
    sid = submit(made, WAIT_FOR_GO)
    task = made.start_one()
    wait_until(lambda: ("line", "up") in made.observers.told, what="the first line")
    made.tell(sid, "go")
    task.join()
    assert made.commit(sid).outcome is Outcome.SUCCEEDED


def test_a_job_that_nobody_observes_tells_nobody(made: World) -> None:
    made.submit("echo one")
    made.run_one()
    assert made.observers.told == []


def test_the_wish_of_an_observer_ends_the_job(made: World) -> None:
    sid = submit(made, WAIT_FOR_GO)
    task = made.start_one()
    made.wait_for_log(sid, "up")
    wait_until(lambda: ("line", "up") in made.observers.told, what="the observer at work")
    made.observers.observer.wants = "cancelled"
    made.clock.advance(11.0)
    task.join()
    assert made.commit(sid).outcome is Outcome.CANCELLED


def test_a_wish_before_the_launch_keeps_the_job_from_running(made: World) -> None:
    sid = submit(made, "echo ran")
    made.observers.observer.wants = "cancelled"
    made.run_one()
    assert made.commit(sid).outcome is Outcome.CANCELLED
    assert ("line", "ran") not in made.observers.told


def test_checkpoints_are_told_when_they_are_due(made: World) -> None:
    made.observers.observer.checkpoint_every = 60.0
    sid = submit(made, WAIT_FOR_GO)
    task = made.start_one()
    made.wait_for_log(sid, "up")
    wait_until(lambda: ("line", "up") in made.observers.told, what="the observer at work")
    assert ("checkpoint", f"{sid}.1") not in made.observers.told
    made.clock.advance(61.0)
    wait_until(lambda: ("checkpoint", f"{sid}.1") in made.observers.told, what="the checkpoint")
    made.tell(sid, "go")
    task.join()


def test_an_end_that_could_not_be_told_is_told_again_before_the_job_leaves_the_queue(made: World) -> None:
    sid = submit(made, "echo one")
    made.observers.observer.down = True
    made.run_one()
    assert made.waiting() == [sid]
    assert made.results.committed(sid) is None
    made.observers.observer.down = False
    made.until_over()
    assert made.observers.told.count(("finished", f"{sid}.1", True)) == 1
    assert made.commit(sid).outcome is Outcome.SUCCEEDED


def test_a_failed_run_that_is_tried_again_is_no_final_end(made: World) -> None:
    sid = submit(made, "exit 3", retries=1)
    made.until_over()
    ends = [told for told in made.observers.told if told[0] == "finished"]
    assert ends == [("finished", f"{sid}.1", False), ("finished", f"{sid}.2", True)]


def test_an_observer_with_a_bug_costs_no_job(made: World) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a bug")

    made.observers.observer.started = fail  # type: ignore[method-assign, assignment]
    sid = submit(made, "echo one")
    made.run_one()
    assert made.commit(sid).outcome is Outcome.SUCCEEDED


def test_a_line_without_end_comes_in_pieces(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.observing.LONGEST_LINE", 10)
    submit(made, "printf 0123456789abcdefghijXYZ")
    made.run_one()
    lines = [told[1] for told in made.observers.told if told[0] == "line"]
    assert lines[-3:] == ["0123456789", "abcdefghij", "XYZ"]


def test_what_goes_wrong_while_staging_is_in_the_log(made: World) -> None:
    sid = submit(made, "true", inputs=[{"uri": "mem://in/nothing", "path": "data"}])
    made.run_one()
    assert made.commit(sid).outcome is Outcome.FAILED
    assert b"mem://in/nothing" in made.artifact(sid, "log")
    assert made.observers.told[-1] == ("finished", f"{sid}.1", True)


def test_an_expired_job_is_told_without_a_run(made: World) -> None:
    sid = submit(made, "true", expires="1s")
    made.clock.advance(100.0)
    made.run_one()
    assert made.observers.told == [("not run", sid, "expired")]


def test_a_missing_input_that_may_be_missing_is_an_empty_directory(made: World) -> None:
    sid = submit(
        made,
        "ls data | wc -l",
        Cargo(optional=("data",)),
        inputs=[{"uri": "mem://in/nothing", "path": "data", "unpack": True}],
    )
    made.run_one()
    assert made.artifact(sid, "log").strip() == b"0"


def test_inputs_and_outputs_are_moved_by_the_rights_that_the_job_brings(made: World) -> None:
    rights = Access(access_key="user", secret_key="secret")
    uri = made.stores.put_artifact("private/data", b"content")
    made.context.access.private["mem://in/private/"] = rights  # type: ignore[attr-defined]
    inputs = [{"uri": uri, "path": "data"}]
    denied = made.submit("cat data", inputs=inputs)
    made.run_one()
    assert "access denied" in str(made.commit(denied).reason)
    allowed = submit(made, "cat data", Cargo(access={uri: rights}), inputs=inputs)
    made.run_one()
    assert made.artifact(allowed, "log") == b"content"


def test_rights_never_show_in_texts() -> None:
    assert "secret" not in repr(Access(access_key="user", secret_key="secret"))
    assert "secret" not in repr(Cargo(access={"mem://x": Access(secret_key="secret")}))


def test_an_upload_that_is_refused_for_ever_stays_in_the_results_store(made: World) -> None:
    uri = "mem://out/model.tar"
    made.context.access.private[uri] = Access(access_key="somebody else")  # type: ignore[attr-defined]
    cargo = Cargo(direct={"model": "none"})
    sid = submit(made, "mkdir model; echo x > model/weights", cargo, outputs=[{"path": "model", "uri": uri}])
    made.run_one()
    assert made.artifact_names(sid) == ["log", "outputs/model"]
    with pytest.raises(JobFault):
        made.context.artifacts.open(uri)


def test_an_attempt_that_was_overtaken_is_no_result_where_all_attempts_store_at_one_place(made: World) -> None:
    uri = "mem://out/model.tar"
    cargo = Cargo(direct={"model": "none"})
    sid = submit(made, "mkdir model; echo x > model/weights", cargo, outputs=[{"path": "model", "uri": uri}])
    attempt = stage_and_launch(made.context, made.claimed())
    assert made.runtime.status(attempt.id, 10).exit is not None
    made.overtake(sid, 2)
    assert deliver(made.context, attempt.ended(Ending(Outcome.SUCCEEDED, "because", 0))).state is State.SUPERSEDED
    assert made.results.committed(sid) is None
    assert [record.outcome for record in made.attempts(sid)] == [Outcome.SUPERSEDED, None]
    assert made.waiting() == [sid]
    assert made.leftovers() == []
    with pytest.raises(JobFault):
        made.context.artifacts.open(uri)
