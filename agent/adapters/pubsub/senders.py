"""Those who put jobs on a queue: clients that make a subscription of their own, and perhaps a topic for reports."""

from __future__ import annotations

from collections.abc import Sequence

from agent.adapters.pubsub.connection import Connection
from agent.pubsub_plan import DELETED_TOPIC, PLAIN, Place


class PubSubSenders:
    """A Senders port over one queue."""

    def __init__(self, place: Place, connection: Connection) -> None:
        self._place = place
        self._connection = connection

    def gone(self) -> bool:
        """Say whether the queue is deleted: topic first, then subscription. One with lanes is the operator's."""
        if not self._place.plain:
            return False
        found = self._connection.subscription(self._place.subscription(PLAIN))
        return found is None or found.topic == DELETED_TOPIC

    def listening(self) -> bool:
        """Say whether there is a topic for reports."""
        return self._connection.topic(self._place.response_topic) is not None

    def tell(self, reports: Sequence[bytes]) -> None:
        """Publish the reports to that topic."""
        self._connection.tell(self._place.response_topic, reports)
