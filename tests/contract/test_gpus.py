"""What every port to the GPUs promises, over a fake and over a host with NVIDIA's files."""

from __future__ import annotations

import pytest
from agent.adapters.gpus import HostGpus
from agent.ports import NO_DEVICES, Gpus

from tests.fakes import FakeGpus
from tests.unit.adapters.test_gpus import TWO, host

UNITS = ("GPU-a", "GPU-b")


@pytest.fixture(params=["fake", "host"])
def gpus(request: pytest.FixtureRequest) -> Gpus:
    return FakeGpus() if request.param == "fake" else HostGpus(host(TWO))


def test_nothing_granted_is_nothing_given(gpus: Gpus) -> None:
    assert gpus.grant(()) == NO_DEVICES


def test_a_unit_has_nodes_that_no_other_one_has(gpus: Gpus) -> None:
    one, other = (set(gpus.grant([unit]).nodes) for unit in UNITS)
    assert one - other
    assert other - one
    assert set(gpus.grant(UNITS).nodes) == one | other


def test_programs_are_told_their_units_and_no_other(gpus: Gpus) -> None:
    assert [gpus.grant([unit]).env["CUDA_VISIBLE_DEVICES"] for unit in UNITS] == list(UNITS)
    assert gpus.grant(UNITS).env["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"


def test_the_same_grant_is_the_same_each_time(gpus: Gpus) -> None:
    assert gpus.grant(UNITS) == gpus.grant(UNITS)
