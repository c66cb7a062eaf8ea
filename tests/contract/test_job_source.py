"""JobSource: the fake, and the store queue over records in memory, in a directory and in S3."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import pytest
from agent.adapters.files import FileRecords
from agent.adapters.s3 import S3Records
from agent.claims import ALL_LANES, StoreQueue, enqueue
from agent.errors import Unavailable
from agent.model.job import parse_job
from agent.model.records import AttemptRecord, Outcome
from agent.ports import Delivery, JobSource, Lease, RecordStore
from agent.results import Results

from tests.contract.s3_stores import AgingStore, public
from tests.fakes import START_OF_TIME, FakeClock, FakeQueue, FakeRecords
from tests.servers import Minio

LEASE = 120.0
LOOK_EVERY = 2.0


class World(Protocol):
    """A queue as two agents see it."""

    one: JobSource
    two: JobSource

    def submit(self, sid: str) -> None:
        """Put a job on the queue."""

    def claim(self, delivery: Delivery) -> Lease:
        """Do what an agent does before it runs the job: from now on others must leave the job alone."""

    def give_back(self, source: JobSource, lease: Lease, delay: float) -> None:
        """Do what an agent does that cannot finish the job."""

    def advance(self, seconds: float) -> None:
        """Let time pass for everybody, the store included."""

    def break_down(self) -> None:
        """Make the queue unreachable."""


class FakeWorld:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.queue = FakeQueue(self.clock, lease=LEASE)
        self.one: JobSource = self.queue
        self.two: JobSource = self.queue

    def submit(self, sid: str) -> None:
        self.queue.add(sid, sid.encode(), {"edge_arch": "any", "edge_accel": "none"})

    def claim(self, delivery: Delivery) -> Lease:
        return Lease(delivery.sid, delivery.handle, 1, "token")

    def give_back(self, source: JobSource, lease: Lease, delay: float) -> None:
        source.release(lease, delay)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def break_down(self) -> None:
        self.queue.down = True


class StoreWorld:
    def __init__(self, clock: FakeClock, records: RecordStore, results: Results) -> None:
        self.clock = clock
        self.records = records
        self.results = results
        self.claims = 0
        self.one: JobSource = self.agent()
        self.two: JobSource = self.agent()

    def agent(self) -> StoreQueue:
        return StoreQueue(
            "lab",
            self.records,
            self.results,
            ALL_LANES,
            host="host-a",
            lease=LEASE,
            look_every=LOOK_EVERY,
            clock=self.clock,
            stopping=threading.Event(),
        )

    def submit(self, sid: str) -> None:
        job = parse_job({"image": "file:///srv/a.sif"})
        enqueue(self.records, self.results, job, sid, self.clock.time(), queue="lab")

    def claim(self, delivery: Delivery) -> Lease:
        self.claims += 1
        n, token = self.results.standing(delivery.sid, LEASE).next_n, f"token-{self.claims}"
        assert self.results.claim(AttemptRecord(delivery.sid, n, "host", token, self.clock.time()))
        return Lease(delivery.sid, delivery.handle, n, token)

    def give_back(self, source: JobSource, lease: Lease, delay: float) -> None:
        assert lease.n is not None
        attempt = self.results.attempt(lease.sid, lease.n)
        assert attempt is not None
        ended = AttemptRecord(
            attempt.sid, attempt.n, attempt.host, attempt.token, attempt.claimed_at, outcome=Outcome.STOPPED
        )
        self.results.update(ended)
        source.release(lease, delay)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def break_down(self) -> None:
        raise NotImplementedError


class MemoryWorld(StoreWorld):
    def __init__(self) -> None:
        clock = FakeClock()
        self._records, results = FakeRecords(clock), FakeRecords(clock)
        super().__init__(clock, self._records, Results(results, "mem://results"))

    def break_down(self) -> None:
        self._records.down = True


class DirectoryWorld(StoreWorld):
    def __init__(self, root: Path) -> None:
        self._root = root
        results = FileRecords.make(root / "results")
        super().__init__(FakeClock(), FileRecords.make(root / "queue"), Results(results, f"file://{root}/results"))

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for path in self._root.rglob("*.json"):
            written = path.stat().st_mtime - seconds
            os.utime(path, (written, written))

    def break_down(self) -> None:
        (self._root / "queue").rename(self._root / "unmounted")


class S3World(StoreWorld):
    def __init__(self, aging: AgingStore, minio: Minio, bucket: str) -> None:
        self._aging = aging
        public(minio, bucket)
        client = minio.client(endpoint=aging.endpoint)
        results = Results(S3Records(client, bucket, "lab/results"), f"s3://{bucket}/lab/results")
        super().__init__(FakeClock(), S3Records(client, bucket, "lab/queue"), results)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self._aging.advance(seconds)

    def break_down(self) -> None:
        self._aging.stop()


@pytest.fixture(params=["fake", "store in memory", "store in a directory", "store in s3"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "store in s3":
        minio = request.getfixturevalue("minio")
        with AgingStore(minio.port) as aging:
            yield S3World(aging, minio, request.getfixturevalue("bucket"))
    elif request.param == "fake":
        yield FakeWorld()
    else:
        yield MemoryWorld() if request.param == "store in memory" else DirectoryWorld(tmp_path)


def pulled(source: JobSource) -> Delivery:
    delivery = source.pull(0)
    assert delivery is not None
    return delivery


def nothing_for(source: JobSource, world: World) -> bool:
    """Say whether even a fresh look finds nothing to run."""
    world.advance(LOOK_EVERY)
    return source.pull(0) is None


def test_an_empty_queue_gives_nothing(world: World) -> None:
    assert world.one.pull(0) is None
    assert world.one.pull(0.01) is None


def test_a_job_arrives_with_its_attributes_and_age(world: World) -> None:
    world.submit("job-1")
    world.advance(30)
    delivery = pulled(world.one)
    assert delivery.sid == "job-1"
    assert delivery.body
    assert delivery.attributes == {"edge_arch": "any", "edge_accel": "none"}
    assert delivery.submitted_at == pytest.approx(START_OF_TIME, abs=5)


def test_what_an_agent_holds_is_not_given_to_it_again(world: World) -> None:
    world.submit("job-1")
    pulled(world.one)
    assert nothing_for(world.one, world)


def test_each_pull_gives_another_job(world: World) -> None:
    for number in range(5):
        world.submit(f"job-{number}")
    assert {pulled(world.one).sid for _ in range(5)} == {f"job-{number}" for number in range(5)}
    assert nothing_for(world.one, world)


def test_what_one_agent_claimed_another_does_not_get(world: World) -> None:
    world.submit("job-1")
    world.claim(pulled(world.one))
    assert nothing_for(world.two, world)


def test_a_claim_that_is_renewed_stays(world: World) -> None:
    world.submit("job-1")
    lease = world.claim(pulled(world.one))
    for _ in range(10):
        world.advance(LEASE / 3)
        assert world.one.extend([lease]) == frozenset()
        assert nothing_for(world.two, world)


def test_a_job_of_a_dead_agent_goes_to_another_after_the_lease(world: World) -> None:
    world.submit("job-1")
    world.claim(pulled(world.one))
    world.advance(LEASE - 10)
    assert nothing_for(world.two, world)
    world.advance(20)
    assert pulled(world.two).sid == "job-1"


def test_a_lease_is_lost_when_another_agent_took_over(world: World) -> None:
    world.submit("job-1")
    late = world.claim(pulled(world.one))
    world.advance(LEASE + 10)
    lease = world.claim(pulled(world.two))
    assert world.one.extend([late]) == {"job-1"}
    assert world.two.extend([lease]) == frozenset()


def test_a_lease_that_nobody_took_over_can_be_renewed_late(world: World) -> None:
    world.submit("job-1")
    lease = world.claim(pulled(world.one))
    world.advance(LEASE + 10)
    assert world.one.extend([lease]) == frozenset()
    assert nothing_for(world.two, world)


def test_one_lost_lease_does_not_stop_the_others_from_being_renewed(world: World) -> None:
    for sid in ("job-1", "job-2"):
        world.submit(sid)
    leases = [world.claim(pulled(world.one)) for _ in range(2)]
    world.advance(LEASE + 10)
    taken = world.claim(pulled(world.two))
    assert world.one.extend(leases) == {taken.sid}
    assert nothing_for(world.two, world)


def test_nothing_to_renew_is_nothing_lost(world: World) -> None:
    assert world.one.extend([]) == frozenset()


def test_a_delivery_that_is_not_claimed_yet_can_be_extended(world: World) -> None:
    world.submit("job-1")
    delivery = pulled(world.one)
    assert world.one.extend([Lease(delivery.sid, delivery.handle)]) == frozenset()


def test_a_released_job_comes_back_to_this_agent_after_the_delay(world: World) -> None:
    world.submit("job-1")
    delivery = pulled(world.one)
    world.one.release(Lease(delivery.sid, delivery.handle), 50)
    world.advance(40)
    assert world.one.pull(0) is None
    world.advance(20)
    assert pulled(world.one).sid == "job-1"


def test_a_job_that_was_given_back_runs_elsewhere_without_waiting_for_the_lease(world: World) -> None:
    world.submit("job-1")
    world.give_back(world.one, world.claim(pulled(world.one)), 5)
    world.advance(10)
    assert pulled(world.two).sid == "job-1"


def test_another_agent_notices_that_a_job_it_saw_running_was_given_back(world: World) -> None:
    world.submit("job-1")
    lease = world.claim(pulled(world.one))
    assert nothing_for(world.two, world)
    world.give_back(world.one, lease, 5)
    world.advance(10)
    assert pulled(world.two).sid == "job-1"


def test_a_settled_job_is_gone_for_everybody(world: World) -> None:
    world.submit("job-1")
    lease = world.claim(pulled(world.one))
    world.one.settle(lease)
    world.advance(LEASE * 2)
    assert world.one.pull(0) is None
    assert world.two.pull(0) is None


def test_settling_twice_is_settling_once(world: World) -> None:
    world.submit("job-1")
    lease = world.claim(pulled(world.one))
    world.one.settle(lease)
    world.one.settle(lease)
    world.two.settle(lease)
    world.submit("job-2")
    world.advance(LOOK_EVERY)
    assert pulled(world.one).sid == "job-2"


def test_many_workers_of_one_agent_never_get_the_same_job(world: World) -> None:
    for number in range(20):
        world.submit(f"job-{number}")
    with ThreadPoolExecutor(8) as workers:
        got = [delivery for delivery in workers.map(lambda _: world.one.pull(1), range(20)) if delivery]
    assert sorted(delivery.sid for delivery in got) == sorted(f"job-{number}" for number in range(20))


def test_every_call_says_so_when_the_queue_is_away(world: World) -> None:
    world.submit("job-1")
    lease = world.claim(pulled(world.one))
    world.advance(LOOK_EVERY)
    world.break_down()
    with pytest.raises(Unavailable):
        world.two.pull(0)
    with pytest.raises(Unavailable):
        world.one.settle(lease)


def test_the_body_on_the_wire_is_the_native_job(tmp_path: Path) -> None:
    world = DirectoryWorld(tmp_path)
    world.submit("job-1")
    assert json.loads(pulled(world.one).body) == {"api": "edge-agent/v1", "image": "file:///srv/a.sif"}
