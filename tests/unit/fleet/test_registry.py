from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest
from agent.fleet.registry import STALE_SECONDS, UNKNOWN, HostView, fold
from agent.model.capabilities import Capabilities, CpuFacts, HostFacts, Problem
from agent.ports import Advert

PROFILE = Capabilities(host=HostFacts(id="a"), cpu=CpuFacts(arch="arm64", effective=4.0))


def advert(host: str, kind: Literal["capabilities", "state"], table: Any, age: float | None = 1.0) -> Advert:
    return Advert(host, kind, msgspec.json.encode(table), age)


def state(host: str = "a", name: str = "ready", age: float | None = 1.0, **more: Any) -> Advert:
    return advert(host, "state", {"state": name, "instance": f"{host}-1", **more}, age)


def only(*adverts: Advert) -> HostView:
    (host,) = fold(adverts).hosts
    return host


def test_no_adverts_are_an_empty_fleet() -> None:
    assert fold([]).hosts == ()


def test_a_host_is_its_capabilities_and_its_last_state() -> None:
    told = state(reason="why", lanes=["any-none"], free={"cpus": 2}, jobs=["j-1"], version="1.2", age=7.0)
    host = only(state(name="starting"), advert("a", "capabilities", PROFILE.table()), told)
    assert (host.id, host.state, host.reason, host.age, host.version) == ("a", "ready", "why", 7.0, "1.2")
    assert (host.lanes, host.free, host.jobs) == (("any-none",), {"cpus": 2}, ("j-1",))
    assert host.capabilities == PROFILE
    assert host.digest == PROFILE.digest()
    assert host.problems == ()


def test_hosts_are_sorted_by_id() -> None:
    assert [host.id for host in fold([state("b"), state("a"), state("c")]).hosts] == ["a", "b", "c"]


def test_a_host_that_told_only_what_it_is_has_no_known_state() -> None:
    host = only(advert("a", "capabilities", PROFILE.table()))
    assert (host.state, host.age, host.stale) == (UNKNOWN, None, False)


@pytest.mark.parametrize(
    ("name", "age", "stale"),
    [
        ("ready", STALE_SECONDS + 1, True),
        ("ready", STALE_SECONDS, False),
        ("ready", None, False),
        ("offline", 9999.0, False),
    ],
)
def test_a_host_is_stale_that_went_silent_without_goodbye(name: str, age: float | None, stale: bool) -> None:
    assert only(state(name=name, age=age)).stale is stale


def test_two_living_instances_of_one_id_are_a_problem_that_names_both() -> None:
    view = fold([state(instance="x"), state(instance="y")])
    assert [host.id for host in view.duplicates] == ["a"]
    assert view.hosts[0].problems == ("several agents use this id: x, y; set another agent.id",)


def test_an_instance_that_went_offline_is_no_duplicate() -> None:
    view = fold([state(instance="x"), state(instance="x", name="offline"), state(instance="y")])
    assert view.duplicates == ()
    assert view.hosts[0].instances == ("y",)


def test_problems_of_the_host_are_problems_of_the_fleet() -> None:
    profile = msgspec.structs.replace(PROFILE, problems=(Problem("gpu", "gone"),))
    assert only(advert("a", "capabilities", profile.table())).problems == ("gpu: gone",)


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'{"reason": "no state"}', b"\xff"])
def test_an_advert_that_cannot_be_read_is_a_problem_and_spoils_nothing_else(body: bytes) -> None:
    host = only(state(), Advert("a", "state", body, 1.0))
    assert host.state == "ready"
    assert len(host.problems) == 1
    assert host.problems[0].startswith("state cannot be read: ")


def test_capabilities_of_another_schema_are_not_guessed_at() -> None:
    host = only(advert("a", "capabilities", {**PROFILE.table(), "schema": "edge-agent/capabilities/v9"}))
    assert host.capabilities is None
    assert "edge-agent/capabilities/v9" in host.problems[0]


def test_keys_of_later_releases_are_passed_over() -> None:
    host = only(state(later=True), advert("a", "capabilities", {**PROFILE.table(), "later": {}}))
    assert (host.state, host.capabilities) == ("ready", PROFILE)
