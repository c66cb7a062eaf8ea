from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from agent.claims import ALL_LANES, StoreQueue, Waiting, enqueue, pending
from agent.errors import InvalidInput, StoreUnavailable
from agent.model.job import parse_job
from agent.model.records import AttemptRecord, Commit, Outcome
from agent.ports import Lease, Listing, Stored
from agent.results import Results
from agent.wire import decode_native

from tests.fakes import FakeClock, FakeRecords

LEASE = 120.0
LOOK_EVERY = 2.0


class CountingRecords(FakeRecords):
    """Records that count the requests to them."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.requests = 0

    def get(self, key: str) -> Stored | None:
        self.requests += 1
        return super().get(key)

    def list(self, prefix: str) -> Listing:
        self.requests += 1
        return super().list(prefix)


class Lab:
    """A store queue with its results store, in memory."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = CountingRecords(self.clock)
        self.result_records = CountingRecords(self.clock)
        self.results = Results(self.result_records, "mem://results")
        self.stopping = threading.Event()
        self.agents = 0

    def agent(
        self, lanes: Sequence[str] = ALL_LANES, look_every: float = LOOK_EVERY, host: str | None = None
    ) -> StoreQueue:
        """Return one more agent, of a host of its own unless it is told."""
        self.agents += 1
        return StoreQueue(
            "lab",
            self.records,
            self.results,
            lanes,
            host=host or f"host-{self.agents}",
            lease=LEASE,
            look_every=look_every,
            clock=self.clock,
            stopping=self.stopping,
        )

    def submit(self, sid: str, by: str | None = None, **table: object) -> None:
        job = parse_job({"image": "file:///srv/a.sif", **table})
        enqueue(self.records, self.results, job, sid, self.clock.time(), queue="lab", by=by)

    def submit_signed(self, sid: str, key_id: str) -> None:
        job = parse_job({"image": "file:///srv/a.sif"})
        body = {"api": "edge-agent/v1", "payload": "{}", "key_id": key_id, "signature": ""}
        enqueue(self.records, self.results, job, sid, self.clock.time(), queue="lab", body=json.dumps(body).encode())

    def claim(self, sid: str, n: int = 1) -> AttemptRecord:
        attempt = AttemptRecord(sid, n, "host-b", "token", self.clock.time())
        assert self.results.claim(attempt)
        return attempt

    def order(self, agent: StoreQueue) -> list[str]:
        """Pull until nothing is left."""
        found = []
        while delivery := agent.pull(0):
            found.append(delivery.sid)
        return found

    @property
    def requests(self) -> int:
        return self.records.requests + self.result_records.requests


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_submitting_records_the_job_and_queues_it_in_its_lane(lab: Lab) -> None:
    job = parse_job({"image": "file:///a.sif", "requires": {"arch": ["arm64"], "gpus": 1}})
    assert enqueue(lab.records, lab.results, job, "job-1", 12.0, queue="lab", by="eva") == "job-1"
    submission = lab.results.submission("job-1")
    assert submission is not None
    assert (submission.queue, submission.lane, submission.at, submission.by) == ("lab", "arm64-nvidia", 12.0, "eva")
    assert parse_job(submission.job) == job
    assert pending(lab.records) == (Waiting("job-1", "arm64-nvidia", 0.0),)


def test_a_job_is_recorded_before_it_is_queued(lab: Lab) -> None:
    lab.records.down = True
    with pytest.raises(StoreUnavailable):
        lab.submit("job-1")
    assert lab.results.submission("job-1") is not None
    lab.records.down = False
    lab.submit("job-1")
    assert [waiting.sid for waiting in pending(lab.records)] == ["job-1"]


def test_submitting_again_queues_once_and_keeps_the_age(lab: Lab) -> None:
    lab.submit("job-1")
    lab.clock.advance(10)
    lab.submit("job-1")
    assert pending(lab.records) == (Waiting("job-1", "any-none", 10.0),)


def test_a_bad_sid_is_refused_before_anything_is_stored(lab: Lab) -> None:
    with pytest.raises(InvalidInput):
        lab.submit("../job")
    assert lab.result_records.list("").prefixes == ()


