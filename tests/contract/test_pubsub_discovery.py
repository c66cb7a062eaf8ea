"""Queues of clients found in a project, over Google's emulator; and over a server that says no."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from agent.adapters.clock import SystemClock
from agent.adapters.pubsub.connection import Connection
from agent.adapters.pubsub.project import PubSubProject
from agent.adapters.pubsub.queue import PubSubQueue
from agent.context import Queue, Queues
from agent.discovery import Discovery, Project
from agent.errors import Unavailable
from agent.foreign import NotedDeadLetters
from agent.model.records import Outcome
from agent.pubsub_choice import Found, Rules, choose
from agent.pubsub_plan import DELETED_TOPIC, PLAIN, Place, subscription_path, topic_path
from agent.pulling import TURN_LOOPS, Turns, Workers
from google.pubsub_v1.services.publisher.transports.grpc import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports.grpc import SubscriberGrpcTransport
from google.pubsub_v1.types import DeleteSubscriptionRequest, DeleteTopicRequest, PushConfig, Subscription

from tests.servers import Emulator
from tests.waiting import wait_until
from tests.worlds import IMAGE, World, world

NUMBERS = count()
JOB = b'{"api": "edge-agent/v1", "image": "%b", "command": ["true"]}' % IMAGE.encode()
SLOW_JOB = JOB.replace(b'"true"', b'"sleep", "0.5"')


class Lab:
    """A project of its own on the emulator, and what clients do there."""

    def __init__(self, endpoint: str) -> None:
        self.project = f"found-{next(NUMBERS)}"
        self.stopping = threading.Event()
        self.connection = Connection(endpoint, stopping=self.stopping)
        self._channel = grpc.insecure_channel(endpoint)

    def create(self, name: str, **settings: Any) -> None:
        """Make a queue as a client does."""
        self.connection.create_topic(topic_path(self.project, name))
        self.subscribe(f"{name}_sub", name, **settings)

    def subscribe(self, name: str, topic: str, **settings: Any) -> None:
        path = subscription_path(self.project, name)
        message = Subscription(
            name=path, topic=topic_path(self.project, topic), **{"ack_deadline_seconds": 20, **settings}
        )
        self.connection.create_subscription(message)

    def publish(self, name: str, sid: str, body: bytes = JOB) -> None:
        self.connection.publish(topic_path(self.project, name), body, {"edge_sid": sid})

    def delete_topic(self, name: str) -> None:
        stubs = PublisherGrpcTransport(channel=self._channel)
        stubs.delete_topic(DeleteTopicRequest(topic=topic_path(self.project, name)))

    def delete(self, name: str) -> None:
        """Delete a queue as a client does."""
        self.delete_topic(name)
        stubs = SubscriberGrpcTransport(channel=self._channel)
        path = subscription_path(self.project, f"{name}_sub")
        stubs.delete_subscription(DeleteSubscriptionRequest(subscription=path))

    def found(self, page_size: int = 1000) -> dict[str, Found]:
        return {each.name.rpartition("/")[2]: each for each in self.connection.subscriptions(self.project, page_size)}

    def close(self) -> None:
        self.stopping.set()
        self._channel.close()


@pytest.fixture
def lab(emulator: Emulator) -> Iterator[Lab]:
    lab = Lab(emulator.endpoint)
    yield lab
    lab.close()


# --- the list ---------------------------------------------------------------------------------------------------------


def test_a_project_without_subscriptions_has_an_empty_list(lab: Lab) -> None:
    assert lab.found() == {}


@pytest.mark.parametrize("page_size", [1, 2, 5, 1000])
def test_all_pages_of_the_list_are_read(lab: Lab, page_size: int) -> None:
    for number in range(5):
        lab.create(f"exp{number}")
    assert sorted(lab.found(page_size)) == [f"exp{number}_sub" for number in range(5)]


def test_a_subscription_is_listed_with_all_that_the_choice_needs(lab: Lab) -> None:
    lab.create("exp")
    lab.create("orphan")
    lab.delete_topic("orphan")
    lab.subscribe("pushing", "exp", push_config=PushConfig(push_endpoint="https://example.com/push"))
    lab.subscribe("jobs.plain", "exp", filter="NOT attributes:edge_arch")
    found = lab.found()
    assert found["exp_sub"] == Found(
        subscription_path(lab.project, "exp_sub"), topic_path(lab.project, "exp"), "", pulled=True
    )
    assert found["orphan_sub"].topic == DELETED_TOPIC
    assert not found["pushing"].pulled
    assert found["jobs.plain"].filter == "NOT attributes:edge_arch"


def test_what_queue_init_makes_for_queues_with_lanes_is_no_queue_of_clients(lab: Lab, tmp_path: Path) -> None:
    made = world(tmp_path)
    place = Place(lab.project, "jobs")
    PubSubQueue("jobs", place, lab.connection, made.results, SystemClock()).admin(("any-none", PLAIN)).init()
    lab.create("exp")
    assert choose(lab.found().values(), (), Rules()).names == ("exp_sub",)


# --- a server that says no --------------------------------------------------------------------------------------------


@pytest.fixture
def refusing() -> Iterator[Callable[[grpc.StatusCode], str]]:
    """A function that starts a server which answers every call with the code, and returns its address."""
    servers: list[grpc.Server] = []

    def make(code: grpc.StatusCode) -> str:
        class Refusing(grpc.GenericRpcHandler):  # type: ignore[misc]
            def service(self, call: Any) -> Any:
                return grpc.unary_unary_rpc_method_handler(lambda request, context: context.abort(code, "no"))

        server = grpc.server(ThreadPoolExecutor(2), handlers=[Refusing()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield make
    for server in servers:
        server.stop(None).wait(10)


def test_a_list_that_may_not_be_read_is_told_with_the_role_that_may(
    refusing: Callable[[grpc.StatusCode], str],
) -> None:
    connection = Connection(refusing(grpc.StatusCode.PERMISSION_DENIED))
    with pytest.raises(
        Unavailable, match=r"project lab-1 may not be listed; grant .*roles/pubsub.viewer on the project"
    ):
        connection.subscriptions("lab-1")


def test_other_failures_of_the_list_name_the_project(refusing: Callable[[grpc.StatusCode], str]) -> None:
    connection = Connection(refusing(grpc.StatusCode.RESOURCE_EXHAUSTED))
    with pytest.raises(Unavailable, match="the list of subscriptions of project lab-1: a quota is used up"):
        connection.subscriptions("lab-1")


# --- commands ---------------------------------------------------------------------------------------------------------


def test_the_queues_of_a_project_are_shown_and_nothing_is_made(lab: Lab) -> None:
    lab.create("exp1")
    lab.create("other")
    before = lab.found()
    project = PubSubProject(lab.project, Rules(re.compile("exp")), lab.connection)
    assert [(part.kind, part.name, part.state) for part in project.init()] == [("subscription", "exp1_sub", "there")]
    project.check()
    assert lab.found() == before


# --- an agent ---------------------------------------------------------------------------------------------------------


class Agent:
    """The loops of an agent over the project, with a worker."""

    def __init__(self, made: World, lab: Lab) -> None:
        self.made, self.lab = made, lab
        self.stop = threading.Event()
        made.change(queues=Queues({"lab": made.queue}, {"studio": self.make}), clock=SystemClock())
        workers = Workers(made.context, 1)
        self.turns = Turns(made.context, workers)
        project = Project("studio", Rules(), lambda: lab.connection.subscriptions(lab.project), self.make, 3.0)
        self.discovery = Discovery(made.context, project, workers, self.turns)
        self.threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(TURN_LOOPS)]

    def make(self, name: str) -> Queue:
        place, results = Place(self.lab.project, name, plain=True), self.made.results
        parts = PubSubQueue(f"studio:{name}", place, self.lab.connection, results, SystemClock())
        dead_letters = NotedDeadLetters(results, SystemClock())
        (source,) = parts.lanes((), 120.0).values()
        return Queue(f"studio:{name}", source, results, dead_letters, 120.0, senders=parts.senders())

    def _loop(self) -> None:
        while not self.stop.is_set():
            self.stop.wait(self.turns.step(SystemClock().boottime()) - SystemClock().boottime())

    def start(self) -> None:
        self.look()
        for thread in self.threads:
            thread.start()

    def look(self) -> None:
        self.discovery.step(SystemClock().boottime())

    def wait_for(self, *sids: str, timeout: float = 30.0) -> None:
        def over() -> bool:
            return all(self.made.results.committed(sid) for sid in sids)

        wait_until(over, timeout, f"{sids} are over")
        assert {self.made.commit(sid).outcome for sid in sids} == {Outcome.SUCCEEDED}

    def end(self) -> None:
        self.stop.set()
        self.lab.stopping.set()
        for thread in self.threads:
            thread.join(20)


@pytest.fixture
def agent(tmp_path: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    monkeypatch.setattr("agent.watching.TICK", 0.02)
    agent = Agent(world(tmp_path), lab)
    yield agent
    agent.end()
    agent.made.runtime.close()


def test_jobs_of_queues_that_come_later_are_run(agent: Agent, lab: Lab) -> None:
    lab.create("first")
    agent.start()
    lab.publish("first", "job-1")
    agent.wait_for("job-1")
    lab.create("second")
    lab.publish("second", "job-2")
    agent.look()
    agent.wait_for("job-2")
    assert agent.made.attempts("job-2")[0].host == agent.made.host


def test_a_job_is_not_kept_waiting_by_backlogs_of_other_queues(agent: Agent, lab: Lab) -> None:
    for name in ("aaa", "bbb"):
        lab.create(name)
        for number in range(12):
            lab.publish(name, f"{name}-{number}", SLOW_JOB)
    lab.create("single")
    lab.publish("single", "the-one")
    agent.start()
    agent.wait_for("the-one", timeout=60)
    done = sum(agent.made.results.committed(sid) is not None for sid in agent.made.results.sids())
    assert done < 16, "12 s of work were before it, and it lost one race at most, for 4 s"


def test_a_queue_that_is_deleted_while_it_is_watched_is_no_trouble(
    agent: Agent, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.create("first")
    lab.create("second")
    agent.start()
    wait_until(lambda: len(lab.connection._pulls) == 2, what="both are watched")
    lab.delete("first")
    wait_until(lambda: agent.discovery.served() == ("second_sub",), 60, "the deleted one is served no more")
    assert agent.made.context.board.problems() == {}
    assert not [each for each in caplog.records if each.levelname == "WARNING"]
    lab.publish("second", "job-1")
    agent.wait_for("job-1")
