from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from agent.board import Board, Mode
from agent.errors import Unavailable
from agent.gpu_watch import GpuWatch
from agent.ledger import Ledger
from agent.model.capabilities import Capabilities, CpuFacts, HealthFacts, StorageFacts
from agent.model.share import Share
from agent.presence import PROFILE_REFRESH, RETRY, STATE_EVERY, Presence

from tests.fakes import FakeAdvertiser

EVERY = 300.0
TWO, FOUR = (Capabilities(cpu=CpuFacts(arch="amd64", effective=cpus)) for cpus in (2.0, 4.0))


class BrokenAdvertiser(FakeAdvertiser):
    """An advertiser whose broker is away while `down` is set."""

    down = False

    def capabilities(self, profile: Capabilities, digest: str) -> None:
        self._check()
        super().capabilities(profile, digest)

    def state(self, state: Mapping[str, Any]) -> None:
        self._check()
        super().state(state)

    def _check(self) -> None:
        if self.down:
            raise Unavailable("the broker does not answer")


class Lab:
    """A presence over a host that a test changes."""

    def __init__(self) -> None:
        self.host = TWO
        self.probes = 0
        self.advertiser = BrokenAdvertiser()
        self.board = Board()
        self.ledger = Ledger(self._share(TWO), lambda: 1000)
        self.presence = Presence(
            TWO,
            self._probe,
            self._share,
            self.advertiser,
            self.board,
            self.ledger,
            ("any-none",),
            EVERY,
            GpuWatch(lambda: None, self.board),
        )

    def _probe(self) -> Capabilities:
        self.probes += 1
        return self.host

    def _share(self, profile: Capabilities) -> Share:
        return Share(profile.cpu.effective or 0.0, 1000, 1000)

    @property
    def told(self) -> list[float | None]:
        """The CPUs of every announced profile."""
        return [profile.cpu.effective for profile, _ in self.advertiser.profiles]


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_the_host_is_announced_at_once_without_probing_again(lab: Lab) -> None:
    lab.presence.profile_step(0.0)
    assert (lab.told, lab.probes) == ([2.0], 0)
    assert lab.advertiser.profiles[0] == (TWO, TWO.digest())


def test_a_host_that_stays_as_it_is_is_announced_every_ten_minutes(lab: Lab) -> None:
    for now in range(0, 1900, 10):
        lab.presence.profile_step(float(now))
    assert lab.told == [2.0] * (1 + 1800 // int(PROFILE_REFRESH))
    assert lab.probes == 1800 // int(EVERY)


def test_a_change_is_announced_with_the_probe_that_sees_it_and_changes_the_share(lab: Lab) -> None:
    lab.presence.profile_step(0.0)
    lab.host = FOUR
    lab.presence.profile_step(EVERY - 1)
    assert lab.told == [2.0]
    lab.presence.profile_step(EVERY)
    assert lab.told == [2.0, 4.0]
    assert lab.presence.profile() is FOUR
    assert lab.ledger.share.cpus == 4.0


def test_free_disk_and_health_are_no_change(lab: Lab) -> None:
    lab.presence.profile_step(0.0)
    health = HealthFacts(temperature_c=50.0)
    lab.host = msgspec.structs.replace(TWO, storage=StorageFacts(free_bytes=5), health=health)
    lab.presence.profile_step(EVERY)
    assert lab.told == [2.0]
    assert lab.presence.profile().health == health


def test_a_look_that_is_wished_for_comes_at_the_next_turn_and_once(lab: Lab) -> None:
    lab.presence.profile_step(0.0)
    lab.host = FOUR
    lab.presence.look_again()
    for now in (1.0, 2.0, 3.0):
        lab.presence.profile_step(now)
    assert (lab.told, lab.probes) == ([2.0, 4.0], 1)


def test_an_advert_that_could_not_leave_is_tried_again(lab: Lab) -> None:
    lab.advertiser.down = True
    assert lab.presence.profile_step(0.0) == RETRY
    assert lab.presence.state_step(0.0) == RETRY
    lab.advertiser.down = False
    lab.presence.profile_step(RETRY)
    lab.presence.state_step(RETRY)
    assert lab.told == [2.0]
    assert len(lab.advertiser.states) == 1


def test_the_state_is_announced_on_each_change_and_every_minute(lab: Lab) -> None:
    lab.presence.state_step(0.0)
    lab.presence.state_step(1.0)
    lab.board.set_mode(Mode("paused", "disk", 5.0))
    lab.presence.state_step(2.0)
    lab.presence.state_step(3.0)
    lab.presence.state_step(2.0 + STATE_EVERY)
    assert [(state["state"], state["reason"]) for state in lab.advertiser.states] == [
        ("starting", None),
        ("paused", "disk"),
        ("paused", "disk"),
    ]


def test_the_state_says_what_is_free(lab: Lab) -> None:
    lab.ledger.adopt("job-1.1", Share(0.5, 400, 100))
    lab.board.set_mode(Mode("ready"))
    state = lab.presence.state()
    assert set(state) == {"state", "reason", "by", "lanes", "free", "jobs", "version"}
    assert (state["state"], state["lanes"], state["jobs"]) == ("ready", ["any-none"], [])
    assert state["free"] == {"cpus": 1.5, "memory": 600, "disk": 900, "gpus": ()}
    msgspec.json.encode(state)


def test_who_leaves_says_so_and_a_broker_that_is_away_does_not_keep_it(lab: Lab) -> None:
    lab.presence.leave()
    assert [(state["state"], state["reason"]) for state in lab.advertiser.states] == [("offline", "stopped")]
    lab.advertiser.down = True
    lab.presence.leave()


def test_others_see_an_agent_that_holds_new_work_as_paused_with_the_reason() -> None:
    lab = Lab()
    lab.board.set_mode(Mode("ready"))
    lab.board.hold("outbox", "full")
    assert {key: lab.presence.state()[key] for key in ("state", "reason")} == {
        "state": "paused",
        "reason": "outbox: full",
    }
    lab.board.set_mode(Mode("draining", "for a new disk"))
    assert lab.presence.state()["reason"] == "for a new disk"
    lab.board.set_mode(Mode("ready"))
    lab.board.hold("outbox", None)
    assert lab.presence.state()["state"] == "ready"