def test_pending_lists_the_oldest_first_over_all_lanes(lab: Lab) -> None:
    for sid, accel in (("b", "nvidia"), ("c", "none"), ("a", "nvidia")):
        lab.submit(sid, requires={"accel": accel})
        lab.clock.advance(1)
    assert [waiting.sid for waiting in pending(lab.records)] == ["b", "c", "a"]
    assert [waiting.sid for waiting in pending(lab.records, ("any-nvidia",))] == ["b", "a"]


def test_an_agent_gets_the_jobs_of_its_lanes_only(lab: Lab) -> None:
    lab.submit("gpu", requires={"accel": "nvidia"})
    lab.submit("arm", requires={"arch": ["arm64"]})
    lab.submit("plain")
    assert set(lab.order(lab.agent(("any-none", "arm64-none", "amd64-none")))) == {"arm", "plain"}
    lab.clock.advance(LEASE)
    assert set(lab.order(lab.agent())) == {"arm", "gpu", "plain"}


def test_a_job_that_somebody_has_in_hand_costs_others_no_request_besides_the_listing(lab: Lab) -> None:
    lab.submit("job-1")
    first, second = lab.agent(), lab.agent()
    delivery = first.pull(0)
    assert delivery is not None
    before = lab.requests
    assert second.pull(0) is None
    listings = 2  # of the lanes, and of the only one
    assert lab.requests - before == listings
    first.release(Lease("job-1", delivery.handle), 5)
    lab.clock.advance(LOOK_EVERY)
    assert second.pull(0) is not None, "it was given back"


def test_a_mark_is_renewed_with_the_lease_and_disregarded_when_it_is_not(lab: Lab) -> None:
    lab.submit("job-1")
    first, second = lab.agent(), lab.agent()
    delivery = first.pull(0)
    assert delivery is not None
    lab.claim("job-1")
    lease = Lease("job-1", delivery.handle, 1, "token")
    for _ in range(4):
        lab.clock.advance(LEASE / 3)
        assert first.extend([lease]) == frozenset()
        before = lab.requests
        assert second.pull(0) is None
        assert lab.requests - before == 2, "it is not checked"
    lab.clock.advance(LEASE / 2)
    before = lab.requests
    assert second.pull(0) is None
    assert lab.requests - before > 2, "its attempt record says that it runs"
    lab.clock.advance(LEASE / 2 + 1)
    assert second.pull(0) is not None, "whoever had it is gone"


def test_a_mark_of_an_earlier_life_hides_no_job_from_its_host(lab: Lab) -> None:
    lab.submit("job-1")
    assert lab.agent(host="board").pull(0) is not None  # and killed
    assert lab.agent(host="other").pull(0) is None
    assert lab.agent(host="board").pull(0) is not None


def test_a_job_that_is_held_and_not_claimed_is_seen_by_others(lab: Lab) -> None:
    lab.submit("job-1")
    first, second = lab.agent(), lab.agent()
    delivery = first.pull(0)
    assert delivery is not None
    first.extend([Lease("job-1", delivery.handle)])
    assert second.pull(0) is not None


def test_a_mark_does_not_outlive_its_job(lab: Lab) -> None:
    lab.submit("job-1")
    first = lab.agent()
    delivery = first.pull(0)
    assert delivery is not None
    lab.records.delete(delivery.handle)  # settled, and killed before the mark was removed
    assert [*lab.records.list("pending/any-none/").records] == ["job-1~host-1"]
    lab.clock.advance(LEASE + 1)
    assert lab.agent().pull(0) is None
    assert [*lab.records.list("pending/any-none/").records] == []
    lab.submit("job-2")
    delivery = first.pull(0)
    assert delivery is not None
    first.settle(Lease("job-2", delivery.handle))
    assert [*lab.records.list("pending/any-none/").records] == []


