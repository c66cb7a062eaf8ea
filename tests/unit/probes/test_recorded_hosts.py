"""Every recorded machine is seen as it is known to be."""

from __future__ import annotations

import pytest
from agent.adapters.host import RecordedHost
from agent.probes import probe_host

from tests.hosts import RECORDED, differences, expected, recorded_hosts

# The parts of the profile that are probed: all others are left out of the comparison.
_COMPARED = {
    "host": ("container", "virtualization"),
    "cpu": None,
    "memory": ("total_bytes", "effective_bytes"),
    "runtime": None,
    "storage": None,
}


def _probed_part(facts: dict[str, dict[str, object]]) -> dict[str, object]:
    return {
        section: {key: value for key, value in facts[section].items() if keys is None or key in keys}
        for section, keys in _COMPARED.items()
        if section in facts
    }


@pytest.mark.parametrize("name", recorded_hosts())
def test_a_recorded_host_is_seen_as_it_is(name: str) -> None:
    profile = probe_host(RecordedHost(RECORDED / name))
    wanted = _probed_part(expected(name))
    assert list(differences(wanted, profile.table())) == []


@pytest.mark.parametrize("name", recorded_hosts())
def test_no_probe_fails_on_a_recorded_host(name: str) -> None:
    profile = probe_host(RecordedHost(RECORDED / name), host_id="recorded")
    assert profile.problems == ()


def test_every_section_is_compared_for_some_host() -> None:
    sections = {section for name in recorded_hosts() for section in _probed_part(expected(name))}
    assert sections >= {"host", "cpu", "memory", "runtime"}
