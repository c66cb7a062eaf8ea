"""The whole agent with its loops, over the fakes: when it ends, and what it leaves."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from agent.board import Mode, ModeName
from agent.canary import Canary
from agent.context import Queue, Queues
from agent.control.desk import Desk
from agent.control.server import Server
from agent.daemon import Daemon, Settings
from agent.discovery import Project
from agent.errors import StoreUnavailable
from agent.gpu_watch import GpuWatch
from agent.model.capabilities import Capabilities
from agent.model.records import Outcome
from agent.outbox import LONGEST_PAUSE
from agent.policy import BackOff
from agent.presence import Presence
from agent.pubsub_choice import Found, Rules

from tests.fakes import FakeAdvertiser, FakeDeadLetters, FakeQueue
from tests.faults import Between
from tests.waiting import wait_until
from tests.worlds import BACK_OFF, IMAGE, QUEUE, World, profile, world

WAIT_FOR_GO = "echo up; while [ ! -e go ]; do sleep 0.02; done"
FOREVER = "echo up; sleep 60"
WAITING = 30
AT_ONCE = BackOff(0.0, 0.0)  # jobs that are given back come again at once: the clock stands still


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.daemon.TURN", 0.01)
    monkeypatch.setattr("agent.outbox.LOOK", 0.05)
    monkeypatch.setattr("agent.pulling.IDLE", 0.02)
    monkeypatch.setattr("agent.watching.TICK", 0.02)


class Running:
    """One agent in a thread."""

    def __init__(
        self,
        made: World,
        *,
        mode: ModeName = "ready",
        back_off: BackOff = AT_ONCE,
        projects: Sequence[Project] = (),
        **settings: Any,
    ) -> None:
        made.change(back_off=back_off)
        context = made.context
        self.made = made
        self.advertiser = FakeAdvertiser()
        self.probes = 0
        self.ended_containers = threading.Event()
        self.notified: list[str] = []
        facts = profile(made.host)
        self.daemon = Daemon(
            context,
            Settings(2, 0.01, **settings),
            server=Server(made.state_dir, Desk(context, ("any-none",), made.stopping).handle),
            presence=Presence(
                facts,
                lambda: self._probe(facts),
                lambda _: made.share,
                self.advertiser,
                context.board,
                context.ledger,
                ("any-none",),
                600.0,
                GpuWatch(lambda: None, context.board),
            ),
            canary=Canary(context, lambda: None),
            end_containers=self.ended_containers.set,
            stop=made.stopping,
            mode=Mode(mode),
            projects=projects,
            notify=self.notified.append,
            watchdog=0.3,
        )
        self.code: int | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _probe(self, facts: Capabilities) -> Capabilities:
        self.probes += 1
        return facts

    def _run(self) -> None:
        self.code = self.daemon.run()

    def start(self) -> Running:
        """Let it run."""
        self._thread.start()
        return self

    def end(self) -> int:
        """Wait until it has ended by itself; return its exit code."""
        self._thread.join(20)
        assert self.code is not None, "the agent does not end"
        return self.code

    def stop(self) -> int:
        """Stop it as a signal does; return its exit code."""
        self.made.stopping.set()
        return self.end()


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    yield made
    made.stopping.set()
    made.runtime.close()


# --- until empty ---


def test_an_agent_that_runs_until_the_queue_is_empty_ends_when_all_is_done(made: World) -> None:
    sids = [made.submit("echo hello") for _ in range(5)]
    running = Running(made, until_empty=True).start()
    assert running.end() == 0
    assert {made.commit(sid).outcome for sid in sids} == {Outcome.SUCCEEDED}
    assert made.leftovers() == []


def test_an_empty_queue_ends_it_at_once(made: World) -> None:
    assert Running(made, until_empty=True).start().end() == 0


def test_it_waits_for_retries(made: World) -> None:
    sid = made.submit("exit 3", retries=2)
    assert Running(made, until_empty=True).start().end() == 0
    assert len(made.attempts(sid)) == 3
    assert made.commit(sid).outcome is Outcome.FAILED


def test_it_waits_out_the_pause_before_a_retry(made: World) -> None:
    sid = made.submit("exit 3", retries=1)
    running = Running(made, back_off=BackOff(10.0, 10.0), until_empty=True)
    asked, returning = threading.Semaphore(0), made.context.board.returning

    def counted(now: float) -> bool:
        asked.release()
        return returning(now)

    made.context.board.returning = counted  # type: ignore[method-assign]
    running.start()
    for _ in range(5):
        assert asked.acquire(timeout=10), "it does not ask whether a job comes back"
    assert running.code is None
    assert [record.outcome for record in made.attempts(sid)] == [Outcome.FAILED]
    made.clock.advance(10)
    assert running.end() == 0
    assert len(made.attempts(sid)) == 2


def test_it_waits_for_a_job_that_has_to_wait_for_another(made: World) -> None:
    first = made.submit(WAIT_FOR_GO, requires={"cpus": 3})
    second = made.submit("true", requires={"cpus": 3})
    running = Running(made, until_empty=True).start()
    made.wait_for_log(first, "up")
    wait_until(lambda: [each.sid for each in made.context.board.refused()] == [second])
    made.tell(first, "go")
    wait_until(lambda: made.results.committed(first) is not None)
    made.clock.advance(11)  # a job that did not fit is looked at again within 10 s
    assert running.end() == 0
    assert made.commit(second).outcome is Outcome.SUCCEEDED


def test_a_job_that_never_fits_here_does_not_keep_it(made: World) -> None:
    sid = made.submit(requires={"cpus": 64})
    assert Running(made, until_empty=True).start().end() == 0
    assert made.waiting() == [sid]
    assert made.refused(sid) == ["cpus"]


def test_results_that_cannot_leave_keep_it(made: World) -> None:
    sid = made.submit(WAIT_FOR_GO)
    running = Running(made, until_empty=True).start()
    made.wait_for_log(sid, "up")
    made.stores.artifacts.down = True
    made.tell(sid, "go")
    wait_until(lambda: any(live.waiting for live in made.context.board.live()))
    assert running.code is None
    made.stores.artifacts.down = False
    assert running.end() == 0
    assert made.commit(sid).outcome is Outcome.SUCCEEDED


# --- a project whose queues are found ---

JOB = b'{"api": "edge-agent/v1", "image": "%b", "command": ["true"]}' % IMAGE.encode()


class Cloud:
    """A project with some queues of one job each; while `down` is set, they cannot be listed."""

    def __init__(self, made: World, count: int) -> None:
        self.down = False
        self.queues = {f"exp{number}_sub": FakeQueue(made.clock) for number in range(count)}
        for number, queue in enumerate(self.queues.values()):
            queue.add(f"far-{number}", JOB)
        self._results = made.queue.results

    def look(self) -> list[Found]:
        if self.down:
            raise StoreUnavailable("the list cannot be read")
        return [Found(f"projects/p/subscriptions/{name}", "projects/p/topics/exp") for name in self.queues]

    def make(self, name: str) -> Queue:
        return Queue(f"studio:{name}", self.queues[name], self._results, FakeDeadLetters(), 120.0)

    def project(self) -> Project:
        return Project("studio", Rules(), self.look, self.make, 0.01)


def test_it_ends_when_all_queues_of_a_project_are_empty(made: World) -> None:
    cloud, sid = Cloud(made, 10), made.submit()
    made.change(queues=Queues(made.context.queues, {"studio": cloud.make}))
    assert Running(made, until_empty=True, projects=[cloud.project()]).start().end() == 0
    assert {made.commit(each).outcome for each in (sid, *(f"far-{n}" for n in range(10)))} == {Outcome.SUCCEEDED}
    assert [queue.sids for queue in cloud.queues.values()] == [()] * 10


def test_a_project_without_queues_ends_it_at_once(made: World) -> None:
    assert Running(made, until_empty=True, projects=[Cloud(made, 0).project()]).start().end() == 0


def test_it_does_not_end_before_the_queues_of_a_project_are_known(made: World) -> None:
    cloud = Cloud(made, 1)
    made.change(queues=Queues(made.context.queues, {"studio": cloud.make}))
    cloud.down = True
    running = Running(made, until_empty=True, projects=[cloud.project()]).start()
    wait_until(lambda: "queue studio" in made.context.board.problems())
    assert running.code is None
    cloud.down = False
    assert running.end() == 0
    assert made.commit("far-0").outcome is Outcome.SUCCEEDED


# --- stopping ---


def test_an_agent_that_is_stopped_gives_its_jobs_back_and_ends_the_containers(made: World) -> None:
    sid = made.submit(FOREVER, grace=0.1)
    running = Running(made).start()
    made.wait_for_log(sid, "up")
    assert running.stop() == 0
    assert made.attempts(sid)[0].outcome is Outcome.STOPPED
    assert made.waiting() == [sid]
    assert made.leftovers() == []
    assert running.ended_containers.is_set()
    assert running.advertiser.states[-1]["state"] == "offline"


def test_an_agent_that_detaches_leaves_its_jobs_running_for_the_next_one(made: World) -> None:
    sid = made.submit(WAIT_FOR_GO)
    running = Running(made, detach=True).start()
    made.wait_for_log(sid, "up")
    assert running.stop() == 0
    assert not running.ended_containers.is_set()
    assert made.runtime.status(f"{sid}.1").phase == "running"
    made.context = made.new_context()
    following = Running(made, until_empty=True).start()
    made.tell(sid, "go")
    assert following.end() == 0
    assert made.commit(sid).outcome is Outcome.SUCCEEDED
    assert len(made.attempts(sid)) == 1
    assert made.leftovers() == []


def test_a_stop_waits_for_results_that_are_being_saved(made: World) -> None:
    entered, go_on = threading.Event(), threading.Event()
    write = made.stores.artifacts.write

    def slow(uri: str, chunks: Any) -> None:
        entered.set()
        assert go_on.wait(10)
        write(uri, chunks)

    made.stores.artifacts.write = slow  # type: ignore[method-assign]
    sid = made.submit("echo kept")
    running = Running(made).start()
    assert entered.wait(10)
    made.stopping.set()
    assert running.code is None
    go_on.set()
    assert running.end() == 0
    assert made.artifact(sid, "log") == b"kept\n"


@pytest.mark.parametrize("detach", [False, True])
def test_results_in_the_outbox_do_not_keep_an_agent_that_is_stopped(made: World, detach: bool) -> None:
    sid = made.submit(WAIT_FOR_GO)
    running = Running(made, detach=detach).start()
    made.wait_for_log(sid, "up")
    made.stores.artifacts.down = True
    made.tell(sid, "go")
    wait_until(lambda: any(live.waiting for live in made.context.board.live()))
    assert running.stop() == 0
    made.stores.artifacts.down = False
    made.context = made.new_context()
    assert Running(made, until_empty=True).start().end() == 0
    assert (made.commit(sid).outcome, made.commit(sid).n) == (Outcome.SUCCEEDED, 1)
    assert made.leftovers() == []


def test_signals_stop_the_agent(made: World) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    running = Running(made)
    try:
        running.daemon.handle_signals()
        running.start()
        signal.raise_signal(signal.SIGTERM)
        assert running.end() == 0
    finally:
        _restore(before)


def test_a_hangup_makes_the_agent_look_at_its_host_again_and_nothing_else(made: World) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    sid = made.submit(WAIT_FOR_GO)
    running = Running(made)
    try:
        running.daemon.handle_signals()
        running.start()
        made.wait_for_log(sid, "up")
        assert running.probes == 0
        for expected in (1, 2):
            os.kill(os.getpid(), signal.SIGHUP)
            wait_until(lambda expected=expected: running.probes == expected, what="a probe")  # type: ignore[misc]
        assert running.code is None
        made.tell(sid, "go")
        wait_until(lambda: made.results.committed(sid) is not None)
        assert running.stop() == 0
    finally:
        _restore(before)


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


# --- what goes wrong ---


def test_a_loop_that_dies_stops_the_agent_with_1(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: told.append(arguments.exc_value))
    sid = made.submit(FOREVER, grace=0.1)
    running = Running(made)
    monkeypatch.setattr(running.daemon._presence, "state_step", _bug_once_running(made, sid))
    assert running.start().end() == 1
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert made.attempts(sid)[0].outcome is Outcome.STOPPED
    assert made.leftovers() == []


def _bug_once_running(made: World, sid: str) -> Any:
    def step(now: float) -> float:
        made.wait_for_log(sid, "up")
        raise ZeroDivisionError("a bug")

    return step


def test_a_paused_agent_takes_nothing_until_it_is_resumed(made: World) -> None:
    sid = made.submit()
    running = Running(made, mode="paused").start()
    wait_until(lambda: any(state["state"] == "paused" for state in running.advertiser.states))
    assert made.attempts(sid) == []
    made.context.board.set_mode(Mode("ready"))
    wait_until(lambda: made.results.committed(sid) is not None)
    assert running.stop() == 0


def test_a_paused_agent_that_runs_until_the_queue_is_empty_does_not_wait(made: World) -> None:
    sid = made.submit()
    assert Running(made, mode="paused", until_empty=True).start().end() == 0
    assert made.waiting() == [sid]


def test_an_agent_starts_while_its_stores_are_down(made: World) -> None:
    sid = made.submit("echo ran")
    for store in (made.stores.records, made.stores.result_records, made.stores.artifacts):
        store.down = True
    running = Running(made).start()
    wait_until(lambda: made.context.board.problems())
    for store in (made.stores.records, made.stores.result_records, made.stores.artifacts):
        store.down = False
    wait_until(lambda: made.results.committed(sid) is not None)
    assert running.stop() == 0


def test_a_cancelled_job_is_ended_by_the_loop_of_the_leases(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sid = made.submit(FOREVER, grace=0.1)
    monkeypatch.setattr(made.context.leases, "_every", 0.02)
    running = Running(made).start()
    made.wait_for_log(sid, "up")
    made.cancel(sid)
    wait_until(lambda: made.results.committed(sid) is not None)
    assert made.commit(sid).outcome is Outcome.CANCELLED
    assert running.stop() == 0


def test_a_store_that_fails_now_and_then_loses_no_job(made: World) -> None:
    calls, put = iter(range(10**9)), made.stores.result_records.put

    def flaky(key: str, body: bytes, *, create: bool = False) -> bool:
        if next(calls) % 4 == 3:
            raise StoreUnavailable("now and then")
        return put(key, body, create=create)

    sids = [made.submit("echo ran") for _ in range(6)]
    made.stores.result_records.put = flaky  # type: ignore[method-assign]
    monkey = Running(made, until_empty=True).start()

    def over() -> bool:
        made.clock.advance(10)
        return monkey.code is not None

    wait_until(over, 20)
    assert {made.commit(sid).outcome for sid in sids} == {Outcome.SUCCEEDED}
    assert made.waiting() == []
    assert made.leftovers() == []


# --- servers that do not answer ---


def test_a_run_until_the_queue_is_empty_gives_up_on_a_queue_that_never_answers(
    made: World, caplog: pytest.LogCaptureFixture
) -> None:
    sid = made.submit()
    made.stores.records.down = True
    running = Running(made, until_empty=True, patience=60.0).start()
    wait_until(lambda: made.context.board.problems(), what="the queue is a problem")
    made.clock.advance(59.0)
    assert running.code is None
    made.clock.advance(2.0)
    assert running.end() == 3
    assert "servers do not answer" in caplog.text
    made.stores.records.down = False
    assert made.waiting() == [sid]


def test_a_run_that_gives_up_keeps_the_results_that_cannot_leave(made: World) -> None:
    sid = made.submit("echo kept")
    made.stores.artifacts.down = True
    running = Running(made, back_off=BackOff(1.0, 10.0), until_empty=True, patience=60.0).start()
    wait_until(lambda: "results for lab" in made.context.board.problems(), what="the result waits")
    made.clock.advance(61.0)
    assert running.end() == 3
    made.stores.artifacts.down = False
    made.restart()
    assert made.artifact(sid, "log") == b"kept\n"


def test_patience_has_no_end_while_something_runs(made: World) -> None:
    made.submit(WAIT_FOR_GO)
    running = Running(made, until_empty=True, patience=60.0).start()
    sid = made.sids[0]
    made.wait_for_log(sid, "up")
    made.context.board.problem("queue other", "does not answer")
    made.clock.advance(3600.0)
    made.tell(sid, "go")
    wait_until(lambda: made.results.committed(sid) is not None, what="its result")
    made.context.board.problem("queue other", None)
    assert running.end() == 0


# --- what an earlier agent left ---


def test_many_results_of_an_earlier_life_are_not_all_tried_at_once(made: World) -> None:
    """Only what runs is followed at once; results take their turn, and the running job's comes when it ends."""
    running = made.submit(WAIT_FOR_GO)
    task = made.start_one()
    made.wait_for_log(running, "up")
    made.context.detaching.set()
    task.join(10)
    made.restart(follow_up=False)
    sids = [made.submit("echo x", priority=1) for _ in range(WAITING)]
    made.stores.artifacts.down = True
    for _ in sids:
        made.run_one()
        made.clock.advance(1)
    tries = threading.Semaphore(0)
    made.wrap = lambda name, part: Between(part, write=counted(part.write, tries)) if name == "artifacts" else part
    made.context = made.new_context()
    agent = Running(made, mode="paused", back_off=BACK_OFF).start()
    wait_until(lambda: f"{WAITING} cannot leave yet" in made.context.board.problems().get(f"results for {QUEUE}", ""))
    assert [tries.acquire(blocking=False) for _ in range(3)] == [True, True, False], "two of them were tried"
    assert made.context.ledger.free().cpus == made.share.cpus - 1, "only the running job has CPUs"
    made.stores.artifacts.down = False
    made.tell(running, "go")
    made.clock.advance(LONGEST_PAUSE)
    wait_until(lambda: made.leftovers() == [])
    assert {made.commit(sid).outcome for sid in (running, *sids)} == {Outcome.SUCCEEDED}
    made.clock.advance(1)
    wait_until(lambda: f"results for {QUEUE}" not in made.context.board.problems())
    agent.stop()


def counted(write: Callable[..., None], tries: threading.Semaphore) -> Callable[..., None]:
    """Return `write` as it is, which raises `tries` by one for each call."""

    def counting(*arguments: Any) -> None:
        tries.release()
        write(*arguments)

    return counting


# --- under a service manager ---


def test_the_service_manager_hears_that_it_is_ready_and_alive_and_at_last_that_it_stops(made: World) -> None:
    running = Running(made, detach=True).start()
    wait_until(lambda: {"READY=1", "WATCHDOG=1"} <= set(running.notified))
    assert "STOPPING=1" not in running.notified
    assert running.stop() == 0
    assert running.notified.count("READY=1") == running.notified.count("STOPPING=1") == 1