@pytest.mark.parametrize("end", ["settle", "release"])
def test_a_mark_that_is_renewed_while_the_job_is_given_away_does_not_stay(lab: Lab, end: str) -> None:
    lab.submit("job-1")
    first = lab.agent()
    delivery = first.pull(0)
    assert delivery is not None
    lab.claim("job-1")
    lease = Lease("job-1", delivery.handle, 1, "token")
    put = lab.records.put

    def put_late(key: str, body: bytes, *, create: bool = False) -> bool:
        lab.records.put = put  # type: ignore[method-assign]
        if end == "settle":
            first.settle(lease)
        else:
            first.release(lease, 5)
        return put(key, body, create=create)

    lab.records.put = put_late  # type: ignore[method-assign]
    first.extend([lease])
    names = [*lab.records.list("pending/any-none/").records]
    assert names == ([] if end == "settle" else ["job-1"])


def test_a_lane_that_appears_later_is_served_too(lab: Lab) -> None:
    agent = lab.agent()
    assert agent.pull(0) is None
    lab.submit("job-1", requires={"accel": "jetson"})
    lab.clock.advance(LOOK_EVERY)
    delivery = agent.pull(0)
    assert delivery is not None
    assert delivery.attributes == {"edge_arch": "any", "edge_accel": "jetson"}
    assert delivery.handle == "pending/any-jetson/job-1"


def test_urgent_jobs_come_first_then_old_ones(lab: Lab) -> None:
    for sid, priority in (("old", 0), ("urgent", 5), ("new", 0), ("last", -1), ("urgent-too", 5)):
        lab.submit(sid, priority=priority)
        lab.clock.advance(1)
    assert lab.order(lab.agent()) == ["urgent", "urgent-too", "old", "new", "last"]


def test_a_signed_job_has_the_priority_that_it_says_inside(lab: Lab) -> None:
    lab.submit("old")
    body = json.dumps({"api": "edge-agent/v1", "payload": '{"priority": 3}', "key_id": "a", "signature": ""}).encode()
    job = parse_job({"image": "file:///srv/a.sif", "priority": 3})
    enqueue(lab.records, lab.results, job, "urgent", lab.clock.time(), queue="lab", body=body)
    submission = lab.results.submission("urgent")
    assert submission is not None
    assert submission.job["image"] == "file:///srv/a.sif"
    agent = lab.agent()
    delivery = agent.pull(0)
    assert delivery is not None
    assert (delivery.sid, delivery.body) == ("urgent", body)
    assert lab.order(agent) == ["old"]


def test_submitters_take_turns_among_jobs_of_equal_priority(lab: Lab) -> None:
    for number in range(4):
        lab.submit(f"eva-{number}", by="eva")
        lab.clock.advance(1)
    lab.submit("ken-0", by="ken")
    lab.submit("urgent", by="eva", priority=1)
    lab.submit("nobody")
    assert lab.order(lab.agent()) == ["urgent", "ken-0", "nobody", "eva-0", "eva-1", "eva-2", "eva-3"]


def test_jobs_that_run_count_for_the_turn_of_their_submitter(lab: Lab) -> None:
    for number in range(3):
        lab.submit(f"eva-{number}", by="eva")
    lab.clock.advance(1)
    for number in range(2):
        lab.submit(f"ken-{number}", by="ken")
    lab.claim("eva-0")
    lab.claim("eva-1")
    assert lab.order(lab.agent()) == ["ken-0", "ken-1", "eva-2"]


def test_a_newcomer_is_seen_at_once_however_many_jobs_wait(lab: Lab) -> None:
    for number in range(1000):
        lab.submit(f"eva-{number:04}", by="eva")
    agent = lab.agent()
    assert agent.pull(0) is not None
    lab.clock.advance(1)
    lab.submit("ken-0", by="ken")
    before = lab.requests
    delivery = agent.pull(0)
    assert delivery is not None
    assert delivery.sid == "ken-0"
    assert lab.requests - before <= 64 + 8, "names are read with the priorities, so many in a look"


def test_a_signed_job_is_not_counted_with_unsigned_ones_of_that_name(lab: Lab) -> None:
    for number in range(3):
        lab.submit(f"false-{number}", by="ken")
    lab.clock.advance(1)
    lab.submit_signed("true-0", "ken")
    assert lab.order(lab.agent())[:2] == ["false-0", "true-0"]


