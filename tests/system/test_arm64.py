"""The packages for 64-bit ARM on a host of this architecture, whose programs an emulator runs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.system.built import BUILD_TIMEOUT, VERSION, Packages
from tests.system.machine import Machine
from tests.system.roots import BUILD_TIMEOUT as ROOT_TIMEOUT
from tests.system.roots import root_of
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(BUILD_TIMEOUT + ROOT_TIMEOUT + 900)
# An emulated agent looks at its host and is ready.
START_TIMEOUT = 300.0


@pytest.fixture(scope="module")
def host(arm_packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host with the package in /root. The tests of this file follow on each other on it."""
    with Machine("arm64", root_of("bookworm", "arm64"), tmp_path_factory.mktemp("arm64")) as made:
        made.copy_in(arm_packages.deb, f"/root/{arm_packages.deb.name}")
        yield made


def test_it_installs_and_knows_its_host(host: Machine, arm_packages: Packages) -> None:
    host.do("apt-get", "install", "-y", f"/root/{arm_packages.deb.name}")
    assert host.do("edge-agent", "--version").strip() == f"edge-agent {VERSION}"
    profile = json.loads(host.do("edge-agent", "probe", "--json", user="edge-agent"))
    assert profile["cpu"]["arch"] == "arm64"


def test_its_service_starts_and_stops(host: Machine) -> None:
    host.do("systemctl", "enable", "--now", "edge-agent")
    wait_until(lambda: "ready" in host.run("edge-agent", "status", user="edge-agent").out, START_TIMEOUT, "it is ready")
    host.do("systemctl", "stop", "edge-agent", "edge-jobs")
    assert host.prop("edge-agent", "Result") == "success"
