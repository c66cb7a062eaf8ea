"""The dead letters on Pub/Sub, leased while somebody looks at them."""

from __future__ import annotations

from collections.abc import Iterator

from google.pubsub_v1.types import ReceivedMessage

from agent.adapters.pubsub.connection import Connection
from agent.adapters.pubsub.sending import HOST, REASON, SID, PubSubSubmitter
from agent.deadletters import lane_of
from agent.ports import Letter
from agent.pubsub_plan import PLAIN, SID_ATTRIBUTE, Place, short, subscription_path

HELD = 600  # seconds, the most that Pub/Sub grants: what one look, and all that is done in it, may take
AT_ONCE = 100  # letters in one pull
QUIET = 3.0  # seconds without a letter after which there is none
LET_GO_AT_ONCE = 500  # ack ids in one call: the server takes 512 KiB


class PubSubLetterBox:
    """A LetterBox over the subscription of a queue's dead letters."""

    def __init__(self, queue: str, place: Place, connection: Connection, submitter: PubSubSubmitter) -> None:
        self._queue = queue
        self._connection = connection
        self._submitter = submitter
        self._subscription = subscription_path(place.project, short(place.dead_topic))
        self._held: dict[str, None] = {}  # ack ids, oldest first

    def letters(self) -> Iterator[Letter]:
        """Yield the letters that the server hands out until it has none for some seconds; each is held meanwhile."""
        seen: set[str] = set()
        while found := self._connection.pull_some(self._subscription, AT_ONCE, QUIET):
            ack_ids = [each.ack_id for each in found]
            self._held.update(dict.fromkeys(ack_ids))
            self._connection.extend(self._subscription, ack_ids, HELD)
            for each in found:
                if each.message.message_id not in seen:  # one that was held for too long comes again
                    seen.add(each.message.message_id)
                    yield self._letter(each)

    def _letter(self, found: ReceivedMessage) -> Letter:
        message = found.message
        attributes = dict(message.attributes)
        reason, host, sid = (attributes.pop(name, "") for name in (REASON, HOST, SID))
        at = message.publish_time.timestamp()
        sid = sid or f"{short(self._subscription)}-{message.message_id}"
        return Letter(sid, self._queue, reason, host, at, attributes, message.data, found.ack_id)

    def send(self, letter: Letter, sid: str) -> None:
        """Publish the message to its lane; stored at the server when this returns."""
        topic = self._submitter.topic(lane_of(letter) or PLAIN)
        self._connection.publish(topic, letter.body or b"", {**letter.attributes, SID_ATTRIBUTE: sid})

    def remove(self, letter: Letter) -> None:
        """Acknowledge the letter."""
        self._connection.acknowledge(self._subscription, letter.handle)
        self._held.pop(letter.handle, None)

    def close(self) -> None:
        """Let the letters that are left be seen by others at once."""
        held = list(self._held)
        self._held.clear()
        for start in range(0, len(held), LET_GO_AT_ONCE):
            self._connection.extend(self._subscription, held[start : start + LET_GO_AT_ONCE], 0)
