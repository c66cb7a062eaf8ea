"""Waiting jobs that no host fits: who misses least, what it costs to tell, and that no agent ends them."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent.client import Client
from agent.deadletters import StoreDeadLetters
from agent.model.records import HostRefusal, Outcome
from agent.model.share import Share
from agent.model.verdict import Reason, Refusal, Standing
from agent.policy import LOOK_AGAIN_HERE
from agent.submitting import StoreSubmitter

from tests.fakes import FakeRecords
from tests.worlds import QUEUE, Stores, World, world

HUGE = {"cpus": 64, "memory": "1TiB"}


@pytest.fixture
def stores() -> Stores:
    return Stores()


@pytest.fixture
def pair(tmp_path: Path, stores: Stores) -> tuple[World, World]:
    return world(tmp_path, stores=stores, host="host-a"), world(tmp_path, stores=stores, host="host-b")


@pytest.fixture
def client(stores: Stores) -> Client:
    submitter = StoreSubmitter(stores.records, stores.results)
    dead_letters = StoreDeadLetters(stores.records, stores.clock)
    return Client(QUEUE, submitter, dead_letters, stores.results, stores.artifacts)


def told(stores: Stores, sid: str, host: str, *reasons: Reason, standing: Standing = Standing.REFUSED_HERE) -> None:
    refusals = tuple(Refusal(reason, "much", "little") for reason in reasons)
    stores.results.refuse(sid, HostRefusal(host, 0.0, refusals, standing))


def test_a_job_that_all_hosts_refuse_that_looked_has_a_nearest_miss(
    pair: tuple[World, World], stores: Stores, client: Client
) -> None:
    sid = pair[0].submit(requires=HUGE)
    assert client.find(sid).nearest_miss is None, "nobody has looked yet"
    for host in pair:
        host.run_one()
    told(stores, sid, "host-c", Reason.CPUS)
    view = client.find(sid)
    assert view.state == "waiting"
    miss = view.nearest_miss
    assert miss is not None
    assert (miss.host, [each.reason for each in miss.refusals]) == ("host-c", [Reason.CPUS])


def test_of_equal_misses_the_first_host_by_name_is_the_nearest(client: Client, stores: Stores, tmp_path: Path) -> None:
    sid = world(tmp_path, stores=stores).submit()
    for host in ("host-z", "host-b"):
        told(stores, sid, host, Reason.CPUS)
    miss = client.find(sid).nearest_miss
    assert miss is not None
    assert miss.host == "host-b"


def test_a_job_that_fits_a_host_that_is_busy_is_not_unmatched(
    pair: tuple[World, World], stores: Stores, client: Client
) -> None:
    first, second = pair
    first.context.ledger.resize(Share(1.0, first.share.memory, first.share.disk))
    sid = first.submit(requires={"cpus": 2})
    first.run_one()
    assert client.find(sid).nearest_miss is not None
    second.context.ledger.book("other", lambda free: second.share)
    second.run_one()
    view = client.find(sid)
    assert {each.host: each.standing for each in view.refusals} == {
        "host-a": Standing.REFUSED_HERE,
        "host-b": Standing.REFUSED_NOW,
    }
    assert view.nearest_miss is None


def test_a_job_that_ran_somewhere_is_not_unmatched(client: Client, stores: Stores, tmp_path: Path) -> None:
    made = world(tmp_path, stores=stores)
    sid = made.submit()
    told(stores, sid, "host-c", Reason.CPUS)
    made.overtake(sid, 1, outcome=Outcome.LOST)
    assert client.find(sid).nearest_miss is None


def test_looks_that_find_the_same_write_nothing(pair: tuple[World, World], stores: Stores) -> None:
    first, _ = pair
    sid = first.submit(requires=HUGE)
    first.run_one()
    before = stamps(stores.result_records, sid)
    for _ in range(5):
        first.clock.advance(2 * LOOK_AGAIN_HERE)
        assert first.run_one() == sid
    assert [age - 10 * LOOK_AGAIN_HERE for age in stamps(stores.result_records, sid)] == before
    assert first.waiting() == [sid], "no agent ends it"
    assert first.results.committed(sid) is None


def test_a_look_that_finds_another_amount_free_writes_nothing(
    pair: tuple[World, World], stores: Stores, client: Client
) -> None:
    first, second = pair
    sid = first.submit(requires={"cpus": 4})
    told(stores, sid, "host-c", Reason.CPUS)
    second.context.ledger.book("other", lambda free: Share(1.0))
    second.run_one()
    (written,) = [each for each in client.find(sid).refusals if each.host == "host-b"]
    second.context.ledger.book("another", lambda free: Share(1.0))
    second.clock.advance(2 * LOOK_AGAIN_HERE)
    assert second.run_one() == sid
    assert [each for each in client.find(sid).refusals if each.host == "host-b"] == [written]


def stamps(records: FakeRecords, sid: str) -> list[float]:
    """Return the ages of what hosts have written about the job."""
    return list(records.list(f"{sid}/refused/").records.values())