def test_who_submitted_is_told_to_the_queue_and_is_no_part_of_the_job(lab: Lab) -> None:
    lab.submit("job-1", by="eva")
    delivery = lab.agent().pull(0)
    assert delivery is not None
    assert json.loads(delivery.body)["by"] == "eva"
    assert decode_native(delivery.body, {}) == parse_job({"image": "file:///srv/a.sif"})


def test_a_held_job_is_overtaken_by_a_more_urgent_one_that_nobody_runs(lab: Lab) -> None:
    lab.submit("held")
    agent = lab.agent()
    assert lab.order(agent) == ["held"]
    assert not agent.overtaken("held")
    lab.submit("same")
    lab.submit("urgent", priority=5)
    assert agent.overtaken("held")
    lab.claim("urgent")
    assert not agent.overtaken("held"), "another host runs it"
    lab.records.delete("pending/any-none/held")
    assert not agent.overtaken("held"), "whoever claims it notices"


@pytest.mark.parametrize("body", [b"not JSON", b"\xff", b"[]", b'{"priority": "high"}', b'{"payload": "x"}'])
def test_an_unreadable_job_has_no_priority_and_is_delivered(lab: Lab, body: bytes) -> None:
    lab.submit("urgent", priority=1)
    lab.records.put("pending/any-none/broken", body)
    lab.clock.advance(1)
    lab.submit("later")
    assert lab.order(lab.agent()) == ["urgent", "broken", "later"]


def test_names_that_are_no_sids_are_left_alone(lab: Lab) -> None:
    lab.records.put("pending/any-none/not a sid", b"{}")
    lab.records.put("pending/stray", b"{}")
    lab.submit("job-1")
    assert lab.order(lab.agent()) == ["job-1"]


def test_a_look_that_finds_nothing_is_not_repeated_at_once(lab: Lab) -> None:
    agent = lab.agent()
    assert agent.pull(0) is None
    lab.submit("job-1")
    before = lab.requests
    lab.clock.advance(LOOK_EVERY - 0.1)
    assert agent.pull(0) is None
    assert lab.requests == before
    lab.clock.advance(0.1)
    assert agent.pull(0) is not None


def test_a_look_that_found_a_job_is_followed_by_another_at_once(lab: Lab) -> None:
    lab.submit("job-1")
    lab.submit("job-2")
    assert len(lab.order(lab.agent())) == 2


def test_a_failed_look_is_not_repeated_at_once(lab: Lab) -> None:
    agent = lab.agent()
    lab.records.down = True
    with pytest.raises(StoreUnavailable):
        agent.pull(0)
    assert agent.pull(0) is None
    lab.clock.advance(LOOK_EVERY)
    with pytest.raises(StoreUnavailable):
        agent.pull(0)


def test_a_waiting_pull_finds_what_comes(lab: Lab) -> None:
    agent = lab.agent(look_every=0.01)
    with ThreadPoolExecutor(1) as pool:
        pulling = pool.submit(agent.pull, 10.0)
        lab.submit("job-1")
        delivery = pulling.result()
    assert delivery is not None
    assert delivery.sid == "job-1"


def test_a_stop_ends_a_wait_at_once(lab: Lab) -> None:
    agent = lab.agent()
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        pulls = [pool.submit(agent.pull, 60.0) for _ in range(2)]
        lab.stopping.set()
        assert [pull.result() for pull in pulls] == [None, None]
    assert time.monotonic() - started < 30
    lab.submit("job-1")
    lab.clock.advance(LOOK_EVERY)
    assert agent.pull(0) is None


def test_a_committed_job_is_delivered_so_that_somebody_settles_it(lab: Lab) -> None:
    lab.submit("job-1")
    lab.claim("job-1")
    lab.results.commit(Commit("job-1", 1, "host-b", "token", Outcome.SUCCEEDED, 0.0))
    assert lab.order(lab.agent()) == ["job-1"]


