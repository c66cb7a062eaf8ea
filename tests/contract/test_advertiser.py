"""What every Advertiser promises, over the fake and over the log; and what the log shows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from agent.adapters.logged import LogAdvertiser
from agent.model.capabilities import Capabilities, CpuFacts, HostFacts, MemoryFacts, RuntimeFacts
from agent.ports import Advertiser

from tests.fakes import FakeAdvertiser

STATE: dict[str, Any] = {
    "state": "ready",
    "reason": None,
    "lanes": ["any-none"],
    "free": {},
    "jobs": [],
    "version": "1",
}
KNOWN = Capabilities(
    host=HostFacts(id="host-a"),
    cpu=CpuFacts(arch="arm64", effective=4.0),
    memory=MemoryFacts(effective_bytes=8 * 1024**3),
    runtime=RuntimeFacts(name="apptainer", archs=("arm64",), emulated=("amd64",)),
)


@pytest.fixture(params=[FakeAdvertiser, LogAdvertiser])
def advertiser(request: pytest.FixtureRequest) -> Advertiser:
    make: Callable[[], Advertiser] = request.param
    return make()


@pytest.mark.parametrize("profile", [Capabilities(), KNOWN], ids=["nothing known", "known"])
def test_any_host_can_be_announced_again_and_again(advertiser: Advertiser, profile: Capabilities) -> None:
    for _ in range(2):
        advertiser.capabilities(profile, profile.digest())


@pytest.mark.parametrize("name", ["starting", "ready", "paused", "draining", "faulty", "offline"])
def test_any_state_can_be_announced(advertiser: Advertiser, name: str) -> None:
    advertiser.state({**STATE, "state": name})


def test_what_is_announced_may_be_changed_afterwards() -> None:
    advertiser, state = FakeAdvertiser(), dict(STATE)
    advertiser.state(state)
    state["state"] = "paused"
    advertiser.state(state)
    assert [each["state"] for each in advertiser.states] == ["ready", "paused"]


def test_the_log_shows_a_host_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "agent"):
        LogAdvertiser().capabilities(KNOWN, "0123456789abcdef")
        LogAdvertiser().state(STATE)
    (record,) = caplog.records
    shown = {key: getattr(record, key) for key in ("event", "digest", "arch", "cpus", "memory", "runtime", "emulated")}
    assert shown == {
        "event": "capabilities",
        "digest": "0123456789ab",
        "arch": "arm64",
        "cpus": 4.0,
        "memory": 8 * 1024**3,
        "runtime": "apptainer",
        "emulated": ["amd64"],
    }


def test_the_log_shows_everything_at_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "agent"):
        LogAdvertiser().capabilities(KNOWN, KNOWN.digest())
        LogAdvertiser().state(STATE)
    events = {getattr(record, "event", None): record for record in caplog.records}
    assert vars(events["capabilities-whole"])["profile"] == KNOWN.table()
    assert vars(events["state"])["lanes"] == ["any-none"]
