from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from agent.board import Mode
from agent.context import Queue
from agent.errors import StoreUnavailable
from agent.model.records import Outcome
from agent.ports import Delivery, Lease
from agent.pulling import LONGEST_PAUSE, LOOK_AWAY, REFUSALS_IN_A_ROW, Health, Puller, Workers, pullers

from tests.fakes import FakeDeadLetters, FakeQueue
from tests.waiting import wait_until
from tests.worlds import RANDOM, World, world

WAIT = 0.005
WAIT_FOR_GO = "echo up; while [ ! -e go ]; do sleep 0.02; done"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.pulling.IDLE", 0.02)
    monkeypatch.setattr("agent.watching.TICK", 0.02)


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path)


def puller_of(made: World, count: int = 1) -> tuple[Puller, Workers]:
    workers = Workers(made.context, count)
    return Puller(made.context, made.queue, workers, WAIT), workers


def step(made: World, puller: Puller) -> float:
    """Return the seconds until the puller wants to be called again."""
    return puller.step(made.clock.boottime()) - made.clock.boottime()


def test_a_delivery_is_carried_by_a_worker(made: World) -> None:
    puller, workers = puller_of(made)
    sid = made.submit()
    assert step(made, puller) == 0.0
    workers.join()
    assert made.commit(sid).outcome is Outcome.SUCCEEDED
    assert not workers.busy()


def test_no_more_is_pulled_than_workers_are_free(made: World) -> None:
    puller, workers = puller_of(made, 2)
    sids = [made.submit(WAIT_FOR_GO) for _ in range(3)]
    for _ in range(3):
        step(made, puller)
    for sid in sids[:2]:
        made.wait_for_log(sid, "up")
    assert workers.busy()
    assert made.attempts(sids[2]) == []
    made.tell(sids[0], "go")
    wait_until(lambda: made.results.committed(sids[0]) is not None)

    def third_is_claimed() -> bool:
        step(made, puller)
        return bool(made.attempts(sids[2]))

    wait_until(third_is_claimed)
    made.tell(sids[1], "go")
    made.wait_for_log(sids[2], "up")
    made.tell(sids[2], "go")
    workers.join()
    assert {made.commit(sid).outcome for sid in sids} == {Outcome.SUCCEEDED}


def test_a_pull_that_finds_nothing_frees_its_worker(made: World) -> None:
    puller, workers = puller_of(made)
    for _ in range(3):
        step(made, puller)
    assert workers.free(0)


@pytest.mark.parametrize("name", ["paused", "draining", "faulty", "starting"])
def test_an_agent_that_is_not_ready_pulls_nothing(made: World, name: str) -> None:
    puller, workers = puller_of(made)
    made.context.board.set_mode(Mode(name))  # type: ignore[arg-type]
    sid = made.submit()
    assert step(made, puller) > 0
    assert not workers.busy()
    assert made.attempts(sid) == []


def test_a_job_that_comes_while_the_agent_is_being_paused_is_given_back(made: World) -> None:
    puller, workers = puller_of(made)
    sid = made.submit()
    source = Interrupted(made.queue, lambda: made.context.board.set_mode(Mode("paused")))
    puller = Puller(made.context, replace(made.queue, source=source), workers, WAIT)
    step(made, puller)
    assert not workers.busy()
    assert made.attempts(sid) == []
    assert made.pull() is not None


class Interrupted:
    """A source during whose pull something happens."""

    def __init__(self, queue: Queue, act: Callable[[], None]) -> None:
        self._source, self._act = queue.source, act
        self.extend, self.settle, self.release = queue.source.extend, queue.source.settle, queue.source.release

    def pull(self, timeout: float) -> Delivery | None:
        delivery = self._source.pull(timeout)
        self._act()
        return delivery


