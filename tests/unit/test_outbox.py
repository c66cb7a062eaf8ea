from __future__ import annotations

from pathlib import Path

import pytest
from agent.attempt import State
from agent.errors import StoreUnavailable
from agent.model.records import Outcome
from agent.outbox import LOOK, Outbox

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
        pause = BACK_OFF.delay(failures, RANDOM)
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
