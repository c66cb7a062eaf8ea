from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from agent.attempt import State
from agent.errors import StoreUnavailable
from agent.model.records import Commit, Outcome
from agent.outbox import LONGEST_PAUSE, LOOK, Limit, Outbox, in_thread
from agent.results import Results

from tests.fakes import FakeRecords
from tests.waiting import wait_until
from tests.worlds import BACK_OFF, RANDOM, World, world


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path)


@pytest.fixture
def outbox(made: World) -> Outbox:
    return Outbox(made.context)


def fill(made: World, *scripts: str) -> list[str]:
    """Let jobs end whose results cannot leave."""
    sids = [made.submit(script) for script in scripts]
    for _ in sids:
        delivery = made.pull()
        assert delivery is not None
        made.stores.artifacts.down = True
        made.guard(delivery.sid, made.task(delivery))
        made.stores.artifacts.down = False
        made.clock.advance(1)
    made.stores.artifacts.down = True
    return sids


def step(made: World, outbox: Outbox) -> float:
    return outbox.step(made.clock.boottime()) - made.clock.boottime()


def test_an_empty_outbox_is_looked_at_now_and_then(made: World, outbox: Outbox) -> None:
    assert 1.0 <= step(made, outbox) <= LOOK


def test_what_waits_is_known_oldest_first(made: World, outbox: Outbox) -> None:
    sids = fill(made, "echo a", "echo b")
    assert [attempt.sid for attempt in outbox.waiting()] == sids


def test_what_waits_leaves_as_soon_as_it_can(made: World, outbox: Outbox) -> None:
    sids = fill(made, "echo a", "exit 3")
    made.stores.artifacts.down = False
    step(made, outbox)
    assert [made.commit(sid).outcome for sid in sids] == [Outcome.SUCCEEDED, Outcome.FAILED]
    assert [made.artifact(sid, "log") for sid in sids] == [b"a\n", b""]
    assert outbox.waiting() == ()
    assert made.leftovers() == []


def test_pauses_grow_while_nothing_can_leave_and_begin_anew_afterwards(made: World, outbox: Outbox) -> None:
    (sid,) = fill(made, "echo a")
    tries = CountedTries(made)
    for failures in (1, 2, 3):
        pause = min(LONGEST_PAUSE, BACK_OFF.delay(failures, RANDOM))
        step(made, outbox)
        assert tries.count == failures
        made.clock.advance(pause - 0.1)
        step(made, outbox)
        assert tries.count == failures, "not before the pause is over"
        made.clock.advance(0.2)
    made.stores.artifacts.down = False
    step(made, outbox)
    assert made.commit(sid).outcome is Outcome.SUCCEEDED
    made.clock.advance(LOOK)
    fill(made, "echo b")
    step(made, outbox)
    made.clock.advance(BACK_OFF.delay(1, RANDOM) + 0.1)
    made.stores.artifacts.down = False
    step(made, outbox)
    assert outbox.waiting() == ()


class CountedTries:
    """Counts how often the artifact store was asked to write."""

    def __init__(self, made: World) -> None:
        self.count = 0
        write = made.stores.artifacts.write

        def counted(uri: str, chunks: object) -> None:
            self.count += 1
            write(uri, chunks)  # type: ignore[arg-type]

        made.stores.artifacts.write = counted  # type: ignore[method-assign]


def test_a_result_that_was_committed_and_not_published_is_published_without_a_redelivery(
    made: World, outbox: Outbox
) -> None:
    published = "mem://published/out"
    sid = made.submit("echo x > out", outputs=[{"path": "out", "uri": published}])
    copy = made.stores.artifacts.copy

    def down(source: str, target: str) -> None:
        raise StoreUnavailable("no copying today")

    made.stores.artifacts.copy = down  # type: ignore[method-assign]
    made.run_one()
    made.stores.artifacts.copy = copy  # type: ignore[method-assign]
    assert [attempt.state for attempt in outbox.waiting()] == [State.COMMITTED]
    assert made.waiting() == [sid]
    step(made, outbox)
    assert made.stores.read_artifact(published) == b"x\n"
    assert made.waiting() == []
    assert made.leftovers() == []


def test_one_result_that_trips_a_bug_keeps_no_other_waiting(made: World, outbox: Outbox) -> None:
    first, second = fill(made, "echo a", "echo b")
    made.stores.artifacts.down = False
    write = made.stores.artifacts.write

    def broken(uri: str, chunks: object) -> None:
        if f"/{first}/" in uri:
            raise ZeroDivisionError("a bug")
        write(uri, chunks)  # type: ignore[arg-type]

    made.stores.artifacts.write = broken  # type: ignore[method-assign]
    step(made, outbox)
    assert made.commit(second).outcome is Outcome.SUCCEEDED
    assert [attempt.sid for attempt in outbox.waiting()] == [first]
    made.stores.artifacts.write = write  # type: ignore[method-assign]
    made.until_over()
    assert made.commit(first).outcome is Outcome.SUCCEEDED


# --- lines ---


def second_queue(made: World, name: str) -> Results:
    """Give the agent another queue, with artifacts in the same store and a results store of its own."""
    records = FakeRecords(made.clock)
    results = Results(records, "mem://others")
    queue = replace(made.queue, name=name, results=results)
    made.change(queues={**made.context.queues, name: queue})
    return results


def move_to(made: World, sid: str, name: str) -> None:
    """Let an attempt be one of another queue, whose results store knows it."""
    live = made.context.board.find(sid)
    assert live is not None
    moved = msgspec.structs.replace(live.attempt, queue=name)
    assert made.context.queues[name].results.claim(made.attempts(sid)[0])
    made.context.board.wait_in_outbox(moved, "moved")


