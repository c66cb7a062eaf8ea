"""What a queue consists of on the server: made where it is missing, compared where it is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from google.pubsub_v1.types import ExpirationPolicy
from google.pubsub_v1.types import Subscription as Message
from grpc import StatusCode

from agent.adapters.pubsub.connection import Connection, called
from agent.adapters.pubsub.errors import unavailable
from agent.errors import Unavailable
from agent.ports import QueuePart
from agent.pubsub_plan import Plan, Subscription, differences, short

PUBLISH, CONSUME = "pubsub.topics.publish", "pubsub.subscriptions.consume"
ROLES = {PUBLISH: "publisher", CONSUME: "subscriber"}


class PubSubAdmin:
    """A QueueAdmin for one plan."""

    def __init__(self, plan: Plan, connection: Connection) -> None:
        self._plan = plan
        self._connection = connection

    def init(self) -> Sequence[QueuePart]:
        """Make what is missing; topics first, for subscriptions need them."""
        return (*map(self._topic, self._topics()), *map(self._subscription, self._plan.subscriptions))

    def check(self) -> None:
        """Try the rights that a host needs: to pull from every lane, and to publish dead letters.

        To publish jobs is the right of submitters; a host of least rights has it not.
        """
        if self._plan.place.dead_topic in self._plan.topics:
            require(self._connection, self._plan.place.dead_topic, PUBLISH)
        for each in self._plan.subscriptions:
            if each.topic != self._plan.place.dead_topic:  # people read the dead letters, not hosts
                require(self._connection, each.name, CONSUME)

    def _topics(self) -> Iterator[str]:
        for topic in self._plan.topics:
            # The subscription of a plain queue may be there already, on a topic that somebody else named.
            theirs = self._plan.place.plain and topic == self._plan.place.topic
            if not theirs or self._connection.subscription(self._plan.subscriptions[0].name) is None:
                yield topic

    def _topic(self, path: str) -> QueuePart:
        return QueuePart("topic", short(path), "made" if self._connection.create_topic(path) else "there")

    def _subscription(self, wanted: Subscription) -> QueuePart:
        name = short(wanted.name)
        found = self._connection.subscription(wanted.name)
        if found is None:
            self._connection.create_subscription(_message(wanted))
            return QueuePart("subscription", name, "made")
        theirs = self._plan.place.plain and wanted.topic == self._plan.place.topic
        problems = differences(wanted, _read(found), plain=theirs)
        return QueuePart("subscription", name, "differs" if problems else "there", problems)


def require(connection: Connection, path: str, permission: str) -> None:
    """Try one right on a topic (PUBLISH) or subscription (CONSUME). Raises Unavailable, also when it is not there."""
    allowed = connection.permitted(path, permission)
    if allowed:
        return
    found = connection.topic(path) if permission == PUBLISH else connection.subscription(path)
    if found is None:
        raise unavailable(StatusCode.NOT_FOUND, called(path), connection.server)
    if allowed is False:
        remedy = f"grant the agent's account roles/pubsub.{ROLES[permission]} there"
        raise Unavailable(f"{called(path)}: the permission {permission} is missing; {remedy}")


def _message(wanted: Subscription) -> Message:
    """Return the request for a subscription; an expiration policy without a time means never."""
    return Message(
        name=wanted.name,
        topic=wanted.topic,
        filter=wanted.filter,
        ack_deadline_seconds=wanted.ack_deadline,
        message_retention_duration=timedelta(days=wanted.retention_days),
        expiration_policy=ExpirationPolicy(),
    )


def _read(found: Message) -> Subscription:
    return Subscription(
        name=found.name,
        topic=found.topic,
        filter=found.filter,
        ack_deadline=found.ack_deadline_seconds,
        retention_days=found.message_retention_duration.total_seconds() / 86400,
        expires=bool(found.expiration_policy.ttl),
        odd=tuple(_odd(found)),
    )


def _odd(found: Message) -> Iterator[str]:
    update = f"`gcloud pubsub subscriptions update {short(found.name)} --project={found.name.split('/')[1]}"
    if found.dead_letter_policy.dead_letter_topic:
        yield f"its dead-letter policy buries jobs that merely wait for a host: {update} --clear-dead-letter-policy`"
    if found.push_config.push_endpoint:
        yield f"it pushes messages to a web server, so that no host can pull them: {update} --push-endpoint=`"
