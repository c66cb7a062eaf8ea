"""Queues of a project that come and go while the agent runs, over fake queues and a list that the test writes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from agent.admission import admit
from agent.board import Mode
from agent.context import Queue, Queues
from agent.discovery import LOOK_EVERY, Discovery, Project
from agent.errors import StoreUnavailable, Unavailable
from agent.model.records import Outcome
from agent.ports import Delivery
from agent.pubsub_choice import Found, Rules
from agent.pubsub_plan import subscription_path, topic_path
from agent.pulling import SURPLUS_DELAY, TURN_LOOPS, Turns, Workers
from agent.recovery import recover
from agent.worker import follow, stage_and_launch

from tests.fakes import FakeClock, FakeDeadLetters, FakeQueue
from tests.waiting import wait_until
from tests.worlds import IMAGE, World, world

JOB = b'{"api": "edge-agent/v1", "image": "%b", "command": ["true"]}' % IMAGE.encode()
WAIT = 0.005
WAIT_FOR_GO = "echo up; while [ ! -e go ]; do sleep 0.02; done"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.pulling.IDLE", 0.0)
    monkeypatch.setattr("agent.watching.TICK", 0.02)


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path)


@dataclass
class Clients:
    """Those who put jobs on one queue."""

    left: bool = False

    def gone(self) -> bool:
        return self.left

    def listening(self) -> bool:
        return False

    def tell(self, reports: object) -> None:
        raise AssertionError("nobody listens")


class WatchedQueue(FakeQueue):
    """Notes for how many seconds each pull may block; `before` is called at its begin."""

    def __init__(self, clock: FakeClock, name: str) -> None:
        super().__init__(clock, name)
        self.asked: list[float] = []
        self.before: Callable[[], object] = lambda: None

    def pull(self, timeout: float) -> Delivery | None:
        self.asked.append(timeout)
        self.before()
        return super().pull(timeout)


@dataclass
class Cloud:
    """A project on a server. What is in `queues` is there; while `down` is set, the list cannot be read."""

    made: World
    queues: dict[str, WatchedQueue] = field(default_factory=dict)
    clients: dict[str, Clients] = field(default_factory=dict)
    down: bool = False
    looks: int = 0

    def create(self, name: str, *jobs: str) -> WatchedQueue:
        self.queues[name] = WatchedQueue(self.made.clock, f"studio:{name}")
        self.clients[name] = Clients()
        for sid in jobs:
            self.queues[name].add(sid, JOB)
        return self.queues[name]

    def delete(self, name: str) -> None:
        self.queues.pop(name).down = True
        self.clients[name].left = True

    def look(self) -> list[Found]:
        self.looks += 1
        if self.down:
            raise StoreUnavailable("the list may not be read; grant roles/pubsub.viewer")
        return [Found(subscription_path("p", name), topic_path("p", name)) for name in self.queues]

    def make(self, name: str) -> Queue:
        source = self.queues.get(name) or FakeQueue(self.made.clock, f"studio:{name}")
        results = self.made.queue.results
        return Queue(f"studio:{name}", source, results, FakeDeadLetters(), 120.0, senders=self.clients.get(name))


class Served:
    """A discovery over a cloud, its line of queues and its workers."""

    def __init__(self, made: World) -> None:
        self.made = made
        self.cloud = Cloud(made)
        self.use(1)

    def use(self, workers: int, wait: float = WAIT) -> None:
        """Make everything anew, as the next agent does."""
        context = replace(self.made.context, queues=Queues({"lab": self.made.queue}, {"studio": self.cloud.make}))
        self.made.context = context
        self.workers = Workers(context, workers)
        self.turns = Turns(context, self.workers)
        project = Project("studio", Rules(), self.cloud.look, self.cloud.make, wait)
        self.discovery = Discovery(context, project, self.workers, self.turns)

    def look(self) -> float:
        """Look at the list; return the seconds until the next look is due."""
        return self.discovery.step(self.made.clock.boottime()) - self.made.clock.boottime()

    def turn(self, count: int = 1) -> None:
        """Let one loop take turns, and the jobs end that they find."""
        for _ in range(count):
            self.turns.step(self.made.clock.boottime())
            self.workers.join()

    def loop(self) -> threading.Thread:
        """Let a loop take one turn by itself."""
        loop = threading.Thread(target=self.turns.step, args=(self.made.clock.boottime(),), daemon=True)
        loop.start()
        return loop

    def committed(self) -> set[str]:
        """Return the jobs that have a result."""
        return {sid for sid in self.made.results.sids() if self.made.results.committed(sid)}

    def problems(self) -> dict[str, str]:
        return self.made.context.board.problems()


@pytest.fixture
def served(made: World) -> Served:
    return Served(made)


def test_queues_are_served_from_the_look_on_that_finds_them(made: World, served: Served) -> None:
    served.cloud.create("one", "job-1")
    served.turn()
    assert made.results.committed("job-1") is None
    assert served.look() == LOOK_EVERY
    served.turn()
    assert made.commit("job-1").outcome is Outcome.SUCCEEDED
    assert made.attempts("job-1")[0].host == made.host
    served.cloud.create("two", "job-2")
    served.look()
    served.turn(2)
    assert made.commit("job-2").outcome is Outcome.SUCCEEDED
    assert served.discovery.served() == ("one", "two")


def test_a_queue_that_is_gone_from_the_list_is_pulled_no_more(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    queue = served.cloud.create("one")
    served.look()
    del served.cloud.queues["one"]
    served.look()
    queue.add("job-1", JOB)
    served.turn(2)
    assert queue.sids == ("job-1",)
    told = [(getattr(each, "event", ""), getattr(each, "queue", "")) for each in caplog.records]
    assert told == [("queue-found", "studio:one"), ("queue-gone", "studio:one")]
    served.cloud.queues["one"] = queue
    served.look()
    served.turn()
    assert not queue.sids


def test_a_pull_that_finds_its_queue_deleted_ends_with_it_and_is_no_trouble(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    served.cloud.create("one")
    served.look()
    served.cloud.delete("one")
    served.turn()
    assert not served.discovery.served()
    assert served.problems() == {}
    assert caplog.records == []


def test_a_queue_that_is_there_and_does_not_answer_is_told_under_the_name_of_its_project(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "agent.pulling")
    for name in ("one", "two"):
        served.cloud.create(name).down = True
    served.look()
    served.turn(2)
    assert served.problems() == {"queue studio": "memory: the queue is down; set down = False"}
    for name in ("one", "two"):
        served.cloud.queues[name].down = False
    served.made.clock.advance(60)
    served.turn(2)
    assert served.problems() == {}
    assert [getattr(each, "event", "") for each in caplog.records] == ["queue-unavailable", "queue-available"]


def test_trouble_of_a_queue_ends_when_it_leaves_the_list(served: Served) -> None:
    served.cloud.create("one").down = True
    served.look()
    served.turn()
    assert served.problems() != {}
    del served.cloud.queues["one"]
    served.look()
    assert served.problems() == {}


def test_a_list_that_cannot_be_read_is_told_and_what_is_served_goes_on(made: World, served: Served) -> None:
    queue = served.cloud.create("one")
    served.look()
    served.cloud.down = True
    pauses = [served.look() for _ in range(8)]
    assert 0 < pauses[0] < pauses[1] < pauses[2] <= pauses[-1] == LOOK_EVERY
    assert served.problems() == {"queue studio": "the list may not be read; grant roles/pubsub.viewer"}
    queue.add("job-1", JOB)
    served.turn()
    assert made.commit("job-1").outcome is Outcome.SUCCEEDED
    served.cloud.down = False
    assert served.look() == LOOK_EVERY
    assert served.problems() == {}


def test_queues_beyond_the_bound_are_a_problem_until_there_are_fewer(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.pubsub_choice.choose.__defaults__", (2,))
    for name in ("one", "two", "three"):
        served.cloud.create(name)
    served.look()
    assert len(served.discovery.served()) == 2
    assert "1 more queues match" in served.problems()["queues of studio"]
    served.cloud.delete("one")
    served.look()
    assert served.discovery.served() == ("three", "two")
    assert served.problems() == {}


# --- fair turns -------------------------------------------------------------------------------------------------------


def test_a_single_job_is_not_kept_waiting_by_the_backlogs_of_others(made: World, served: Served) -> None:
    for name in ("a-backlog", "b-backlog"):
        served.cloud.create(name, *(f"{name}-{number}" for number in range(10)))
    served.cloud.create("c-single", "the-one")
    served.look()
    served.turn(3)
    assert made.commit("the-one").outcome is Outcome.SUCCEEDED
    assert [len(served.cloud.queues[name].sids) for name in ("a-backlog", "b-backlog")] == [9, 9]
    served.turn(8)
    left = [len(served.cloud.queues[name].sids) for name in ("a-backlog", "b-backlog")]
    assert left == [6, 6], "each third turn goes to the queue that is empty now"


def test_what_loops_that_pull_at_once_give_back_is_first_in_line_when_it_can_be_had_again(
    made: World, served: Served
) -> None:
    """Three queues give a job at once, and one worker is free."""
    for name in ("a", "b", "c"):
        served.cloud.create(name, *(f"{name}{number}" for number in range(1 if name == "c" else 10)))
    together = threading.Barrier(3)
    for queue in served.cloud.queues.values():
        queue.before = lambda: together.wait(10)
    served.look()
    loops = [served.loop() for _ in range(3)]
    for loop in loops:
        loop.join(10)
    served.workers.join()
    assert len(served.committed()) == 1
    for queue in served.cloud.queues.values():
        queue.before = lambda: None
    made.clock.advance(2 * SURPLUS_DELAY)
    served.turn(2)
    assert served.committed() == {"a0", "b0", "c0"}, "whoever came first has to wait for the two others"


def test_of_queues_that_have_just_given_a_job_no_more_are_asked_than_workers_are_free(served: Served) -> None:
    for name in ("a", "b", "c"):
        served.cloud.create(name, *(f"{name}{number}" for number in range(5)))
    served.look()
    served.turn(3)
    go_on = threading.Event()
    for queue in served.cloud.queues.values():
        queue.before = lambda: go_on.wait(10)
    loops = [served.loop() for _ in range(TURN_LOOPS)]
    wait_until(lambda: sum(loop.is_alive() for loop in loops) == 1, what="all loops but one find nothing to ask")
    assert [len(queue.asked) for queue in served.cloud.queues.values()] == [2, 1, 1]
    go_on.set()
    for loop in loops:
        loop.join(10)
    served.workers.join()


def test_a_queue_that_leaves_while_it_is_asked_does_not_come_back(served: Served) -> None:
    queue, go_on = served.cloud.create("one"), threading.Event()
    queue.before = lambda: go_on.wait(10)
    served.look()
    loop = served.loop()
    wait_until(lambda: len(queue.asked) == 1)
    del served.cloud.queues["one"]
    served.look()
    go_on.set()
    loop.join(10)
    served.turn()
    assert len(queue.asked) == 1


@pytest.mark.parametrize("name", ["paused", "draining", "faulty"])
def test_nothing_is_pulled_while_no_work_is_taken(made: World, served: Served, name: str) -> None:
    queue = served.cloud.create("one", "job-1")
    served.look()
    made.context.board.set_mode(Mode(name))  # type: ignore[arg-type]
    served.turn(2)
    assert queue.sids == ("job-1",)
    assert made.attempts("job-1") == []


def test_nothing_is_pulled_while_no_worker_is_free(made: World, served: Served) -> None:
    queue = served.cloud.create("one", "job-1")
    served.look()
    running = made.submit(WAIT_FOR_GO)
    delivery = made.pull()
    assert delivery is not None
    assert served.workers.take(made.queue, delivery)
    served.turns.step(made.clock.boottime())
    assert queue.pull(0) is not None, "it is still there for others"
    made.wait_for_log(running, "up")
    made.tell(running, "go")
    served.workers.join()


def test_many_queues_are_asked_for_a_short_while_each_and_few_for_as_long_as_can_be(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.pulling.TURN_PULL", 0.01)
    served.use(1, wait=0.05)
    for number in range(TURN_LOOPS + 1):
        served.cloud.create(f"queue{number}")
    served.look()
    served.turn(TURN_LOOPS + 1)
    del served.cloud.queues["queue0"]
    served.look()
    served.turn(TURN_LOOPS)
    assert [queue.asked for queue in served.cloud.queues.values()] == [[0.01, 0.05]] * TURN_LOOPS


def test_a_turn_over_all_queues_that_found_nothing_is_known(made: World, served: Served) -> None:
    for name in ("one", "two"):
        served.cloud.create(name)
    served.look()
    events = made.context.board.events
    assert not served.turns.found_nothing_since(events)
    served.turn()
    assert not served.turns.found_nothing_since(events)
    served.turn()
    assert served.turns.found_nothing_since(events)
    served.cloud.create("three")
    served.look()
    assert not served.turns.found_nothing_since(events)


# --- what outlives a queue --------------------------------------------------------------------------------------------


def test_a_queue_of_a_project_is_known_by_its_name_whether_it_is_there_or_not(served: Served) -> None:
    queues = served.made.context.queues
    assert queues["studio:deleted"].name == "studio:deleted"
    assert "studio:deleted" in queues
    assert list(queues) == ["lab"]
    for name in ("other:one", "studio", "studio:", "nothing"):
        assert name not in queues
        assert queues.get(name) is None


def test_the_attempt_of_a_deleted_queue_is_delivered_after_a_restart(made: World, served: Served) -> None:
    served.cloud.create("one", "job-1")
    served.look()
    delivery = served.cloud.queues["one"].pull(0)
    assert delivery is not None
    attempt = admit(made.context, made.context.queues["studio:one"], delivery)
    assert attempt is not None
    stage_and_launch(made.context, attempt)
    del served.cloud.queues["one"]
    made.context = made.new_context()
    served.use(1)
    (found,) = recover(made.context)
    assert found.queue == "studio:one"
    follow(made.context, found)
    assert made.commit("job-1").outcome is Outcome.SUCCEEDED
    assert made.leftovers() == []
    assert made.context.journal.load() == {}


def test_an_attempt_that_runs_while_its_queue_is_deleted_goes_on_to_its_end(made: World, served: Served) -> None:
    job = {"api": "edge-agent/v1", "image": IMAGE, "command": ["sh", "-c", WAIT_FOR_GO]}
    served.cloud.create("one").add("job-1", json.dumps(job).encode())
    served.look()
    served.turns.step(made.clock.boottime())
    made.wait_for_log("job-1", "up")
    del served.cloud.queues["one"]
    served.look()
    assert served.discovery.served() == ()
    made.tell("job-1", "go")
    served.workers.join()
    assert made.commit("job-1").outcome is Outcome.SUCCEEDED


def test_an_error_while_asking_whether_a_queue_is_gone_leaves_the_first_one(served: Served) -> None:
    served.cloud.create("one").down = True

    def away() -> bool:
        raise Unavailable("away")

    served.cloud.clients["one"].gone = away  # type: ignore[method-assign]
    served.look()
    served.turn()
    assert served.discovery.served() == ("one",)
    assert "the queue is down" in served.problems()["queue studio"]