def test_a_queue_that_does_not_answer_holds_up_no_other(made: World) -> None:
    away, answering = fill(made, "echo a", "echo b")
    results = second_queue(made, "other")
    move_to(made, answering, "other")
    made.stores.artifacts.down = False
    blocked, let_go = threading.Event(), threading.Event()
    attempts = made.queue.results.attempts

    def silent(sid: str) -> Any:
        blocked.set()
        assert let_go.wait(20)
        return attempts(sid)

    made.queue.results.attempts = silent  # type: ignore[method-assign]
    outbox = Outbox(made.context, start=in_thread)
    step(made, outbox)
    assert blocked.wait(20)
    wait_until(lambda: results.committed(answering) is not None, what="the result of the queue that answers")
    assert made.results.committed(away) is None
    let_go.set()
    outbox.join()
    assert made.commit(away).outcome is Outcome.SUCCEEDED


def test_a_store_that_is_away_is_asked_for_two_results_however_many_wait(made: World, outbox: Outbox) -> None:
    fill(made, *(f"echo {number}" for number in range(6)))
    tries = CountedTries(made)
    step(made, outbox)
    assert tries.count == 2
    made.clock.advance(LONGEST_PAUSE)
    step(made, outbox)
    assert tries.count == 4


def test_results_leave_oldest_first_once_their_store_is_back(made: World, outbox: Outbox) -> None:
    sids = fill(made, *(f"echo {number}" for number in range(5)))
    for _ in range(3):
        step(made, outbox)
        made.clock.advance(LONGEST_PAUSE)
    made.stores.artifacts.down = False
    step(made, outbox)
    left = [each.attempt.sid for each in made.context.board.ended()]
    assert left == sids
    assert made.leftovers() == []


def test_results_that_cannot_leave_for_reasons_of_their_own_keep_no_other_waiting(made: World, outbox: Outbox) -> None:
    sids = fill(made, *(f"echo {number}" for number in range(6)))
    made.stores.artifacts.down = False
    write = made.stores.artifacts.write

    def picky(uri: str, chunks: Iterable[bytes]) -> None:
        if any(f"/{sid}/" in uri for sid in sids[:4]):
            raise StoreUnavailable("this bucket is away")
        write(uri, chunks)

    made.stores.artifacts.write = picky  # type: ignore[method-assign]
    for _ in range(6):
        step(made, outbox)
        made.clock.advance(LONGEST_PAUSE)
    assert [made.results.committed(sid) is not None for sid in sids] == [False] * 4 + [True] * 2


def test_a_result_that_is_stored_in_vain_is_stored_again_with_growing_pauses(made: World, outbox: Outbox) -> None:
    (sid,) = fill(made, "echo a")
    made.stores.artifacts.down = False
    puts = CountedTries(made)
    update = made.queue.results.commit

    def refused(commit: Commit) -> bool:
        raise StoreUnavailable("its disk is full")

    made.queue.results.commit = refused  # type: ignore[method-assign]
    for _ in range(30):
        step(made, outbox)
        made.clock.advance(LONGEST_PAUSE)
    assert 2 <= puts.count <= 8, "300 s in which a line is tried 30 times"
    made.queue.results.commit = update  # type: ignore[method-assign]
    made.clock.advance(BACK_OFF.most)
    step(made, outbox)
    assert made.commit(sid).outcome is Outcome.SUCCEEDED


def test_a_stop_ends_a_round_after_the_result_that_is_on_its_way(made: World) -> None:
    sids = fill(made, "echo a", "echo b")
    made.stores.artifacts.down = False
    outbox = Outbox(made.context, stopping=lambda: made.results.committed(sids[0]) is not None)
    step(made, outbox)
    assert [attempt.sid for attempt in outbox.waiting()] == sids[1:]


# --- the limit, and what is told ---


def test_no_new_work_is_taken_while_as_many_results_wait_as_may(made: World, caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox(made.context, Limit(results=2))
    fill(made, "echo a")
    step(made, outbox)
    assert made.context.board.mode.takes_work
    made.stores.artifacts.down = False
    fill(made, "echo b")
    for _ in range(5):
        made.clock.advance(LONGEST_PAUSE)
        step(made, outbox)
    assert not made.context.board.mode.takes_work
    assert "outbox.results" in made.context.board.problems()["outbox"]
    assert [record.getMessage() for record in caplog.records].count("outbox is full: no new jobs are taken") == 1
    made.stores.artifacts.down = False
    made.clock.advance(LONGEST_PAUSE)
    step(made, outbox)
    step(made, outbox)
    assert made.context.board.mode.takes_work
    assert made.context.board.problems() == {}


def test_no_new_work_is_taken_while_results_take_as_much_disk_as_they_may(made: World) -> None:
    outbox = Outbox(made.context, Limit(size=64 * 1024))
    fill(made, "echo small")
    step(made, outbox)
    assert made.context.board.mode.takes_work
    made.stores.artifacts.down = False
    fill(made, "head -c 100000 /dev/urandom > out")
    step(made, outbox)
    assert "outbox.limit" in (made.context.board.mode.held or "")
    made.stores.artifacts.down = False
    made.clock.advance(LONGEST_PAUSE)
    step(made, outbox)
    step(made, outbox)
    assert made.context.board.mode.takes_work


def test_what_waits_is_a_problem_of_its_queue_with_the_reason(made: World, outbox: Outbox) -> None:
    fill(made, "echo a", "echo b")
    step(made, outbox)
    told = made.context.board.problems()["results for lab"]
    assert told.startswith("2 cannot leave yet: ")
    assert "store is down" in told
    made.stores.artifacts.down = False
    made.clock.advance(LONGEST_PAUSE)
    step(made, outbox)
    step(made, outbox)
    assert made.context.board.problems() == {}
