"""Senders: the fake, and clients on Google's emulator. They delete their queue, and read reports where they want any.

A client's queue is a topic and a subscription of its own making: `jobs` and `jobs_sub`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Protocol

import grpc
import pytest
from agent.adapters.clock import SystemClock
from agent.adapters.pubsub.connection import Connection
from agent.adapters.pubsub.queue import PubSubQueue
from agent.errors import Unavailable
from agent.ports import Delivery, Lease, Senders
from agent.pubsub_plan import Place, subscription_path, topic_path
from agent.results import Results
from google.pubsub_v1.services.publisher.transports.grpc import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports.grpc import SubscriberGrpcTransport
from google.pubsub_v1.types import DeleteSubscriptionRequest, DeleteTopicRequest, Subscription

from tests.fakes import FakeClock, FakeRecords, FakeSenders
from tests.proxy import Proxy
from tests.servers import Emulator

PROJECT = "lab-2"
NUMBERS = count()


class Client:
    """A client's end of a queue, and the agent's."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.topic = topic_path(PROJECT, name)
        self.subscription = subscription_path(PROJECT, f"{name}_sub")
        self.response_topic = topic_path(PROJECT, f"{name}_response")
        self.connection = Connection(endpoint)
        results = Results(FakeRecords(FakeClock()), "mem://results")
        place = Place(PROJECT, f"{name}_sub", plain=True)
        self.queue = PubSubQueue("lab", place, self.connection, results, SystemClock())
        self._channel = grpc.insecure_channel(endpoint)

    def make(self) -> None:
        self.connection.create_topic(self.topic)
        message = Subscription(name=self.subscription, topic=self.topic, ack_deadline_seconds=20)
        self.connection.create_subscription(message)

    def listen(self) -> Callable[[], bytes | None]:
        """Make the response topic with a subscription; return what reads from it."""
        self.connection.create_topic(self.response_topic)
        path = f"{self.subscription}_responses"
        self.connection.create_subscription(Subscription(name=path, topic=self.response_topic))

        def read() -> bytes | None:
            found = self.connection.pull(path, 2.0)
            return None if found is None else found.message.data

        return read

    def delete_topic(self) -> None:
        stubs = PublisherGrpcTransport(channel=self._channel)
        stubs.delete_topic(DeleteTopicRequest(topic=self.topic))

    def delete_subscription(self) -> None:
        stubs = SubscriberGrpcTransport(channel=self._channel)
        stubs.delete_subscription(DeleteSubscriptionRequest(subscription=self.subscription))

    def pulled(self) -> Delivery:
        delivery = self.queue.lanes((), 120.0)["plain"].pull(5.0)
        assert delivery is not None
        return delivery

    def close(self) -> None:
        self._channel.close()


class World(Protocol):
    """A queue, its senders as an agent sees them, and what they do."""

    senders: Senders

    def delete(self) -> None:
        """Begin to delete the queue: parts of it may still be there."""

    def delete_the_rest(self) -> None:
        """Delete what is left of it."""

    def make(self) -> None:
        """Make the queue again."""

    def listen(self) -> Callable[[], bytes | None]:
        """Make a place for reports; return what reads one of them."""

    def break_down(self) -> None:
        """Make the senders unreachable."""


class FakeWorld:
    def __init__(self) -> None:
        self.fake = FakeSenders()
        self.senders: Senders = self.fake

    def delete(self) -> None:
        self.fake.has_queue = False

    def delete_the_rest(self) -> None:
        pass

    def make(self) -> None:
        self.fake.has_queue = True

    def listen(self) -> Callable[[], bytes | None]:
        self.fake.has_place_for_reports = True
        numbers = count()
        return lambda: self.fake.reports[next(numbers)]

    def break_down(self) -> None:
        self.fake.down = True


class EmulatorWorld:
    """The agent reaches the server through a proxy, the client does not need it."""

    def __init__(self, client: Client, proxy: Proxy) -> None:
        name = client.topic.rpartition("/")[2]
        self._client = client
        self._proxy = proxy
        self._far = Client(f"127.0.0.1:{proxy.port}", name)
        self.senders: Senders = self._far.queue.senders()
        self.delete = client.delete_topic
        self.delete_the_rest = client.delete_subscription
        self.make = client.make
        self.listen = client.listen
        self.break_down = proxy.silence

    def close(self) -> None:
        self._far.close()
        self._proxy.close()


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    client = Client(emulator.endpoint, f"studio{next(NUMBERS)}")
    client.make()
    yield client
    client.close()


@pytest.fixture(params=["fake", "emulator"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    made = EmulatorWorld(request.getfixturevalue("client"), Proxy(request.getfixturevalue("emulator").port))
    yield made
    made.close()


def test_a_queue_is_there_until_its_senders_begin_to_delete_it(world: World) -> None:
    assert not world.senders.gone()
    world.delete()
    assert world.senders.gone()
    world.delete_the_rest()
    assert world.senders.gone()


def test_a_queue_that_is_made_again_is_there_again(world: World) -> None:
    world.delete()
    world.delete_the_rest()
    world.make()
    assert not world.senders.gone()


def test_reports_arrive_where_the_senders_made_a_place_for_them(world: World) -> None:
    assert not world.senders.listening()
    read = world.listen()
    assert world.senders.listening()
    world.senders.tell([b"one", b"two"])
    world.senders.tell([b"three"])
    assert sorted(read() or b"" for _ in range(3)) == [b"one", b"three", b"two"]


def test_reports_that_nobody_can_read_are_an_error(world: World) -> None:
    with pytest.raises(Unavailable, match="does not exist"):
        world.senders.tell([b"one"])


def test_senders_out_of_reach_are_an_error_and_delete_no_queue(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CALL_TIMEOUT", "TELL_TIMEOUT"):
        monkeypatch.setattr(f"agent.adapters.pubsub.connection.{name}", 1.0)
    world.listen()
    assert not world.senders.gone()
    world.break_down()
    with pytest.raises(Unavailable):
        world.senders.gone()
    with pytest.raises(Unavailable):
        world.senders.listening()
    with pytest.raises(Unavailable):
        world.senders.tell([b"one"])


# --- what only this broker has --------------------------------------------------------------------------------------


def test_a_queue_with_lanes_is_the_operators_and_never_deleted_by_its_senders(client: Client) -> None:
    parts = (client.connection, Results(FakeRecords(FakeClock()), "mem://results"), SystemClock())
    assert not PubSubQueue("lanes", Place(PROJECT, "nobody-made-it"), *parts).senders().gone()


def test_what_is_held_of_a_deleted_queue_can_be_renewed_released_and_settled(client: Client) -> None:
    client.connection.publish(client.topic, b"{}", {})
    delivery, lane = client.pulled(), client.queue.lanes((), 120.0)["plain"]
    client.delete_topic()
    client.delete_subscription()
    lease = Lease(delivery.sid, delivery.handle)
    other = Lease("other", f"{client.subscription}\nanother-ack-id")
    assert lane.extend([lease, other]) == frozenset()
    lane.release(lease, 10.0)
    lane.settle(lease)


def test_pulling_from_a_deleted_queue_says_that_it_does_not_exist(client: Client) -> None:
    client.delete_subscription()
    with pytest.raises(Unavailable, match="does not exist"):
        client.queue.lanes((), 120.0)["plain"].pull(1.0)
