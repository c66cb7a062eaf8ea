from __future__ import annotations

import pytest
from agent.deadletters import StoreLetterBox, lane_of, next_sid
from agent.errors import BrokerUnavailable, StoreUnavailable
from agent.ports import Letter
from agent.results import is_sid

from tests.fakes import FakeBell, FakeClock, FakeRecords


def letter(**attributes: str) -> Letter:
    return Letter("job-1", "lab", "not JSON", "host-a", 0.0, attributes, b"no job", "dead/job-1")


@pytest.mark.parametrize(
    ("sid", "again"),
    [("job-1", "job-1+1"), ("job-1+1", "job-1+2"), ("job-1+9", "job-1+10"), ("a+b", "a+b+1"), ("job+0", "job+0+1")],
)
def test_a_letter_is_put_back_under_an_id_that_follows_from_its_own(sid: str, again: str) -> None:
    assert next_sid(sid) == again


@pytest.mark.parametrize("sid", ["projects/p/subscriptions/s+12", "../../etc", ".hidden", "with space", "x" * 127])
def test_an_id_that_is_none_gets_one_that_is_always_the_same(sid: str) -> None:
    again = next_sid(sid)
    assert is_sid(again)
    assert again == next_sid(sid)
    assert again != next_sid(sid + "?")


@pytest.mark.parametrize(
    ("attributes", "lane"),
    [
        ({"edge_arch": "arm64", "edge_accel": "jetson"}, "arm64-jetson"),
        ({}, None),
        ({"edge_arch": "arm64"}, None),
        ({"edge_arch": "../../etc", "edge_accel": "none"}, None),
    ],
)
def test_only_lanes_that_there_are_count(attributes: dict[str, str], lane: str | None) -> None:
    assert lane_of(letter(**attributes)) == lane


def test_hosts_are_rung_for_when_a_letter_is_put_back() -> None:
    records, bell = FakeRecords(FakeClock()), FakeBell()
    rung: list[str] = []
    bell.on_ring(("arm64-none",), lambda: rung.append("arm64-none"))
    StoreLetterBox(records, bell).send(letter(edge_arch="arm64", edge_accel="none"), "job-1+1")
    assert rung == ["arm64-none"]
    assert list(records.list("pending/arm64-none/").records) == ["job-1+1"]


def test_a_letter_is_put_back_although_nobody_can_be_rung_for() -> None:
    class Broken(FakeBell):
        def ring(self, lane: str) -> None:
            raise BrokerUnavailable("gone")

    records = FakeRecords(FakeClock())
    StoreLetterBox(records, Broken()).send(letter(), "job-1+1")
    assert list(records.list("pending/any-none/").records) == ["job-1+1"]


@pytest.mark.parametrize("body", [b"{", b'{"sid": "a"}', b"\xff"])
def test_a_letter_that_is_damaged_is_named(body: bytes) -> None:
    records = FakeRecords(FakeClock())
    records.put("dead/job-1", body)
    with pytest.raises(StoreUnavailable, match="dead/job-1"):
        list(StoreLetterBox(records).letters())
