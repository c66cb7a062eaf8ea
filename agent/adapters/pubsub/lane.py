"""One subscription as a JobSource. A handle is the subscription's full name and the ack id, so that every lane can
renew, settle and release the deliveries of all.
"""

from __future__ import annotations

import math
import random
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from google.pubsub_v1.types import ReceivedMessage

from agent.adapters.pubsub.connection import Connection
from agent.errors import Unavailable
from agent.ports import Clock, Delivery, Lease
from agent.pubsub_plan import SID_ATTRIBUTE, Place, belongs, short
from agent.results import Results, is_sid

LONGEST_DEADLINE = 600  # seconds; the most that Pub/Sub grants at once
BETWEEN_EMPTY = 1.0  # seconds between two pulls that find nothing, at least
SHORTEST_DELAY = 2.0  # seconds; with less, a message that nobody takes comes back a thousand times a second
_UNSAFE = re.compile(r"[^A-Za-z0-9._=@+-]")


class PubSubLane:
    """A JobSource over the subscription of one lane; see agent.pubsub_plan."""

    def __init__(
        self,
        queue: str,
        place: Place,
        lane: str,
        connection: Connection,
        results: Results,
        clock: Clock,
        *,
        lease: float,
        random: Callable[[], float] = random.random,
    ) -> None:
        """lease: seconds for which a message is held from each renewal on."""
        self._queue = queue
        self._lane = None if place.plain else lane
        self._subscription = place.subscription(lane)
        self._connection = connection
        self._results = results
        self._clock = clock
        self._lease = math.ceil(lease)
        self._random = random

    def pull(self, timeout: float) -> Delivery | None:
        """Return the next message of the lane, waiting up to `timeout` seconds."""
        until = self._clock.boottime() + timeout
        while True:
            found = self._received(until)
            if found is None:
                return None
            if self._lane is None or belongs(self._lane, found.message.attributes):
                # The subscription's own deadline may be as short as 10 s; what comes of this shows at the renewals.
                self._connection.extend_soon(self._subscription, found.ack_id, self._lease)
                return self._delivery(found)
            # A broker that does not filter gives each lane a copy: the job's own lane has it, too.
            self._connection.acknowledge(self._subscription, found.ack_id)

    def _received(self, until: float) -> ReceivedMessage | None:
        """Return the next message of the subscription, waiting until the time since boot."""
        while True:
            began = self._clock.boottime()
            found = self._connection.pull(self._subscription, until - began)
            # A server may answer at once that it has nothing; asking it more often than each second is no use.
            now = self._clock.boottime()
            pause = began + BETWEEN_EMPTY - now
            # One that says so just before the time is over is not asked again for the rest of it.
            if found is not None or now + BETWEEN_EMPTY >= until or self._connection.rest(pause):
                return found

    def extend(self, leases: Sequence[Lease]) -> frozenset[str]:
        """Hold the messages on, and renew the attempts among them; lost is what another attempt has taken over.

        An ack id that is not valid any more loses nothing: the message comes again and is recognized, here by its
        lease, elsewhere by its attempt.
        """
        failed = self._extend_messages(leases)
        lost = set()
        for lease in leases:
            if lease.n is None or lease.token is None:
                continue
            try:
                if not self._results.renew(lease.sid, lease.n, lease.token):
                    lost.add(lease.sid)
            except Unavailable as error:
                failed = error  # the others may still be renewed
        if failed is not None and not lost:
            raise failed
        return frozenset(lost)

    def settle(self, lease: Lease) -> None:
        """Acknowledge the message; stored at the server when this returns. On a deleted queue nothing is left to do."""
        self._connection.acknowledge(*_opened(lease.handle))

    def release(self, lease: Lease, delay: float) -> None:
        """Let the message come again, to whoever, after `delay` seconds: 2 s at least, 10 minutes at most."""
        soonest = SHORTEST_DELAY * (1 + self._random())
        subscription, ack_id = _opened(lease.handle)
        self._connection.extend(subscription, [ack_id], min(LONGEST_DEADLINE, math.ceil(max(delay, soonest))))

    def _extend_messages(self, leases: Sequence[Lease]) -> Unavailable | None:
        """Hold the messages on; return the last failure."""
        held: dict[str, list[str]] = defaultdict(list)
        for lease in leases:
            subscription, ack_id = _opened(lease.handle)
            held[subscription].append(ack_id)
        failed = None
        for subscription, ack_ids in held.items():
            try:
                self._connection.extend(subscription, ack_ids, self._lease)
            except Unavailable as error:
                failed = error
        return failed

    def _delivery(self, found: ReceivedMessage) -> Delivery:
        message = found.message
        attributes = dict(message.attributes)
        return Delivery(
            queue=self._queue,
            sid=sid_of(self._subscription, message.message_id, attributes),
            body=message.data,
            attributes=attributes,
            handle=f"{self._subscription}\n{found.ack_id}",
            submitted_at=message.publish_time.timestamp(),
        )


def _opened(handle: str) -> tuple[str, str]:
    subscription, _, ack_id = handle.partition("\n")
    return subscription, ack_id


def sid_of(subscription: str, message_id: str, attributes: Mapping[str, str]) -> str:
    """Return the submission id of a message: the one it carries, else one made of subscription and message id."""
    carried = attributes.get(SID_ATTRIBUTE, "")
    if is_sid(carried):
        return carried
    tail = _UNSAFE.sub("_", f"-{message_id}")[-60:]
    return _UNSAFE.sub("_", short(subscription))[: 127 - len(tail)] + tail
