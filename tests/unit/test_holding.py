"""Jobs that are here before there is room for them: staged meanwhile, and nobody's until they are claimed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent.attempt import State
from agent.board import Live, Mode
from agent.context import Queue
from agent.model.records import Outcome
from agent.ports import Lease
from agent.pulling import Gave, Puller, Workers
from agent.spare import Spare, Terms

from tests.fakes import FakeDeadLetters, FakeQueue
from tests.waiting import wait_until
from tests.worlds import QUEUE, World, world

HOLD = 60.0
STARVE_AFTER = 3600.0
TERMS = Terms(True, HOLD, STARVE_AFTER)
WAIT = 0.005
WAIT_FOR_GO = "echo up; while [ ! -e go ]; do sleep 0.02; done"
NATIVE = b'{"api": "edge-agent/v1", "image": "mem://images/tiny.sif", "requires": {"cpus": 4}}'


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.pulling.IDLE", 0.02)
    monkeypatch.setattr("agent.watching.TICK", 0.02)
    monkeypatch.setattr("agent.holding.LOOK", 0.02)


class Host:
    """An agent with workers and one loop that pulls, taken step by step."""

    def __init__(self, made: World, workers: int = 2, terms: Terms = TERMS, queue: Queue | None = None) -> None:
        made.change(spare=Spare(terms))
        self.made = made
        self.workers = Workers(made.context, workers)
        self.puller = Puller(made.context, queue or made.queue, self.workers, WAIT)

    def pull(self) -> Gave:
        """Let the loop take a step, some time after the one before; return what it gave."""
        self.made.clock.advance(1)
        self.puller.gave = Gave.NOTHING
        self.puller.step(self.made.clock.boottime())
        return self.puller.gave

    def start(self, **keys: Any) -> str:
        """Submit a job that runs until it is told to go on, and wait until it runs."""
        sid = self.made.submit(WAIT_FOR_GO, **keys)
        assert self.pull() is Gave.JOB
        self.made.wait_for_log(sid, "up")
        return sid

    def held(self, sid: str) -> Live:
        """Wait until the job is held, with all done that can be done before there is room for it."""
        wait_until(lambda: self.live(sid) is not None, what=f"{sid} is held")
        live = self.live(sid)
        assert live is not None
        return live

    def live(self, sid: str) -> Live | None:
        live = self.made.context.board.find(sid)
        return live if live and live.attempt.state is State.PREFETCHED and live.step == "held" else None

    def wait_given_back(self, sid: str) -> None:
        wait_until(lambda: not self.made.context.leases.holds(sid), what=f"{sid} is given back")
        self.assert_nothing_left(sid)

    def assert_nothing_left(self, sid: str) -> None:
        context = self.made.context
        assert self.made.attempts(sid) == []
        assert not self.made.directory(sid).exists()
        assert context.board.find(sid) is None
        assert not context.spare.keeps(sid)
        assert context.board.problems() == {}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    yield made
    made.stopping.set()
    made.context.detaching.set()
    made.runtime.close()


# --- one job more than has room ---


def test_a_surplus_job_is_staged_while_the_worker_is_busy_and_runs_when_it_is_free(made: World) -> None:
    host = Host(made, workers=1)
    first = host.start()
    uri = made.stores.put_artifact("data", b"the data")
    second = made.submit("cat data", inputs=[{"uri": uri, "path": "data"}], requires={"disk": "1GiB"})
    assert host.pull() is Gave.JOB
    live = host.held(second)
    assert live.attempt.reserved.disk == 1024**3
    assert (live.attempt.reserved.cpus, live.attempt.reserved.memory) == (0, 0)
    assert (made.directory(second) / "work" / "data").read_bytes() == b"the data"
    assert made.attempts(second) == []
    assert list(made.journal.load()) == [f"{first}.1"]
    made.stores.artifacts.write(uri, [b"changed since"])
    made.tell(first, "go")
    host.workers.join()
    assert made.artifact(second, "log") == b"the data", "it was staged once, ahead"
    assert [each.n for each in made.attempts(second)] == [1]
    assert made.leftovers() == []
    assert host.workers.free_now() == 1


def test_no_more_than_one_is_held(made: World) -> None:
    host = Host(made, workers=1)
    first = host.start()
    second, third = made.submit(), made.submit()
    host.pull()
    host.held(second)
    assert host.pull() is Gave.NOTHING, "nothing is asked for"
    assert made.context.board.find(third) is None
    made.tell(first, "go")
    host.workers.join()
    assert made.commit(second).outcome is Outcome.SUCCEEDED


def test_a_job_for_which_the_cpus_are_taken_is_held_and_its_worker_is_free_for_smaller_ones(made: World) -> None:
    host = Host(made)
    first = host.start(requires={"cpus": 3})
    big = made.submit(requires={"cpus": 2})
    host.pull()
    host.held(big)
    small = made.submit(requires={"cpus": 1})
    assert host.pull() is Gave.JOB
    wait_until(lambda: made.results.committed(small) is not None, what="the small job has run")
    assert host.live(big) is not None
    made.tell(first, "go")
    host.workers.join()
    assert made.commit(big).outcome is Outcome.SUCCEEDED


def test_nothing_is_held_where_the_operator_does_not_want_it(made: World) -> None:
    host = Host(made, terms=Terms(False, HOLD, STARVE_AFTER))
    first = host.start(requires={"cpus": 3})
    second = made.submit(requires={"cpus": 2})
    host.pull()
    wait_until(lambda: len(made.context.board.refused()) == 1, what="the job is refused")
    host.assert_nothing_left(second)
    one = Host(made, workers=0, terms=Terms(False, HOLD, STARVE_AFTER))
    made.clock.advance(60)
    assert one.pull() is Gave.NOTHING
    made.tell(first, "go")
    host.workers.join()


def test_where_no_other_host_sees_it_meanwhile_a_job_that_does_not_fit_now_is_not_held(made: World) -> None:
    """Another host may have room for it. One for which no worker is free is held: all hosts seem to be busy."""
    source = FakeQueue(made.clock, "far")
    far = Queue("far", source, made.queue.results, FakeDeadLetters(), 120.0, shares_delays=True)
    made.change(queues={QUEUE: made.queue, "far": far})
    host = Host(made)
    first = host.start(requires={"cpus": 3})
    source.add("far-1", NATIVE)
    Puller(made.context, far, host.workers, WAIT).step(made.clock.boottime())
    wait_until(lambda: len(made.context.board.refused()) == 1, what="the job is refused")
    host.assert_nothing_left("far-1")
    made.clock.advance(10)
    delivery = source.pull(0)
    assert delivery is not None, "it comes again, to whoever asks"
    made.tell(first, "go")
    host.workers.join()


def test_a_job_that_never_fits_is_not_held(made: World) -> None:
    host = Host(made)
    sid = made.submit(requires={"memory": "64TiB"})
    host.pull()
    host.workers.join()
    assert made.refused(sid) == ["memory"]
    host.assert_nothing_left(sid)


def test_it_is_given_back_when_there_was_no_room_for_so_long_and_others_get_their_chance(made: World) -> None:
    host = Host(made, workers=1)
    first = host.start()
    second = made.submit(retries=1)
    host.pull()
    host.held(second)
    made.clock.advance(HOLD - 1)
    made.renew()
    assert host.live(second) is not None
    made.clock.advance(1)
    host.wait_given_back(second)
    assert host.pull() is Gave.NOTHING, "no surplus is asked for until the same time has passed"
    made.clock.advance(HOLD)
    assert host.pull() is Gave.JOB
    host.held(second)
    made.tell(first, "go")
    host.workers.join()
    assert [each.n for each in made.attempts(second)] == [1], "no attempt was used up"


@pytest.mark.parametrize("mode", ["paused", "draining", "faulty"])
def test_an_agent_that_takes_no_new_work_holds_nothing(made: World, mode: str) -> None:
    host = Host(made, workers=1)
    first = host.start()
    second = made.submit()
    host.pull()
    host.held(second)
    made.context.board.set_mode(Mode(mode))  # type: ignore[arg-type]
    host.wait_given_back(second)
    assert made.pull() is not None, "it waits for others at once"
    made.tell(first, "go")
    host.workers.join()


def test_an_agent_that_detaches_holds_nothing(made: World) -> None:
    host = Host(made, workers=1)
    host.start()
    second = made.submit()
    host.pull()
    host.held(second)
    made.context.detaching.set()
    host.wait_given_back(second)
    host.workers.join()


def test_a_held_job_that_is_cancelled_ends_without_running(made: World) -> None:
    host = Host(made, workers=1)
    first = host.start()
    second = made.submit()
    host.pull()
    host.held(second)
    made.cancel(second)
    made.renew()
    host.wait_given_back(second)
    made.tell(first, "go")
    host.workers.join()
    host.pull()
    host.workers.join()
    assert made.commit(second).outcome is Outcome.CANCELLED
    assert made.attempts(second) == []


def test_another_host_with_room_runs_the_job_and_the_holder_forgets_it(made: World, tmp_path: Path) -> None:
    host = Host(made, workers=1)
    first = host.start()
    second = made.submit(WAIT_FOR_GO)
    host.pull()
    host.held(second)
    idle = world(tmp_path, stores=made.stores, host="host-b")
    task = idle.start_one()
    idle.wait_for_log(second, "up")
    made.clock.advance(10)
    wait_until(lambda: not made.context.leases.holds(second), what="the holder forgets it")
    assert not made.directory(second).exists()
    idle.tell(second, "go")
    task.join(10)
    assert [each.host for each in made.attempts(second)] == ["host-b"]
    made.tell(first, "go")
    host.workers.join()
    assert made.leftovers() == []


def test_one_that_ran_elsewhere_before_the_holder_looked_is_not_run_again(made: World, tmp_path: Path) -> None:
    host = Host(made, workers=1)
    first = host.start()
    second = made.submit()
    host.pull()
    host.held(second)
    assert world(tmp_path, stores=made.stores, host="host-b").run_one() == second
    made.tell(first, "go")
    host.workers.join()
    assert [(each.n, each.host) for each in made.attempts(second)] == [(1, "host-b")]
    assert made.leftovers() == []


def test_after_a_kill_nothing_is_left_of_a_held_job(made: World) -> None:
    host = Host(made, workers=1)
    host.start()
    second = made.submit()
    host.pull()
    host.held(second)
    killed = made.context
    (found,) = made.restart(follow_up=False)
    assert found.sid != second
    assert not made.directory(second).exists(), "what no attempt owns is removed"
    assert second in made.waiting()
    assert made.attempts(second) == []
    killed.detaching.set()
    host.workers.join()


def test_a_job_that_cannot_be_staged_ahead_fails_when_it_is_claimed(made: World) -> None:
    host = Host(made, workers=1)
    first = host.start()
    second = made.submit(inputs=[{"uri": "mem://in/absent", "path": "data"}])
    host.pull()
    host.held(second)
    assert not made.directory(second).exists()
    assert made.results.committed(second) is None
    made.tell(first, "go")
    host.workers.join()
    assert made.commit(second).outcome is Outcome.FAILED
    assert [each.outcome for each in made.attempts(second)] == [Outcome.FAILED]


def test_a_more_urgent_job_gets_the_room_first(made: World) -> None:
    host = Host(made, workers=1)
    first = host.start()
    held = made.submit()
    host.pull()
    host.held(held)
    urgent = made.submit(WAIT_FOR_GO, priority=5)
    made.tell(first, "go")
    host.wait_given_back(held)
    host.workers.join()
    host.pull()
    made.wait_for_log(urgent, "up")
    assert made.attempts(held) == []
    host.pull()
    host.held(held)
    made.tell(urgent, "go")
    host.workers.join()
    assert made.commit(held).outcome is Outcome.SUCCEEDED


def test_a_more_urgent_job_takes_the_place_of_one_that_is_held(made: World) -> None:
    host = Host(made)
    first = host.start(requires={"cpus": 3})
    held = made.submit(requires={"cpus": 2})
    host.pull()
    host.held(held)
    urgent = made.submit(priority=5, requires={"cpus": 2})
    host.pull()
    host.held(urgent)
    host.wait_given_back(held)
    made.tell(first, "go")
    host.workers.join()
    assert made.commit(urgent).outcome is Outcome.SUCCEEDED


def test_a_message_that_is_held_is_renewed_and_its_redelivery_adopted(made: World) -> None:
    source = FakeQueue(made.clock, "far")
    far = Queue("far", source, made.queue.results, FakeDeadLetters(), 120.0)
    made.change(queues={QUEUE: made.queue, "far": far})
    host = Host(made)
    first = host.start(requires={"cpus": 3})
    source.add("far-1", NATIVE)
    puller = Puller(made.context, far, host.workers, WAIT)
    puller.step(made.clock.boottime())
    live = host.held("far-1")
    for _ in range(3):
        made.clock.advance(15)
        made.renew()
    assert host.live("far-1") is not None
    assert source.pull(0) is None, "no other host gets it"
    source.release(Lease("far-1", live.attempt.handle), 0.0)  # as if its deadline had passed
    assert host.pull() is Gave.NOTHING, "the other queue is not waited for any more"
    puller.step(made.clock.boottime())
    lease = made.context.leases.lease("far-1")
    assert lease is not None
    assert lease.handle != live.attempt.handle
    made.tell(first, "go")
    host.workers.join()
    assert made.commit("far-1").outcome is Outcome.SUCCEEDED
    assert source.sids == (), "settled by the handle of the redelivery"
    assert [each.n for each in made.attempts("far-1")] == [1]


# --- one that was passed over for too long ---


def test_nothing_else_starts_before_a_job_that_has_waited_too_long(made: World) -> None:
    host = Host(made)
    first = host.start(requires={"cpus": 1})
    big = made.submit(requires={"cpus": 4})
    made.clock.advance(STARVE_AFTER)
    made.renew()
    host.pull()
    host.held(big)
    small = made.submit(requires={"cpus": 1})
    assert list(made.context.board.problems()) == [f"job {big}"]
    for _ in range(3):
        assert host.pull() is Gave.NOTHING
    made.clock.advance(10 * HOLD)
    made.renew()
    assert host.live(big) is not None, "it is held until it fits"
    made.tell(first, "go")
    host.workers.join()
    assert made.commit(big).outcome is Outcome.SUCCEEDED
    assert made.context.board.problems() == {}
    assert made.attempts(small) == []
    host.pull()
    host.workers.join()
    assert made.commit(small).outcome is Outcome.SUCCEEDED


def test_a_younger_job_is_passed_over_until_its_time_has_come(made: World) -> None:
    host = Host(made, terms=Terms(True, 10 * STARVE_AFTER, STARVE_AFTER))
    first = host.start(requires={"cpus": 1})
    big = made.submit(requires={"cpus": 4})
    host.pull()
    host.held(big)
    small = made.submit()
    host.pull()
    wait_until(lambda: made.results.committed(small) is not None, what="it is passed over")
    made.clock.advance(STARVE_AFTER)
    made.renew()
    wait_until(lambda: made.context.spare.starving == big, what="its time has come")
    assert host.pull() is Gave.NOTHING
    made.tell(first, "go")
    host.workers.join()
    assert made.commit(big).outcome is Outcome.SUCCEEDED


def test_the_age_of_a_job_is_what_the_store_says_whatever_the_clock_of_the_host(made: World) -> None:
    host = Host(made, terms=Terms(False, HOLD, STARVE_AFTER))
    first = host.start(requires={"cpus": 1})
    young = made.submit(requires={"cpus": 4})
    made.clock.set(made.clock.time() + STARVE_AFTER)
    host.pull()
    wait_until(lambda: len(made.context.board.refused()) == 1, what="it is refused")
    assert made.context.spare.starving is None
    host.assert_nothing_left(young)
    made.tell(first, "go")
    host.workers.join()


def test_one_that_starves_for_disk_is_staged_when_it_is_claimed(made: World) -> None:
    host = Host(made)
    first = host.start(requires={"disk": "60GiB"})
    big = made.submit("cat data", requires={"disk": "50GiB"}, inputs=[{"uri": "mem://in/data", "path": "data"}])
    made.stores.put_artifact("data", b"x")
    made.clock.advance(STARVE_AFTER)
    made.renew()
    host.pull()
    assert host.held(big).attempt.reserved.disk == 0
    assert not made.directory(big).exists()
    made.tell(first, "go")
    host.workers.join()
    assert made.artifact(big, "log") == b"x"


def test_a_pause_releases_a_job_that_starves(made: World) -> None:
    host = Host(made)
    first = host.start(requires={"cpus": 1})
    big = made.submit(requires={"cpus": 4})
    made.clock.advance(STARVE_AFTER)
    made.renew()
    host.pull()
    host.held(big)
    made.context.board.set_mode(Mode("paused"))
    host.wait_given_back(big)
    assert made.context.spare.starving is None
    made.tell(first, "go")
    host.workers.join()


def test_two_agents_that_wait_for_the_same_job_do_not_wait_for_each_other(made: World, tmp_path: Path) -> None:
    other = world(tmp_path, stores=made.stores, host="host-b")
    hosts = [Host(made), Host(other)]
    running = [host.start(requires={"cpus": 1}) for host in hosts]
    big = made.submit(WAIT_FOR_GO, requires={"cpus": 4})
    made.clock.advance(STARVE_AFTER)
    for host in hosts:
        host.made.renew()
    for host in hosts:
        host.pull()
        host.held(big)
    other.tell(running[1], "go")
    other.wait_for_log(big, "up")
    made.clock.advance(10)
    wait_until(lambda: made.context.spare.starving is None, what="the other one goes on")
    small = made.submit(requires={"cpus": 1})
    assert hosts[0].pull() is Gave.JOB
    wait_until(lambda: made.results.committed(small) is not None, what="it takes other jobs again")
    other.tell(big, "go")
    made.tell(running[0], "go")
    for host in hosts:
        host.workers.join()
    assert [each.host for each in made.attempts(big)] == ["host-b"]
