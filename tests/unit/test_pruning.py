"""Retention: only what is over for long, off its queue, goes; whatever is cut is completed by the next time."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent.errors import StoreUnavailable
from agent.model.records import Commit, Outcome
from agent.pruning import Overdue, overdue, remove

from tests.worlds import World, world

DAY = 86400.0


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path)


def found(made: World, older_than: float = 30 * DAY) -> list[str]:
    return [each.sid for each in overdue(made.results, frozenset(made.waiting()), older_than)]


def test_what_is_over_for_longer_is_found_with_its_state_age_and_size(made: World) -> None:
    sid = made.submit("echo text; printf 1234 > out", outputs=[{"path": "out"}])
    made.run_one()
    made.clock.advance(30 * DAY)
    assert list(overdue(made.results, (), 30 * DAY)) == [Overdue(sid, "succeeded", 30 * DAY, 9)]
    assert list(overdue(made.results, (), 30 * DAY + 1)) == []


def test_what_waits_runs_or_is_dead_is_never_found(made: World) -> None:
    waiting, running = made.submit(), made.submit()
    made.overtake(running, 1)
    made.submit_raw(b"no job")
    made.clock.advance(400 * DAY)
    assert found(made) == []
    assert waiting in made.waiting()


def test_a_job_that_its_host_has_not_settled_yet_is_left(made: World) -> None:
    sid = made.submit()
    made.results.commit(Commit(sid, 0, "submitter", "token", Outcome.CANCELLED, 0.0))
    made.clock.advance(40 * DAY)
    assert found(made) == []
    made.stores.records.delete(f"pending/any-none/{sid}")
    assert found(made) == [sid]


def test_a_job_with_a_late_attempt_that_goes_on_is_left(made: World) -> None:
    sid = made.submit()
    made.run_one()
    made.overtake(sid, 2)
    assert found(made, 0.0) == []
    made.clock.advance(DAY)
    assert found(made, 0.0) == [sid]


def test_nothing_is_left_of_a_removed_job_and_all_of_others(made: World) -> None:
    old = made.submit()
    made.run_one()
    made.clock.advance(40 * DAY)
    young = made.submit()
    made.run_one()
    assert found(made) == [old]
    remove(made.results, made.stores.result_records, old)
    assert made.results.sids() == (young,)
    assert made.commit(young).outcome is Outcome.SUCCEEDED
    assert found(made) == []


def test_a_removal_that_was_cut_keeps_the_result_until_all_else_is_gone(made: World) -> None:
    sid = made.submit()
    made.run_one()
    made.clock.advance(40 * DAY)
    records, removed = made.stores.result_records, []

    class Cut:
        def clear(self, prefix: str) -> None:
            removed.append(prefix)
            raise StoreUnavailable("the connection broke")

    with pytest.raises(StoreUnavailable):
        remove(made.results, Cut(), sid)
    assert removed == [f"{sid}/attempts/"]
    assert found(made) == [sid]
    remove(made.results, records, sid)
    assert made.results.sids() == ()
