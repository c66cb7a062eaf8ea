"""What `doctor` says of the rights on a queue on Pub/Sub, over a server whose answers are given."""

from __future__ import annotations

import pytest
from agent.adapters.pubsub.admin import CONSUME, PUBLISH, PubSubAdmin
from agent.errors import Unavailable
from agent.pubsub_plan import Place, plan

PLACE = Place("lab-1", "jobs")
LANES = ("any-none", "plain")
LANE = PLACE.subscription("any-none")


class FakeServer:
    """The calls of a Connection that the check makes. denied: (name, permission) that the account has not."""

    server = "pubsub.googleapis.com"

    def __init__(self, *denied: tuple[str, str], missing: tuple[str, ...] = (), knows_rights: bool = True) -> None:
        self.asked: list[tuple[str, str]] = []
        self._denied = denied
        self._missing = missing
        self._knows_rights = knows_rights

    def permitted(self, path: str, permission: str) -> bool | None:
        self.asked.append((path, permission))
        if not self._knows_rights:
            return None
        return path not in self._missing and (path, permission) not in self._denied

    def topic(self, path: str) -> str | None:
        return None if path in self._missing else path

    def subscription(self, path: str) -> str | None:
        return None if path in self._missing else path


def check(server: FakeServer, place: Place = PLACE) -> None:
    PubSubAdmin(plan(place, LANES), server).check()  # type: ignore[arg-type]


def test_the_dead_letters_are_asked_for_publishing_and_each_lane_for_pulling() -> None:
    server = FakeServer()
    check(server)
    assert server.asked == [
        (PLACE.dead_topic, PUBLISH),
        (LANE, CONSUME),
        (PLACE.subscription("plain"), CONSUME),
    ]


def test_jobs_of_a_plain_queue_are_published_by_others() -> None:
    place, server = Place("lab-1", "theirs", plain=True), FakeServer()
    check(server, place)
    assert server.asked == [(place.subscription("plain"), CONSUME)]


def test_a_host_that_may_not_publish_jobs_is_well() -> None:
    check(FakeServer((PLACE.topic, PUBLISH)))


@pytest.mark.parametrize(
    ("path", "permission", "role"),
    [(PLACE.dead_topic, PUBLISH, "publisher"), (LANE, CONSUME, "subscriber")],
)
def test_a_missing_right_is_named_with_the_role_that_has_it(path: str, permission: str, role: str) -> None:
    with pytest.raises(Unavailable, match=f"the permission {permission} is missing; grant .*roles/pubsub.{role} there"):
        check(FakeServer((path, permission)))


@pytest.mark.parametrize("knows_rights", [True, False])
@pytest.mark.parametrize(
    ("path", "said"),
    [(PLACE.dead_topic, "topic jobs-dead in"), (LANE, r"subscription jobs\.any-none in project lab-1")],
)
def test_what_is_not_there_is_no_missing_right(path: str, said: str, knows_rights: bool) -> None:
    with pytest.raises(Unavailable, match=f"^{said}.*: does not exist; make it with `edge-agent queue init`"):
        check(FakeServer(missing=(path,), knows_rights=knows_rights))


def test_a_server_that_knows_no_rights_is_asked_for_the_parts_only() -> None:
    check(FakeServer(knows_rights=False))
