"""Which subscriptions of a project are queues of clients, and which of those this agent serves. Pure.

A client of StudioML makes the topic NAME and the subscription NAME_sub, and calls its queue NAME. Everything else that
lies in a project is left alone: what it holds is not for hosts, or hosts get it in another way.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from agent.pubsub_plan import ARCH_ATTRIBUTE, DELETED_TOPIC, LANES, Place, short

MOST = 256  # queues that one agent serves of a project
_SUBSCRIPTION, _RESPONSE, _DEAD = "_sub", "_response", "-dead"


class Found(NamedTuple):
    """A subscription as the server lists it. name and topic are full names, but for DELETED_TOPIC.

    pulled: hosts may pull from it; false where it pushes, exports or is detached.
    """

    name: str
    topic: str
    filter: str = ""
    pulled: bool = True


class Rules(NamedTuple):
    """Which queues to serve: those whose name `match` finds and `mismatch` does not, None = all or none.

    others: the queues in this project that the agent serves by their own names.
    """

    match: re.Pattern[str] | None = None
    mismatch: re.Pattern[str] | None = None
    others: Sequence[Place] = ()

    def want(self, queue: str) -> bool:
        """Say whether the rules name the queue."""
        if self.match is not None and self.match.search(queue) is None:
            return False
        return self.mismatch is None or self.mismatch.search(queue) is None


class Choice(NamedTuple):
    """The short names of the subscriptions to serve, sorted; and of how many more there is no room for."""

    names: tuple[str, ...]
    left_out: int = 0


def choose(found: Iterable[Found], served: Collection[str], rules: Rules, most: int = MOST) -> Choice:
    """Return the subscriptions to serve, at most `most`; what is `served` already goes first."""
    found = tuple(found)
    # Messages for lanes come through their lanes; another subscription there has copies of all jobs.
    native = {place.topic for place in rules.others if not place.plain}
    native.update(each.topic for each in found if _is_lane(each))
    names = [short(each.name) for each in found if each.topic not in native and _is_queue(each)]
    taken = {name for place in rules.others for name in _names_of(place)}
    wanted = [name for name in names if name not in taken and rules.want(queue_of(name))]
    wanted.sort(key=lambda name: (name not in served, name))
    return Choice(tuple(sorted(wanted[:most])), max(0, len(wanted) - most))


def queue_of(subscription: str) -> str:
    """Return what clients call the queue with this subscription."""
    return subscription.removesuffix(_SUBSCRIPTION)


def _is_lane(found: Found) -> bool:
    return ARCH_ATTRIBUTE in found.filter


def _is_queue(found: Found) -> bool:
    """Say whether somebody who is neither this agent's operator nor a reader of answers made it for hosts."""
    name, topic = short(found.name), short(found.topic)
    if not found.pulled or found.topic == DELETED_TOPIC:
        return False
    return not any(
        (queue_of(name).endswith(_RESPONSE), topic.endswith(_RESPONSE), name.endswith(_DEAD), topic.endswith(_DEAD))
    )


def _names_of(place: Place) -> Iterable[str]:
    return (short(place.subscription(lane)) for lane in LANES)
