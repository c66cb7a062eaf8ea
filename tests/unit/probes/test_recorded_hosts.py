"""Every recorded machine is seen as it is known to be: one test for each field of each machine."""

from __future__ import annotations

from functools import cache

import pytest
from agent.adapters.host import RecordedHost
from agent.probes import probe_host

from tests.hosts import RECORDED, Difference, differences, expected, fields, recorded_hosts

_FIELDS = [(name, field) for name in recorded_hosts() for field in fields(expected(name))]


@cache
def _differences(name: str) -> tuple[Difference, ...]:
    return tuple(differences(expected(name), probe_host(RecordedHost(RECORDED / name)).table()))


def _covers(difference: Difference, field: str) -> bool:
    """Whether the difference is that of the field or of something that it is a part of."""
    return field == difference.path or field.startswith((f"{difference.path}.", f"{difference.path}["))


@pytest.mark.parametrize(("name", "field"), _FIELDS)
def test_a_field_of_a_recorded_host_is_seen_as_it_is(name: str, field: str) -> None:
    assert [difference for difference in _differences(name) if _covers(difference, field)] == []


@pytest.mark.parametrize("name", recorded_hosts())
def test_every_difference_would_fail_the_test_of_a_field(name: str) -> None:
    """A profile that knows nothing differs in all fields; none of these differences belongs to no field."""
    blank = probe_host(RecordedHost(RECORDED / name / "_cmd" / "no such host")).table()
    found = list(differences(expected(name), blank))
    known = [field for host, field in _FIELDS if host == name]
    assert found
    assert [each for each in found if not any(_covers(each, field) for field in known)] == []


@pytest.mark.parametrize("name", recorded_hosts())
def test_no_probe_fails_on_a_recorded_host(name: str) -> None:
    profile = probe_host(RecordedHost(RECORDED / name), host_id="recorded")
    assert profile.problems == ()


def test_every_section_is_compared_for_some_host() -> None:
    sections = {section for name in recorded_hosts() for section in expected(name)}
    assert sections >= {"host", "cpu", "memory", "jetson", "accelerators", "health", "runtime", "cuda", "gpus"}
