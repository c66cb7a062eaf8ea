"""LogSink and LogFeed: the fake, and a real broker that goes away and comes back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest
from agent.adapters.mqtt import MqttConnection, MqttLogFeed, MqttLogSink, broker_of
from agent.adapters.mqtt.session import Message
from agent.adapters.mqtt.topics import log_topic
from agent.config.mqtt import MqttSection
from agent.model.live import Progress, Word
from agent.ports import LogFeed, LogSink

from tests.fakes import FakeWords
from tests.servers import Mosquitto
from tests.waiting import wait_until

SID = "20261123-101502-3f9a1c2b+1"  # of a job that was put back, with a character that topics have a use for


class World(Protocol):
    """A broker, and a host that tells over it."""

    sink: LogSink

    def feed(self, sid: str) -> LogFeed:
        """Return a feed that hears already."""

    def break_down(self) -> None:
        """Let the broker vanish."""

    def repair(self) -> None:
        """Let it come back."""


class FakeWorld:
    def __init__(self) -> None:
        self.words = FakeWords()
        self.sink: LogSink = self.words

    def feed(self, sid: str) -> LogFeed:
        return self.words.feed(sid)

    def break_down(self) -> None:
        self.words.down = True

    def repair(self) -> None:
        self.words.down = False


class BrokerWorld:
    def __init__(self, server: Mosquitto) -> None:
        self.server = server
        self.broker = broker_of(MqttSection(url=server.url))
        self.connection = MqttConnection(self.broker, "host-a")
        self.sink: LogSink = MqttLogSink(self.connection)
        self.feeds: list[MqttLogFeed] = []
        connected = threading.Event()
        self.connection.on_connect(connected.set)
        self.connection.start()
        assert connected.wait(10)

    def feed(self, sid: str) -> LogFeed:
        self.feeds.append(MqttLogFeed(self.broker, sid))
        _until_heard(self.sink, self.feeds[-1], sid)
        return self.feeds[-1]

    def break_down(self) -> None:
        self.server.stop(signal.SIGKILL)
        wait_until(lambda: not self.sink.tell(SID, Word(1, 0)), 10, "the host knows that the broker is gone")

    def repair(self) -> None:
        self.server.start()

    def close(self) -> None:
        for each in self.feeds:
            each.close()
        self.connection.close()


def _until_heard(sink: LogSink, feed: LogFeed, sid: str) -> None:
    """Tell until it is heard, and return when all of that has come."""
    wait_until(lambda: sink.tell(sid, Word(0, 0)) and feed.wait(0.1), 30, "words are heard")
    last = Word(0, 1)
    assert sink.tell(sid, last)
    wait_until(lambda: last in feed.take(), 10, "the last word is heard")


@pytest.fixture(params=["fake", "mosquitto"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    make: Callable[..., Mosquitto] = request.getfixturevalue("new_mosquitto")
    broker = BrokerWorld(make())
    yield broker
    broker.close()


def taken(feed: LogFeed, count: int) -> tuple[Word, ...]:
    """Return that many words, once they have come."""
    words: list[Word] = []

    def all_here() -> bool:
        feed.wait(0.1)
        words.extend(feed.take())
        return len(words) >= count

    wait_until(all_here, 10, f"{count} words come")
    return tuple(words)


def test_words_come_in_order_and_byte_for_byte(world: World) -> None:
    feed = world.feed(SID)
    words = [Word(1, 256 * number, bytes(range(256))) for number in range(20)]
    words += [Word(1, 5120, progress=Progress("run", 1.0, 2.5, 40)), Word(1, 5120, over=True)]
    for word in words:
        assert world.sink.tell(SID, word)
    assert taken(feed, len(words)) == tuple(words)
    assert feed.take() == ()


def test_a_feed_hears_of_its_own_job_only(world: World) -> None:
    feed, other = world.feed(SID), world.feed("job-2")
    world.sink.tell("job-2", Word(1, 0, b"other"))
    world.sink.tell(SID, Word(1, 0, b"mine"))
    assert taken(feed, 1) == (Word(1, 0, b"mine"),)
    assert taken(other, 1) == (Word(1, 0, b"other"),)


def test_waiting_ends_without_a_word_and_at_once_with_one(world: World) -> None:
    feed = world.feed(SID)
    assert not feed.wait(0.01)
    world.sink.tell(SID, Word(1, 0, b"x"))
    assert feed.wait(10)
    assert feed.wait(0)


def test_without_the_broker_words_are_lost_and_heard_again_when_it_is_back(world: World) -> None:
    feed = world.feed(SID)
    world.break_down()
    assert not world.sink.tell(SID, Word(1, 0, b"lost"))
    wait_until(lambda: feed.problem() is not None, 10, "the follower knows that the broker is gone")
    world.repair()
    _until_heard(world.sink, feed, SID)
    assert feed.problem() is None
    assert world.sink.tell(SID, Word(1, 4, b"heard"))
    assert taken(feed, 1) == (Word(1, 4, b"heard"),)


def test_who_comes_late_hears_only_what_is_told_from_then_on(world: World) -> None:
    world.sink.tell(SID, Word(1, 0, b"early"))
    feed = world.feed(SID)
    world.sink.tell(SID, Word(1, 5, b"late"))
    assert taken(feed, 1) == (Word(1, 5, b"late"),)


def test_a_message_that_is_no_word_is_passed_over(mosquitto: Mosquitto) -> None:
    world = BrokerWorld(mosquitto)
    try:
        feed = world.feed(SID)
        for body in (b"", b"{", b"\xff", b'{"n": "one"}', b"[]"):
            assert world.connection.publish(Message(log_topic(SID), body))
        world.sink.tell(SID, Word(1, 0, b"x"))
        assert taken(feed, 1) == (Word(1, 0, b"x"),)
    finally:
        world.close()


def test_an_id_is_one_level_of_a_topic_without_wildcards() -> None:
    assert log_topic(SID) == "edge-agent/v1/jobs/20261123-101502-3f9a1c2b%2B1/log"
