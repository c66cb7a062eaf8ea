"""Messages onto Pub/Sub: submitted jobs, and dead letters."""

from __future__ import annotations

from collections.abc import Sequence

from agent.adapters.pubsub.connection import Connection
from agent.errors import InvalidInput
from agent.model.job import parse_job
from agent.model.records import Burial, Submission
from agent.ports import Clock, Delivery, Queued
from agent.pubsub_plan import PLAIN, SID_ATTRIBUTE, Place, attributes_of, short
from agent.results import Results
from agent.wire import encode

# Limits of Pub/Sub: an attribute's value in bytes, and attributes a message, less those that are added here.
_VALUE_BYTES = 1024
_ATTRIBUTES = 96
# What a dead letter's attributes say besides those of its message.
REASON, HOST, SID = "reason", "host", "sid"


class PubSubSubmitter:
    """A Submitter over a topic with lanes, or over the topic of a plain queue's subscription."""

    def __init__(self, queue: str, place: Place, connection: Connection, results: Results) -> None:
        self._queue = queue
        self._place = place
        self._connection = connection
        self._results = results

    def submit(self, submission: Submission, body: bytes | None = None) -> None:
        """Record the job, then publish it with its lane and id. Raises InvalidInput for a lane that nobody made."""
        topic = self.topic(submission.lane)
        message = encode(parse_job(submission.job)) if body is None else body
        lane = PLAIN if self._place.plain else submission.lane
        self._results.submit(submission)
        self._connection.publish(topic, message, {**attributes_of(lane), SID_ATTRIBUTE: submission.sid})

    def topic(self, lane: str) -> str:
        """Return where the jobs of the lane are published; a message without a subscription would be lost at once.

        Raises InvalidInput for a lane that nobody made.
        """
        path = self._place.subscription(lane)
        found = self._connection.subscription(path)
        if found is None:
            option = "" if self._place.plain else f" --lanes {lane}"
            raise InvalidInput(
                f'queue "{self._queue}" has no lane "{lane}": subscription {short(path)} does not exist',
                hint=f"`edge-agent queue init {self._queue}{option}` makes it",
            )
        return found.topic if self._place.plain else self._place.topic

    def waiting(self) -> Sequence[Queued]:
        """Return nothing: Pub/Sub does not show what is in a subscription."""
        return ()

    def body(self, sid: str) -> bytes | None:
        """Return nothing; see `waiting`."""
        return None

    def withdraw(self, sid: str) -> None:
        """Leave the message to the host that gets it: it finds the commit and acknowledges."""


class PubSubDeadLetters:
    """A DeadLetters port over a topic. The results store knows of each, so that its submitter sees it."""

    def __init__(self, place: Place, connection: Connection, results: Results, clock: Clock) -> None:
        self._place = place
        self._connection = connection
        self._results = results
        self._clock = clock

    def bury(self, delivery: Delivery, reason: str, host: str) -> None:
        """Publish the message with `reason`, `host` and `sid` among its attributes, then note it in the results."""
        if self._results.burial(delivery.sid) is not None:
            return
        kept = dict(list(delivery.attributes.items())[:_ATTRIBUTES])
        told = {REASON: _cut(reason), HOST: host, SID: _cut(delivery.sid)}
        self._connection.publish(self._place.dead_topic, delivery.body, {**kept, **told})
        self._results.bury(delivery.sid, Burial(reason, host, self._clock.time()))

    def find(self, sid: str) -> Burial | None:
        """Return why and when a message was buried, or None."""
        return self._results.burial(sid)

    def sids(self) -> tuple[str, ...]:
        """Return nothing: the results store lists them all."""
        return ()


def _cut(text: str) -> str:
    return text.encode()[:_VALUE_BYTES].decode(errors="ignore")
