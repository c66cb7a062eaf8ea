"""Every recorded machine is seen as it is known to be."""

from __future__ import annotations

import pytest
from agent.adapters.host import RecordedHost
from agent.probes import probe_host

from tests.hosts import RECORDED, differences, expected, recorded_hosts


@pytest.mark.parametrize("name", recorded_hosts())
def test_a_recorded_host_is_seen_as_it_is(name: str) -> None:
    profile = probe_host(RecordedHost(RECORDED / name))
    assert list(differences(expected(name), profile.table())) == []


@pytest.mark.parametrize("name", recorded_hosts())
def test_no_probe_fails_on_a_recorded_host(name: str) -> None:
    profile = probe_host(RecordedHost(RECORDED / name), host_id="recorded")
    assert profile.problems == ()


def test_every_section_is_compared_for_some_host() -> None:
    sections = {section for name in recorded_hosts() for section in expected(name)}
    assert sections >= {"host", "cpu", "memory", "jetson", "accelerators", "health", "runtime", "cuda", "gpus"}
