"""What the next agent makes of what an earlier one left, wherever that one died."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from agent.admission import admit
from agent.attempt import Attempt, State, from_journal, to_journal
from agent.errors import HostFault, RuntimeUnavailable, StoreUnavailable
from agent.model.records import Outcome
from agent.worker import stage_and_launch

from tests.faults import Between, Crash, Tripwire, fail
from tests.worlds import LEASE, World, bare, world

PUBLISHED = "mem://published/out"


@pytest.fixture(autouse=True)
def _short_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.watching.TICK", 0.05)


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path)


def claim(made: World, script: str = "true", **keys: Any) -> Attempt:
    """Leave the traces of an agent that was killed after it claimed a job."""
    made.submit(script, **keys)
    delivery = made.pull()
    assert delivery is not None
    attempt = admit(made.context, made.queue, delivery)
    assert attempt is not None
    return attempt


def start(made: World, script: str = "true", **keys: Any) -> Attempt:
    """Leave the traces of an agent that was killed while its job ran."""
    return stage_and_launch(made.context, claim(made, script, **keys))


def assert_over_once(made: World, sid: str, outcome: Outcome) -> None:
    assert made.commit(sid).outcome is outcome
    assert made.waiting() == []
    assert made.leftovers() == []


# --- the table ---


def test_a_claimed_attempt_is_given_back_and_runs_again(made: World) -> None:
    attempt = claim(made)
    (found,) = made.restart()
    assert found.end.outcome is Outcome.STOPPED
    assert made.attempts(attempt.sid)[0].outcome is Outcome.STOPPED
    assert made.leftovers() == []
    made.until_over()
    assert_over_once(made, attempt.sid, Outcome.SUCCEEDED)
    assert len(made.attempts(attempt.sid)) == 2


def test_a_started_attempt_that_the_holder_never_saw_is_given_back(made: World) -> None:
    attempt = start(made)
    made.runtime.remove(attempt.id)
    made.restart()
    assert made.attempts(attempt.sid)[0].outcome is Outcome.STOPPED
    made.until_over()
    assert_over_once(made, attempt.sid, Outcome.SUCCEEDED)


def test_a_running_container_is_followed_to_its_end(made: World) -> None:
    attempt = start(made, "while [ ! -e go ]; do sleep 0.02; done; echo once >> out", outputs=[{"path": "out"}])
    (found,) = made.restart(follow_up=False)
    assert found.state is State.STARTED
    assert made.context.ledger.free() == made.share.minus(attempt.reserved)
    assert made.context.leases.lease(attempt.sid) is not None
    made.tell(attempt.sid, "go")
    made.restart()
    assert_over_once(made, attempt.sid, Outcome.SUCCEEDED)
    assert made.artifact(attempt.sid, "outputs/out") == b"once\n"
    assert len(made.attempts(attempt.sid)) == 1


def test_what_was_moved_before_a_restart_still_counts(made: World) -> None:
    inputs = [{"uri": made.stores.put_artifact("data", b"x" * 700), "path": "data"}]
    attempt = start(made, "printf 12345", inputs=inputs)
    made.restart()
    used = made.commit(attempt.sid).usage
    assert used is not None
    assert (used.bytes_in, used.bytes_out) == (700, 5)


def test_a_container_that_ended_meanwhile_is_delivered(made: World) -> None:
    attempt = start(made, "exit 3")
    assert made.runtime.status(attempt.id, 10).exit is not None
    made.restart()
    assert_over_once(made, attempt.sid, Outcome.FAILED)
    assert made.commit(attempt.sid).exit_code == 3


def test_a_container_whose_end_nobody_saw_is_lost_and_given_back(made: World) -> None:
    attempt = start(made, "sleep 60")
    made.runtime.lose(attempt.id)
    made.restart()
    assert made.attempts(attempt.sid)[0].outcome is Outcome.LOST
    assert made.results.committed(attempt.sid) is None
    assert made.waiting() == [attempt.sid]
    assert made.leftovers() == []


def test_a_container_of_another_boot_is_lost(made: World) -> None:
    attempt = start(made, "sleep 60")
    made.restart(rebooted=True)
    record = made.attempts(attempt.sid)[0]
    assert (record.outcome, record.reason) == (Outcome.LOST, "the host was restarted while it ran")
    assert made.leftovers() == []


def test_results_that_waited_in_the_outbox_are_delivered_after_a_reboot(made: World) -> None:
    sid = made.submit("echo x > out", outputs=[{"path": "out"}])
    made.stores.artifacts.down = True
    made.run_one()
    made.stores.artifacts.down = False
    made.restart(rebooted=True)
    assert_over_once(made, sid, Outcome.SUCCEEDED)
    assert made.artifact(sid, "outputs/out") == b"x\n"


def test_results_whose_files_may_have_gone_with_the_power_are_made_again(made: World) -> None:
    """The end of the container is durable before the files that the job wrote."""
    attempt = start(made, "echo x > out", outputs=[{"path": "out"}])
    assert made.runtime.status(attempt.id, 10).exit is not None
    (made.directory(attempt.sid) / "work" / "out").write_bytes(b"")
    made.restart(rebooted=True)
    made.until_over()
    assert made.artifact(attempt.sid, "outputs/out") == b"x\n"
    assert [record.outcome for record in made.attempts(attempt.sid)] == [Outcome.LOST, Outcome.SUCCEEDED]


def killed_after_the_commit(name: str, part: Any) -> Any:
    """Let the agent die when it has committed a result, and neither attempt record nor journal says so."""

    def put(key: str, body: bytes, *, create: bool = False) -> bool:
        if part.get(f"{key.partition('/')[0]}/commit") is not None:
            raise Crash
        return bool(part.put(key, body, create=create))

    return Between(part, put=put) if name == "results" else part


def test_a_result_that_was_committed_just_before_the_power_failed_stays_whole(tmp_path: Path) -> None:
    """What the job made may be gone from this host by then: it is not saved again over what was committed."""
    made = world(tmp_path, wrap=killed_after_the_commit)
    sid = made.submit("echo x > out", outputs=[{"path": "out", "uri": PUBLISHED}])
    with pytest.raises(Crash):
        made.run_one()
    (made.directory(sid) / "work" / "out").write_bytes(b"")
    before = made.commit(sid)
    made.wrap = bare
    made.restart(rebooted=True)
    assert_over_once(made, sid, Outcome.SUCCEEDED)
    assert made.commit(sid) == before
    assert made.artifact(sid, "outputs/out") == b"x\n"
    assert made.stores.read_artifact(PUBLISHED) == b"x\n"
    (record,) = made.attempts(sid)
    assert (record.outcome, record.exit_code, record.artifacts) == (Outcome.SUCCEEDED, 0, before.artifacts)
    assert record.usage == before.usage


def test_a_committed_attempt_is_published_and_settled(tmp_path: Path) -> None:
    made = world(tmp_path, wrap=lambda name, part: Between(part, copy=fail(Crash())) if name == "artifacts" else part)
    sid = made.submit("echo x > out", outputs=[{"path": "out", "uri": PUBLISHED}])
    with pytest.raises(Crash):
        made.run_one()
    assert [from_journal(body).state for body in made.journal.load().values()] == [State.COMMITTED]
    made.wrap = bare
    made.restart()
    assert_over_once(made, sid, Outcome.SUCCEEDED)
    assert made.stores.read_artifact(PUBLISHED) == b"x\n"


def test_files_without_a_journal_entry_are_removed(made: World) -> None:
    orphan = made.context.directory("nobody.1") / "work"
    orphan.mkdir(parents=True)
    assert made.restart() == ()
    assert made.leftovers() == []


def test_an_unreadable_journal_entry_costs_its_attempt_and_no_other(
    made: World, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = start(made, "sleep 60"), start(made, "true")
    made.journal.put(bad.id, b"{not json")
    made.restart()
    assert any(getattr(record, "event", "") == "journal-bad" for record in caplog.records)
    assert made.commit(good.sid).outcome is Outcome.SUCCEEDED
    assert made.leftovers() == []
    made.clock.advance(LEASE + 1)
    assert made.pull() is not None, "the lost attempt's lease has run out, somebody may take the job"


def test_an_attempt_of_a_queue_that_is_not_configured_is_left_alone(made: World) -> None:
    attempt = start(made, "sleep 60")
    made.journal.put(attempt.id, to_journal(msgspec.structs.replace(attempt, queue="elsewhere")))
    try:
        assert made.restart() == ()
        assert made.directory(attempt.sid).exists()
        assert made.runtime.status(attempt.id).phase == "running"
        assert set(made.journal.load()) == {attempt.id}
    finally:
        made.runtime.close()


def test_an_orphan_that_cannot_be_removed_does_not_keep_the_agent_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = world(
        tmp_path,
        wrap=lambda name, part: Between(part, remove=fail(RuntimeUnavailable("no"))) if name == "runtime" else part,
    )
    made.context.directory("nobody.1").mkdir(parents=True)
    attempt = claim(made)
    with caplog.at_level(logging.ERROR):
        assert [found.id for found in made.restart(follow_up=False)] == [attempt.id]
    assert any(getattr(record, "event", "") == "orphan-stays" for record in caplog.records)


# --- whatever goes wrong, wherever ---

Submit = Callable[[World], str]


def succeeding(made: World) -> str:
    return made.submit(
        "echo ran >> out; echo state > ck",
        inputs=[{"uri": made.stores.put_artifact("data", b"in"), "path": "data"}],
        outputs=[{"path": "out", "uri": PUBLISHED}],
        checkpoint={"path": "ck"},
    )


def failing_with_a_retry(made: World) -> str:
    return made.submit("exit 3", retries=1)


def cancelled_before_launch(made: World) -> str:
    sid = made.submit("echo never")
    made.cancel(sid)
    return sid


def undecodable(made: World) -> str:
    return made.submit_raw(b"{}")


WAYS: dict[Submit, Outcome | None] = {
    succeeding: Outcome.SUCCEEDED,
    failing_with_a_retry: Outcome.FAILED,
    cancelled_before_launch: Outcome.CANCELLED,
    undecodable: None,
}


def assert_ended_well(made: World, sid: str, way: Submit, at: str) -> None:
    outcome = WAYS[way]
    if outcome is None:
        assert made.buried(sid) is not None, at
    else:
        assert made.commit(sid).outcome is outcome, at
    assert made.waiting() == [], at
    assert made.leftovers() == [], at
    if way is succeeding:
        assert made.stores.read_artifact(PUBLISHED) == b"ran\n", at
        assert made.artifact(sid, "outputs/out") == b"ran\n", at
    if way is failing_with_a_retry:
        failures = [record for record in made.attempts(sid) if record.outcome is Outcome.FAILED]
        assert len(failures) == 2, f"{at}: the job has one retry, and used it"


def run_with(tmp_path: Path, way: Submit, wire: Tripwire, number: int) -> bool:
    """Run a job of this kind with one call going wrong; say whether the call was reached at all."""
    folder = tmp_path / str(number)
    folder.mkdir()
    made = world(folder, wrap=wire.wrap)
    sid = way(made)
    for _ in range(3):
        try:
            made.until_over()
            break
        except (Crash, OddError):
            restart_through(made)
    assert_ended_well(made, sid, way, f"call {number}: {wire.calls[number - 1 : number]}")
    return wire.tripped


def restart_through(made: World) -> None:
    """Start the next agent; one that the tripwire hits on its way is started again, as a supervisor does."""
    try:
        made.restart()
    except OddError:
        made.restart()


class OddError(Exception):
    """What no port may raise."""


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_agent_killed_at_any_call_leaves_a_job_that_ends_once(tmp_path: Path, way: Submit, after: bool) -> None:
    number = 1
    while run_with(tmp_path, way, Tripwire(Crash, number, after=after), number):
        number += 1
    assert number > 5


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (lambda: StoreUnavailable("no answer"), ("records", "results", "artifacts", "images")),
        (lambda: RuntimeUnavailable("no holder"), ("runtime",)),
        (lambda: HostFault("disk full"), ("journal",)),
        (lambda: OddError("a bug"), ()),
    ],
    ids=["store", "runtime", "journal", "bug"],
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_one_failing_call_anywhere_loses_nothing(
    tmp_path: Path, way: Submit, error: Callable[[], BaseException], parts: tuple[str, ...], after: bool
) -> None:
    number = 1
    while run_with(tmp_path, way, Tripwire(error, number, after=after).only(*parts), number):
        number += 1
    assert number > 1 or way in (undecodable, cancelled_before_launch)
