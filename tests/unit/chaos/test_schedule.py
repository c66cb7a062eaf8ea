from __future__ import annotations

from itertools import pairwise

import pytest

from tests.chaos.jobs import EXPECTED, WEIGHTS
from tests.chaos.schedule import LANES, REST, faults, tasks

KINDS = tuple(LANES)


def test_one_seed_is_one_schedule() -> None:
    assert faults(7, KINDS, 3, 60, 10) == faults(7, KINDS, 3, 60, 10)
    assert tasks(7, WEIGHTS, 50, 60) == tasks(7, WEIGHTS, 50, 60)


def test_another_seed_is_another_schedule() -> None:
    assert faults(7, KINDS, 3, 60, 10) != faults(8, KINDS, 3, 60, 10)
    assert tasks(7, WEIGHTS, 50, 60) != tasks(8, WEIGHTS, 50, 60)


@pytest.mark.parametrize("seed", range(5))
def test_each_kind_of_fault_and_of_job_comes(seed: int) -> None:
    assert {fault.kind for fault in faults(seed, KINDS, 3, 10, 10)} == set(KINDS)
    assert {task.kind for task in tasks(seed, WEIGHTS, len(WEIGHTS), 10)} == set(EXPECTED)


@pytest.mark.parametrize("seed", range(5))
def test_faults_of_one_lane_come_one_after_the_other(seed: int) -> None:
    planned = faults(seed, KINDS, 2, 120, 10)
    for lane in {fault.lane for fault in planned}:
        found = [fault for fault in planned if fault.lane == lane]
        assert all(after.at >= before.until + REST - 0.02 for before, after in pairwise(found))


def test_a_frozen_agent_is_frozen_for_longer_than_its_lease() -> None:
    assert all(each.lasts > 10 for each in faults(1, ("agent-freeze",), 3, 600, 10))


def test_servers_are_nobodys_and_everything_else_is_a_hosts() -> None:
    for fault in faults(1, KINDS, 3, 300, 10):
        assert (fault.host is None) == (fault.kind in ("store-away", "broker-away"))


def test_jobs_come_in_order_with_names_of_their_own() -> None:
    drawn = tasks(1, WEIGHTS, 100, 60)
    assert [task.at for task in drawn] == sorted(task.at for task in drawn)
    assert len({task.sid for task in drawn}) == 100
