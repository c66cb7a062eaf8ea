"""The bell of a store queue: agents listen over their connection, submitters ring over one of their own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from agent.adapters.mqtt.broker import Broker
from agent.adapters.mqtt.connection import MqttConnection
from agent.adapters.mqtt.session import Message, Session, Subscription
from agent.adapters.mqtt.topics import bell_filters, bell_topic
from agent.errors import BrokerUnavailable

RING_SECONDS = 3.0


class MqttBell:
    """The Bell of one queue, for an agent."""

    def __init__(self, connection: MqttConnection, queue: str) -> None:
        self._connection = connection
        self._queue = queue

    def ring(self, lane: str) -> None:
        """Ring over the agent's connection."""
        if not self._connection.publish(Message(bell_topic(self._queue, lane))):
            raise BrokerUnavailable("there is no connection to the broker")

    def on_ring(self, lanes: Sequence[str], listener: Callable[[], None]) -> None:
        """Call `listener` at each ring, and after each connect: rings before it are lost."""
        for topic_filter in bell_filters(self._queue, lanes):
            self._connection.subscribe(Subscription(topic_filter), lambda received: listener())
        self._connection.on_connect(listener)


class SubmitterBell:
    """The Bell of one queue, for a command that submits and ends: it connects for each ring."""

    def __init__(self, broker: Broker, queue: str) -> None:
        self._broker = broker
        self._queue = queue

    def ring(self, lane: str) -> None:
        """Connect, ring, and leave."""
        session = Session(self._broker, f"edge-agent-submit-{secrets.token_hex(8)}")
        session.open()
        try:
            session.publish(Message(bell_topic(self._queue, lane)), RING_SECONDS)
        finally:
            session.close()

    def on_ring(self, lanes: Sequence[str], listener: Callable[[], None]) -> None:
        """A submitter does not listen: nothing is lost, for it waits for no ring."""
