"""Bell: the fake, and a real broker; and what a store queue makes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest
from agent.adapters.clock import SystemClock
from agent.adapters.mqtt import MqttBell, MqttConnection, SubmitterBell, broker_of
from agent.claims import StoreQueue
from agent.config.mqtt import MqttSection
from agent.errors import BrokerUnavailable
from agent.model.job import parse_job
from agent.model.records import Submission
from agent.ports import Bell
from agent.results import Results
from agent.submitting import StoreSubmitter
from agent.wire import plain

from tests.fakes import FakeBell, FakeClock, FakeRecords
from tests.servers import Mosquitto
from tests.waiting import wait_until

LONG = 60.0


class World(Protocol):
    """One queue's bell at both ends."""

    agent: Bell
    submitter: Bell

    def listen(self) -> None:
        """Return when all listeners hear."""

    def break_down(self) -> None:
        """Make the bell unreachable for submitters."""


class FakeWorld:
    def __init__(self) -> None:
        self.bell = FakeBell()
        self.agent: Bell = self.bell
        self.submitter: Bell = self.bell

    def listen(self) -> None:
        pass

    def break_down(self) -> None:
        self.bell.down = True


class BrokerWorld:
    def __init__(self, server: Mosquitto, queue: str) -> None:
        broker = broker_of(MqttSection(url=server.url))
        self.server = server
        self.connection = MqttConnection(broker, f"agent-{queue}")
        self.agent: Bell = MqttBell(self.connection, queue)
        self.submitter: Bell = SubmitterBell(broker, queue)
        self.connected = threading.Event()

    def listen(self) -> None:
        self.connection.on_connect(self.connected.set)
        self.connection.start()
        assert self.connected.wait(10)

    def break_down(self) -> None:
        self.server.stop()


@pytest.fixture(params=["fake", "mosquitto"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    make: Callable[..., Mosquitto] = request.getfixturevalue("new_mosquitto")
    broker = BrokerWorld(make(), "lab")
    yield broker
    broker.connection.close()


def test_a_ring_is_heard_in_its_lane_only(world: World) -> None:
    heard: list[str] = []
    world.agent.on_ring(["any-none", "arm64-none"], lambda: heard.append("mine"))
    world.agent.on_ring(["amd64-none"], lambda: heard.append("other"))
    world.agent.on_ring(["*"], lambda: heard.append("all"))
    world.listen()
    heard.clear()
    world.submitter.ring("any-none")
    wait_until(lambda: {"all", "mine"} <= set(heard))
    assert "other" not in heard


def test_a_listener_may_take_part_in_several_lanes(world: World) -> None:
    heard = threading.Semaphore(0)
    world.agent.on_ring(["any-none", "arm64-none"], heard.release)
    world.listen()
    while heard.acquire(blocking=False):
        pass
    for lane in ("any-none", "arm64-none"):
        world.submitter.ring(lane)
        assert heard.acquire(timeout=10)


def test_a_bell_that_cannot_be_rung_says_so(world: World) -> None:
    world.break_down()
    with pytest.raises(BrokerUnavailable):
        world.submitter.ring("any-none")


class Lab:
    """A store queue in memory whose looks are a minute apart."""

    def __init__(self, bell: Bell) -> None:
        clock = FakeClock()
        self.records = FakeRecords(clock)
        self.results = Results(FakeRecords(clock), "mem://results")
        self.stopping = threading.Event()
        self.queue = StoreQueue(
            "lab",
            self.records,
            self.results,
            ["any-none"],
            host="host-a",
            lease=120.0,
            look_every=LONG,
            clock=SystemClock(),
            stopping=self.stopping,
            bell=bell,
        )

    def submit(self, sid: str, bell: Bell | None) -> None:
        job = plain(parse_job({"image": "file:///srv/{arch}.sif", "requires": {"arch": ["arm64", "amd64"]}}))
        submission = Submission(sid, job, "lab", "any-none", time.time())
        StoreSubmitter(self.records, self.results, bell).submit(submission)


def test_a_ring_wakes_a_waiting_agent_at_once(world: World) -> None:
    lab = Lab(world.agent)
    world.listen()
    assert lab.queue.pull(0.01) is None  # the look that is due at the start
    lab.queue.pull(0.01)  # the one that a connect rings for
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        pulled = pool.submit(lab.queue.pull, LONG)
        lab.submit("job-1", world.submitter)
        delivery = pulled.result(10)
    assert delivery is not None
    assert delivery.sid == "job-1"
    assert time.monotonic() - began < 5.0


def test_a_ring_between_two_pulls_is_not_forgotten(world: World) -> None:
    lab = Lab(world.agent)
    world.listen()
    assert lab.queue.pull(0.01) is None
    lab.submit("job-1", world.submitter)
    delivery = lab.queue.pull(10)
    assert delivery is not None
    assert delivery.sid == "job-1"


def test_a_pull_that_waits_for_the_bell_ends_soon_when_the_agent_stops(world: World) -> None:
    lab = Lab(world.agent)
    world.listen()
    with ThreadPoolExecutor(1) as pool:
        pulled = pool.submit(lab.queue.pull, LONG)
        lab.stopping.set()
        assert pulled.result(5) is None


def test_a_job_whose_bell_cannot_be_rung_is_in_the_queue_all_the_same(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    lab = Lab(FakeBell())
    world.break_down()
    lab.submit("job-1", world.submitter)
    delivery = lab.queue.pull(1)
    assert delivery is not None
    assert [record.levelname for record in caplog.records if getattr(record, "event", "") == "bell-not-rung"] == [
        "WARNING"
    ]