def test_looking_at_many_running_jobs_costs_little_and_starves_nobody(lab: Lab) -> None:
    agent = lab.agent()
    for number in range(200):
        lab.submit(f"running-{number}")
        lab.claim(f"running-{number}")
    lab.clock.advance(1)
    lab.submit("waiting")
    costs: list[int] = []
    found = None
    while found is None and len(costs) < 50:
        lab.clock.advance(LOOK_EVERY)
        before = lab.requests
        found = agent.pull(0)
        costs.append(lab.requests - before)
    assert found is not None
    assert found.sid == "waiting"
    assert max(costs) < 150
    lab.clock.advance(LOOK_EVERY)
    before = lab.requests
    assert agent.pull(0) is None
    assert lab.requests - before < 40


def test_a_running_job_is_looked_at_again_when_its_lease_may_be_over(lab: Lab) -> None:
    agent = lab.agent()
    for number in range(20):
        lab.submit(f"job-{number:02}")
        lab.claim(f"job-{number:02}")
    for _ in range(10):
        assert agent.pull(0) is None
        lab.clock.advance(LOOK_EVERY)
    for number in range(19):
        assert lab.results.renew(f"job-{number:02}", 1, "token")
    lab.clock.advance(LEASE - 10)
    found = lab.order(agent)
    lab.clock.advance(LOOK_EVERY)  # twenty are more than one look checks
    assert found + lab.order(agent) == ["job-19"]


def test_a_late_renewal_does_not_keep_a_released_job_from_its_agent(lab: Lab) -> None:
    agent = lab.agent()
    lab.submit("job-1")
    delivery = agent.pull(0)
    assert delivery is not None
    attempt = lab.claim("job-1")
    lease = Lease("job-1", delivery.handle, 1, "token")
    lab.results.update(msgspec.structs.replace(attempt, outcome=Outcome.STOPPED))
    agent.release(lease, 5)
    assert agent.extend([lease]) == frozenset()
    lab.clock.advance(5)
    assert agent.pull(0) is not None


def test_a_job_whose_records_are_broken_does_not_hold_up_the_others(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    agent = lab.agent()
    lab.submit("broken")
    lab.result_records.put("broken/attempts/1", b"not JSON")
    lab.clock.advance(1)
    lab.submit("good")
    with caplog.at_level(logging.WARNING):
        assert agent.pull(0) is None
    assert [record.__dict__["sid"] for record in caplog.records] == ["broken"]
    lab.clock.advance(LOOK_EVERY)
    assert lab.order(agent) == ["good"]


class FlakyRecords(FakeRecords):
    """Records of which one job's cannot be written."""

    def put(self, key: str, body: bytes, *, create: bool = False) -> bool:
        if key.startswith("job-1/") and not create:
            raise StoreUnavailable("memory: this one is broken")
        return super().put(key, body, create=create)


def test_one_renewal_that_fails_does_not_stop_the_others(lab: Lab) -> None:
    records = FlakyRecords(lab.clock)
    lab.results = Results(records, "mem://results")
    for sid in ("job-1", "job-2"):
        lab.claim(sid)
    lab.clock.advance(50)
    leases = [Lease(sid, f"pending/any-none/{sid}", 1, "token") for sid in ("job-1", "job-2")]
    with pytest.raises(StoreUnavailable):
        lab.agent().extend(leases)
    newest = lab.results.newest("job-2")
    assert newest is not None
    assert newest.age == 0


def test_a_job_settled_between_listing_and_reading_is_not_delivered(lab: Lab) -> None:
    class Vanishing(FakeRecords):
        def get(self, key: str) -> Stored | None:
            return None

    lab.records = Vanishing(lab.clock)  # type: ignore[assignment]
    lab.submit("job-1")
    assert lab.agent().pull(0) is None


def test_a_job_settled_while_it_is_taken_leaves_no_mark(lab: Lab) -> None:
    """By another thread of the same agent: a job whose commit was found is given back, and taken again at once."""
    lab.submit("a")
    agent = lab.agent()
    put = lab.records.put
    pulled: list[str] = []

    def settle_first(key: str, body: bytes, *, create: bool = False) -> bool:
        if not pulled:
            pulled.append(key)
            agent.settle(Lease("a", key.partition("~")[0]))
        return put(key, body, create=create)

    lab.records.put = settle_first  # type: ignore[method-assign]
    assert agent.pull(0) is None
    assert pulled == ["pending/any-none/a~host-1"]
    assert lab.records.list("pending/any-none/").records == {}