def test_a_queue_that_is_down_is_asked_with_growing_pauses_and_told_once(
    made: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    puller, workers = puller_of(made)
    made.stores.records.down = True
    pauses = [step(made, puller) for _ in range(3)]
    assert pauses == [LONGEST_PAUSE] * 3
    assert list(made.context.board.problems()) == ["queue lab"]
    assert workers.free(0), "no worker is kept by it"
    made.stores.records.down = False
    made.submit()
    made.clock.advance(60)
    assert step(made, puller) == 0.0
    workers.join()
    assert made.context.board.problems() == {}
    told = [event for record in caplog.records if (event := getattr(record, "event", "")).startswith("queue-")]
    assert told == ["queue-unavailable", "queue-available"]
    made.stores.records.down = True
    assert step(made, puller) == LONGEST_PAUSE


def test_a_look_that_found_nothing_is_known_until_something_happens(made: World) -> None:
    puller, workers = puller_of(made)
    board = made.context.board
    assert not puller.found_nothing_since(board.events)
    step(made, puller)
    assert puller.found_nothing_since(board.events)
    board.will_return("job-9", 0.0)
    assert not puller.found_nothing_since(board.events)
    step(made, puller)
    assert puller.found_nothing_since(board.events)
    workers.join()


def test_an_attempt_of_an_earlier_agent_needs_no_free_worker(made: World) -> None:
    sid = made.submit(WAIT_FOR_GO)
    task = made.start_one()
    made.wait_for_log(sid, "up")
    made.context.detaching.set()
    task.join(10)
    (found,) = made.restart(follow_up=False)
    _, workers = puller_of(made)
    assert workers.free(0)
    workers.carry_on(found)
    assert workers.busy()
    made.tell(sid, "go")
    workers.join()
    assert made.commit(sid).outcome is Outcome.SUCCEEDED
    assert workers.free(0)


def test_a_worker_that_trips_a_bug_is_free_again(made: World) -> None:
    puller, workers = puller_of(made)
    made.change(profile=_bug)
    puller, workers = puller_of(made)
    made.submit()
    step(made, puller)
    workers.join()
    assert workers.free(0)


def _bug() -> object:
    raise ZeroDivisionError("a bug")


def test_two_queues_share_the_workers(made: World) -> None:
    other = FakeQueue(made.clock, "other")
    parts = Queue("other", other, made.queue.results, FakeDeadLetters(), 0.0)
    made.change(queues={**made.context.queues, "other": parts})
    workers = Workers(made.context, 1)
    other.add("far-1", b'{"api": "edge-agent/v1", "image": "mem://images/tiny.sif"}')
    sid = made.submit()
    for queue in made.context.queues.values():
        step(made, Puller(made.context, queue, workers, WAIT))
        workers.join()
    assert made.commit(sid).outcome is made.commit("far-1").outcome is Outcome.SUCCEEDED
    assert other.sids == ()


def test_a_broken_pull_that_is_no_outage_ends_the_loop_and_frees_the_worker(made: World) -> None:
    workers = Workers(made.context, 1)
    source = Interrupted(made.queue, lambda: None)
    source.pull = _broken  # type: ignore[method-assign]
    puller = Puller(made.context, replace(made.queue, source=source), workers, WAIT)
    with pytest.raises(ZeroDivisionError):
        step(made, puller)
    assert workers.free(0)


def _broken(timeout: float) -> Delivery | None:
    raise ZeroDivisionError("a bug")


def test_an_unforeseen_error_while_a_store_is_down_leaves_no_worker_behind(made: World) -> None:
    """Giving the job back fails, too: its lease has to run out."""
    made.change(profile=_bug)
    source = ReleaseFails(made.queue)
    queue = replace(made.queue, source=source)
    workers = Workers(made.context, 1)
    puller = Puller(made.context, queue, workers, WAIT)
    sid = made.submit()
    step(made, puller)
    workers.join()
    assert source.asked.is_set()
    assert workers.free(0)
    assert not made.context.leases.holds(sid)


class ReleaseFails:
    """A source that takes nothing back."""

    def __init__(self, queue: Queue) -> None:
        self.pull, self.extend, self.settle = queue.source.pull, queue.source.extend, queue.source.settle
        self.asked = threading.Event()

    def release(self, lease: Lease, delay: float) -> None:
        self.asked.set()
        raise StoreUnavailable("no answer")


def lanes_of(made: World, workers: Workers) -> list[Puller]:
    """Two loops over one queue, as two lanes have them."""
    pull = made.queue.source.pull
    return pullers(made.context, replace(made.queue, pulls={"a": pull, "b": pull}), workers, WAIT)


def test_what_arrives_when_the_last_worker_is_taken_goes_back_to_the_queue(made: World) -> None:
    workers = Workers(made.context, 1)
    first, second = made.submit(WAIT_FOR_GO), made.submit()
    delivered = made.queue.source.pull(WAIT)
    assert delivered is not None

    def pull(timeout: float) -> Delivery | None:
        assert workers.take(made.queue, delivered)
        return made.queue.source.pull(timeout)

    (puller,) = pullers(made.context, replace(made.queue, pulls={"a": pull}), workers, WAIT)
    assert step(made, puller) == 0.0
    made.wait_for_log(first, "up")
    assert made.attempts(second) == []
    made.tell(first, "go")
    workers.join()
    made.clock.advance(10)
    step(made, lanes_of(made, workers)[0])
    workers.join()
    assert made.commit(second).outcome is Outcome.SUCCEEDED


def test_a_blocked_pull_occupies_no_worker(made: World) -> None:
    workers = Workers(made.context, 1)
    seen: list[bool] = []

    def pull(timeout: float) -> None:
        seen.append(workers.free(0))

    for puller in pullers(made.context, replace(made.queue, pulls={"a": pull, "b": pull}), workers, WAIT):
        step(made, puller)
    assert seen == [True, True]


def test_a_lane_is_not_asked_while_nothing_that_its_jobs_want_is_free(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.pulling.IDLE", 0.02)
    asked: list[str] = []

    def way(name: str) -> Callable[[float], None]:
        return lambda timeout: asked.append(name)

    ways = {lane: way(lane) for lane in ("amd64-none", "any-nvidia")}
    lanes = pullers(made.context, replace(made.queue, pulls=ways), Workers(made.context, 4), WAIT)
    for puller in lanes:
        step(made, puller)
    assert asked == ["amd64-none"], "this host has no GPU to give"
    made.context.ledger.adopt("a.1", made.context.ledger.share)
    for puller in lanes:
        step(made, puller)
    assert asked == ["amd64-none"], "and no CPU time any more"
    made.context.ledger.release_compute("a.1")
    for puller in lanes:
        step(made, puller)
    assert asked == ["amd64-none", "amd64-none"]


def test_lanes_that_suffer_the_same_outage_say_so_once(made: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    lanes = lanes_of(made, Workers(made.context, 1))
    made.stores.records.down = True
    for puller in lanes * 2:
        step(made, puller)
    assert list(made.context.board.problems()) == ["queue lab"]
    made.stores.records.down = False
    made.clock.advance(60)
    step(made, lanes[0])
    assert made.context.board.problems() != {}, "the other lane has not answered yet"
    step(made, lanes[1])
    assert made.context.board.problems() == {}
    told = [event for record in caplog.records if (event := getattr(record, "event", "")).startswith("queue-")]
    assert told == ["queue-unavailable", "queue-available"]


def test_many_different_troubles_are_shown_by_a_few_and_their_number(made: World) -> None:
    health, board = Health(made.context, "studio"), made.context.board
    for number in range(8):
        health.failed(number, f"trouble {number}")
    health.failed(8, "trouble 1")
    shown = "trouble 0; trouble 1; trouble 2; trouble 3; trouble 4; and 3 more"
    assert board.problems() == {"queue studio": shown}
    for number in range(1, 9):
        health.answered(number)
    assert board.problems() == {"queue studio": "trouble 0"}


def test_a_way_that_is_not_there_any_more_takes_its_trouble_along(
    made: World, caplog: pytest.LogCaptureFixture
) -> None:
    health = Health(made.context, "studio")
    health.failed(1, "trouble")
    caplog.set_level("INFO")
    caplog.clear()
    health.forget(1)
    health.forget(2)
    assert made.context.board.problems() == {}
    assert caplog.records == [], "nothing answers again"


def test_a_lane_looks_away_after_many_refusals_in_a_row(made: World) -> None:
    workers = Workers(made.context, 1)
    (puller,) = pullers(made.context, made.queue, workers, WAIT)
    pauses = []
    for _ in range(REFUSALS_IN_A_ROW + 1):
        made.submit(requires={"memory": "64TiB"})
        made.clock.advance(10)
        pauses.append(step(made, puller))
        workers.join()
    assert pauses[: REFUSALS_IN_A_ROW - 1] == [0.0] * (REFUSALS_IN_A_ROW - 1)
    made.submit(requires={"memory": "64TiB"})
    made.clock.advance(10)
    assert step(made, puller) == pytest.approx(LOOK_AWAY * RANDOM)


def started(made: World, source: FakeQueue) -> list[str]:
    """Take turns between the store queue and another one on one worker until both are empty; the jobs as they ran."""
    parts = Queue("other", source, made.queue.results, FakeDeadLetters(), 0.0)
    made.change(queues={**made.context.queues, "other": parts})
    workers = Workers(made.context, 1)
    loops = [Puller(made.context, queue, workers, WAIT) for queue in made.context.queues.values()]
    ran: list[str] = []

    def note(puller: Puller) -> None:
        made.clock.advance(3)  # what found no worker can be had again
        puller.step(made.clock.boottime())
        workers.join()
        ended = made.context.board.ended()
        ran.extend(live.attempt.sid for live in ended if live.attempt.sid not in ran)

    for _ in range(100):
        if not made.waiting() and not source.sids:
            return ran
        note(loops[0])
        note(loops[0])
        note(loops[1])
    raise AssertionError(f"not over: {made.waiting()}, {source.sids}")


def test_a_busy_queue_does_not_starve_another_even_if_it_is_always_faster(made: World) -> None:
    source = FakeQueue(made.clock, "other")
    for number in range(4):
        source.add(f"far-{number}", b'{"api": "edge-agent/v1", "image": "mem://images/tiny.sif"}')
    near = [made.submit() for _ in range(4)]
    ran = started(made, source)
    assert sorted(ran) == sorted([*near, "far-0", "far-1", "far-2", "far-3"])
    kinds = ["far" if sid.startswith("far") else "near" for sid in ran]
    assert kinds == ["near", "near", "far", "near", "far", "near", "far", "far"]


def test_a_queue_whose_job_found_no_worker_goes_first(made: World) -> None:
    source = FakeQueue(made.clock, "other")
    source.add("far-0", b'{"api": "edge-agent/v1", "image": "mem://images/tiny.sif"}')
    parts = Queue("other", source, made.queue.results, FakeDeadLetters(), 0.0)
    made.change(queues={**made.context.queues, "other": parts})
    workers = Workers(made.context, 1)
    near, far = (Puller(made.context, queue, workers, WAIT) for queue in made.context.queues.values())
    first, second = made.submit(WAIT_FOR_GO), made.submit()
    step(made, near)
    made.wait_for_log(first, "up")
    far.turn(made.clock.boottime(), WAIT)  # a pull that was on its way when the last worker was taken
    made.tell(first, "go")
    workers.join()
    made.clock.advance(3)
    step(made, near)
    assert made.attempts(second) == [], "it waits for its turn"
    step(made, far)
    workers.join()
    assert made.commit("far-0").outcome is Outcome.SUCCEEDED
    assert step(made, near) == 0.0
    workers.join()
    assert made.commit(second).outcome is Outcome.SUCCEEDED
