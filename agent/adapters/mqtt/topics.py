"""The topics of the agents on a broker.

edge-agent/v1/hosts/<host>/capabilities     retained: edge-agent/capabilities/v1
edge-agent/v1/hosts/<host>/state            retained: {state, reason, by, lanes, free, jobs, version, instance}
edge-agent/v1/bell/<queue>/<lane>           empty, not retained: a job waits there
edge-agent/v1/bell/@hosts/<host>            the same: somebody wants something of the host, see agent.hosts
edge-agent/v1/jobs/<sid>/log                not retained: agent.model.live.Word, while somebody follows the job
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from agent.results import key_part

ROOT = "edge-agent/v1"
ALL_HOSTS = f"{ROOT}/hosts/+/+"
ALL_LOGS = f"{ROOT}/jobs/+/log"
Kind = Literal["capabilities", "state"]
_KINDS: dict[str, Kind] = {"capabilities": "capabilities", "state": "state"}


class HostTopic(NamedTuple):
    """What a topic below hosts/ is about."""

    host: str
    kind: Kind


def host_topic(host: str, kind: Kind) -> str:
    """Return the topic of an advert."""
    return f"{ROOT}/hosts/{host}/{kind}"


def parse_host_topic(topic: str) -> HostTopic | None:
    """Return what the topic of an advert says; None for any other topic."""
    host, _, kind = topic.removeprefix(f"{ROOT}/hosts/").partition("/")
    if not topic.startswith(f"{ROOT}/hosts/") or not host or kind not in _KINDS:
        return None
    return HostTopic(host, _KINDS[kind])


def log_topic(sid: str) -> str:
    """Return the topic of what a job prints."""
    return f"{ROOT}/jobs/{key_part(sid)}/log"


def bell_topic(queue: str, lane: str) -> str:
    """Return the topic of the bell of one lane."""
    return f"{ROOT}/bell/{queue}/{lane}"


def bell_filters(queue: str, lanes: Sequence[str]) -> tuple[str, ...]:
    """Return the topic filters of the bells of `lanes`; "*" is all lanes of the queue."""
    return tuple(bell_topic(queue, "+" if lane == "*" else lane) for lane in lanes)
