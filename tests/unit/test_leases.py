from __future__ import annotations

from collections.abc import Sequence

import pytest
from agent.errors import StoreUnavailable
from agent.leases import Leases
from agent.model.records import Cancel
from agent.ports import Delivery, Lease
from agent.results import Results

from tests.fakes import FakeClock, FakeQueue, FakeRecords

EVERY = 40.0
LEASE = 120.0


class Lab:
    """A queue, a results store, and the leases of one agent."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = FakeRecords(self.clock)
        self.results = Results(self.records, "mem://results")
        self.queue = FakeQueue(self.clock, lease=LEASE)
        self.stops: list[tuple[str, str]] = []
        self.leases = Leases(EVERY, lambda sid, why: self.stops.append((sid, why)))

    def hold(self, sid: str) -> Delivery:
        self.queue.add(sid, b"{}")
        delivery = self.queue.pull(0)
        assert delivery is not None
        self.leases.hold(self.queue, self.results, Lease(sid, delivery.handle))
        return delivery

    def renew(self) -> float:
        return self.leases.step(self.clock.boottime())


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_leases_are_renewed_again_after_their_interval(lab: Lab) -> None:
    assert lab.renew() == lab.clock.boottime() + EVERY


def test_what_is_renewed_never_comes_a_second_time(lab: Lab) -> None:
    lab.hold("job-1")
    for _ in range(10):
        lab.clock.advance(EVERY)
        lab.renew()
    assert lab.queue.pull(0) is None
    assert lab.stops == []


def test_what_was_dropped_is_not_renewed(lab: Lab) -> None:
    lab.hold("job-1")
    held = lab.leases.drop("job-1")
    assert held is not None
    assert held.lease.sid == "job-1"
    assert lab.leases.drop("job-1") is None
    assert not lab.leases.holds("job-1")
    lab.renew()
    lab.clock.advance(LEASE)
    assert lab.queue.pull(0) is not None


def test_a_lost_lease_stops_its_job_and_no_other(lab: Lab) -> None:
    lab.hold("job-1")
    lab.hold("job-2")
    lab.clock.advance(LEASE)
    assert lab.queue.pull(0) is not None, "somebody else takes job-1"
    lab.renew()
    assert lab.stops == [("job-1", "lease-lost")]


def test_a_cancelled_job_is_stopped(lab: Lab) -> None:
    lab.hold("job-1")
    lab.hold("job-2")
    lab.results.cancel("job-2", Cancel(0.0))
    lab.renew()
    assert lab.stops == [("job-2", "cancelled")]


def test_a_redelivery_of_a_held_job_is_adopted_with_its_new_handle(lab: Lab) -> None:
    lab.hold("job-1")
    lab.clock.advance(LEASE)
    again = lab.queue.pull(0)
    assert again is not None
    assert lab.leases.adopt("job-1", again.handle)
    assert lab.leases.lease("job-1") == Lease("job-1", again.handle)
    lab.renew()
    assert lab.stops == []


def test_a_delivery_of_a_job_that_is_not_here_is_not_adopted(lab: Lab) -> None:
    assert not lab.leases.adopt("job-1", "handle")
    assert lab.leases.lease("job-1") is None


def test_the_number_of_the_attempt_is_known_once_it_is_claimed(lab: Lab) -> None:
    delivery = lab.hold("job-1")
    lab.leases.hold(lab.queue, lab.results, Lease("job-1", delivery.handle, 3, "token"))
    assert lab.leases.lease("job-1") == Lease("job-1", delivery.handle, 3, "token")
    assert lab.leases.adopt("job-1", "new")
    assert lab.leases.lease("job-1") == Lease("job-1", "new", 3, "token")


@pytest.mark.parametrize("part", ["queue", "records"])
def test_an_outage_stops_nothing_and_the_next_renewal_tries_again(lab: Lab, part: str) -> None:
    lab.hold("job-1")
    lab.results.cancel("job-1", Cancel(0.0))
    broken = lab.queue if part == "queue" else lab.records
    broken.down = True
    assert lab.renew() == lab.clock.boottime() + EVERY
    assert lab.stops == []
    broken.down = False
    lab.renew()
    assert lab.stops == [("job-1", "cancelled")]


def test_one_queue_that_is_down_keeps_no_other_from_being_renewed(lab: Lab) -> None:
    lab.hold("job-1")
    dead = DeadQueue()
    lab.leases.hold(dead, lab.results, Lease("job-0", "handle"))
    lab.clock.advance(EVERY)
    lab.renew()
    assert dead.asked == 1
    lab.clock.advance(LEASE - 1)
    assert lab.queue.pull(0) is None


class DeadQueue(FakeQueue):
    """A queue that never answers a renewal."""

    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.asked = 0

    def extend(self, leases: Sequence[Lease]) -> frozenset[str]:
        self.asked += 1
        raise StoreUnavailable("no answer")
