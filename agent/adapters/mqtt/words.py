"""What followed jobs print, over the broker: hosts tell over their connection, a follower listens over its own."""

from __future__ import annotations

import secrets
import threading
from collections import deque

import msgspec

from agent.adapters.mqtt.broker import Broker
from agent.adapters.mqtt.connection import MqttConnection
from agent.adapters.mqtt.session import Message, Received, Subscription
from agent.adapters.mqtt.topics import log_topic
from agent.model.live import Word

KEPT = 256  # words that wait for a follower who does not take them: 4 MiB


class MqttLogSink:
    """A LogSink over the agent's connection."""

    def __init__(self, connection: MqttConnection) -> None:
        self._connection = connection

    def tell(self, sid: str, word: Word) -> bool:
        """Publish the word now or never."""
        return self._connection.publish(Message(log_topic(sid), msgspec.json.encode(word)))


class MqttLogFeed:
    """A LogFeed with a connection of its own, opened in the background and again whenever it is lost."""

    def __init__(self, broker: Broker, sid: str) -> None:
        self._changed = threading.Condition()
        self._words: deque[Word] = deque(maxlen=KEPT)
        self._problem: str | None = None
        name = f"edge-agent-follow-{secrets.token_hex(8)}"
        self._connection = MqttConnection(broker, name, report=self._report, is_quiet=True)
        self._connection.subscribe(Subscription(log_topic(sid)), self._heard)
        self._connection.start()

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a word; say whether there is one."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._words), timeout)

    def take(self) -> tuple[Word, ...]:
        """Return what came since the last call."""
        with self._changed:
            words = tuple(self._words)
            self._words.clear()
            return words

    def problem(self) -> str | None:
        """Return why nothing can be heard now."""
        return self._problem

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _report(self, problem: str | None) -> None:
        self._problem = problem

    def _heard(self, received: Received) -> None:
        try:
            word = msgspec.json.decode(received.body, type=Word)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return  # from another release, or from somebody who is no agent: like a word that was lost
        with self._changed:
            self._words.append(word)
            self._changed.notify_all()
