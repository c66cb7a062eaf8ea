"""From a delivery to a claimed attempt, and every way in which it does not become one."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from agent.admission import admit
from agent.attempt import Attempt, State, from_journal
from agent.errors import StoreUnavailable
from agent.ledger import Ledger
from agent.model.records import Artifact, Commit, Outcome
from agent.model.share import Share
from agent.policy import LOOK_AGAIN_HERE
from agent.ports import ABSENT, Delivery, ImageFacts, Lease

from tests.fakes import FakeImages, FakeQueue
from tests.faults import Tripwire
from tests.worlds import GIB, IMAGE, LEASE, QUEUE, Stores, World, world

PULLING = 1  # calls of the results store that pulling the first job takes
LONG_AGO_OR_FAR = [-10 * 365 * 86400.0, 0.0, 10 * 365 * 86400.0]


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path)


def delivered(made: World) -> Delivery:
    delivery = made.pull()
    assert delivery is not None
    return delivery


def admitted(made: World) -> Attempt | None:
    return admit(made.context, made.queue, delivered(made))


def assert_nothing_left_behind(made: World) -> None:
    assert made.leftovers() == []
    assert all(made.runtime.status(f"{sid}.1") == ABSENT for sid in made.sids)


# --- claimed ---


def test_a_job_that_fits_is_claimed_journalled_reserved_and_held(made: World) -> None:
    sid = made.submit(requires={"cpus": 3, "memory": "1GiB"})
    attempt = admitted(made)
    assert attempt is not None
    assert (attempt.id, attempt.state, attempt.arch) == (f"{sid}.1", State.CLAIMED, "amd64")
    assert [record.token for record in made.attempts(sid)] == [attempt.token]
    (entry,) = (from_journal(body) for body in made.journal.load().values())
    assert (entry.id, entry.token, entry.state) == (attempt.id, attempt.token, State.CLAIMED)
    assert made.context.ledger.free() == made.share.minus(Share(3.0, GIB, GIB))
    lease = made.context.leases.lease(sid)
    assert lease is not None
    assert (lease.n, lease.token) == (1, attempt.token)


def test_the_next_attempt_has_the_next_number(made: World) -> None:
    sid = made.submit()
    made.overtake(sid, 1, outcome=Outcome.LOST)
    attempt = admitted(made)
    assert attempt is not None
    assert attempt.n == 2


# --- messages that nobody can run ---


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe", b"{}", b"[]", b'{"api": "edge-agent/v1"}', b'{"api": "edge-agent/v9", "image": "mem://a"}'],
)
def test_what_is_no_job_is_a_dead_letter_once_and_off_the_queue(made: World, body: bytes) -> None:
    sid = made.submit_raw(body)
    assert admitted(made) is None
    assert made.buried(sid)
    assert made.waiting() == []
    assert made.attempts(sid) == []
    assert_nothing_left_behind(made)


def test_a_dead_letter_that_was_not_taken_off_the_queue_is_not_buried_twice(made: World) -> None:
    sid = made.submit_raw(b"{}")
    delivery = delivered(made)
    first = made.queue.dead_letters
    first.bury(delivery, "the first reason", "another host")
    assert admit(made.context, made.queue, delivery) is None
    assert made.buried(sid) == "the first reason"
    assert made.waiting() == []


@pytest.mark.parametrize("expires", ["soon", "2026-13-01T00:00:00Z", "2030-01-01T00:00:00", "2030-01-01T00:00:00Z"])
def test_an_end_that_cannot_be_reckoned_is_a_dead_letter(made: World, expires: str) -> None:
    sid = made.submit(expires=expires)
    assert admitted(made) is None
    assert f'expires = "{expires}"' in (made.buried(sid) or "")
    assert made.waiting() == []


def test_dates_of_which_one_has_no_time_zone_are_a_dead_letter(made: World) -> None:
    sid = made.submit(expires="2030-01-01T00:00:00", submitted_at="2029-01-01T00:00:00Z")
    assert admitted(made) is None
    assert made.buried(sid)


# --- jobs that need no run ---


def test_a_job_cancelled_before_launch_gets_its_result_without_running(made: World) -> None:
    sid = made.submit()
    made.cancel(sid)
    assert admitted(made) is None
    assert (made.commit(sid).outcome, made.commit(sid).n) == (Outcome.CANCELLED, 0)
    assert made.waiting() == []
    assert_nothing_left_behind(made)


@pytest.mark.parametrize("wrong_by", LONG_AGO_OR_FAR)
@pytest.mark.parametrize(("age", "expired"), [(3599.0, False), (3601.0, True)])
@pytest.mark.parametrize("form", ["duration", "dates", "dates of a submitter whose clock is wrong"])
def test_a_job_expires_by_its_age_in_the_store_whatever_clocks_say(
    made: World, wrong_by: float, age: float, expired: bool, form: str
) -> None:
    start = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
    if form.startswith("dates of"):
        start -= timedelta(days=4000)
    dates = {"submitted_at": start.isoformat(), "expires": (start + timedelta(hours=1)).isoformat()}
    sid = made.submit(**({"expires": "1h"} if form == "duration" else dates))
    made.clock.advance(age)
    made.clock.set(made.clock.time() + wrong_by)
    attempt = admitted(made)
    assert (attempt is None) is expired
    if expired:
        assert made.commit(sid).outcome is Outcome.EXPIRED
        assert made.waiting() == []


def test_a_job_that_expires_at_once_never_runs_however_coarse_the_clock_of_its_store(made: World) -> None:
    sid = made.submit(expires="0s")
    delivery = made.pull()
    assert delivery is not None
    assert admit(made.context, made.queue, delivery) is None
    commit = made.results.committed(sid)
    assert commit is not None
    assert commit.outcome is Outcome.EXPIRED


@pytest.mark.parametrize("wrong_by", LONG_AGO_OR_FAR)
@pytest.mark.parametrize(("age", "expired"), [(3599.0, False), (3601.0, True)])
def test_a_job_whose_message_has_a_time_of_its_server_expires_by_its_age_in_the_store_too(
    made: World, wrong_by: float, age: float, expired: bool
) -> None:
    sid = made.submit(expires="1h")
    published = made.clock.time()
    made.clock.advance(age)
    made.clock.set(made.clock.time() + wrong_by)
    attempt = admit(made.context, made.queue, msgspec.structs.replace(delivered(made), submitted_at=published))
    assert (attempt is None) is expired
    assert (made.results.committed(sid) is not None) is expired


def test_a_job_that_nobody_recorded_expires_by_the_clock_of_the_host(made: World) -> None:
    sid = made.submit_raw(b'{"api": "edge-agent/v1", "image": "mem://images/tiny.sif", "expires": "1h"}')
    made.clock.advance(3601)
    assert admitted(made) is None
    assert made.commit(sid).outcome is Outcome.EXPIRED


@pytest.mark.parametrize("token", ["token-of-another", "token-1"])
def test_a_job_with_a_result_is_published_again_and_taken_off_the_queue(made: World, token: str) -> None:
    sid = made.submit()
    key = made.results.artifact_key(sid, 1, "outputs/out")
    made.stores.artifacts.write(made.results.artifact_uri(sid, 1, "outputs/out"), [b"x"])
    artifact = Artifact("outputs/out", key, 1, "0" * 64, uri="mem://published/out")
    made.results.commit(Commit(sid, 1, "host-b", token, Outcome.SUCCEEDED, 0.0, artifacts=(artifact,)))
    assert admitted(made) is None
    assert made.stores.read_artifact("mem://published/out") == b"x"
    assert made.waiting() == []
    assert made.attempts(sid) == []


def test_a_result_that_cannot_be_published_now_stays_on_the_queue(made: World) -> None:
    sid = made.submit()
    artifact = Artifact("out", made.results.artifact_key(sid, 1, "out"), 1, "0" * 64, uri="mem://published/out")
    made.results.commit(Commit(sid, 1, "host-b", "t", Outcome.SUCCEEDED, 0.0, artifacts=(artifact,)))
    made.stores.artifacts.down = True
    assert admitted(made) is None
    assert made.waiting() == [sid]
    made.stores.artifacts.down = False
    made.stores.artifacts.write(made.results.uri_of(artifact), [b"x"])
    made.until_over()
    assert made.stores.read_artifact("mem://published/out") == b"x"


# --- refused ---


def test_a_job_that_never_fits_is_refused_with_its_reasons_and_left_alone_for_long(made: World) -> None:
    sid = made.submit(requires={"cpus": 64})
    assert admitted(made) is None
    assert made.refused(sid) == ["cpus"]
    assert made.waiting() == [sid]
    assert_nothing_left_behind(made)
    made.clock.advance(LOOK_AGAIN_HERE - 1)
    assert made.pull() is None
    made.clock.advance(LOOK_AGAIN_HERE)
    assert made.pull() is not None
    assert not made.context.board.returning(0.0), "nobody waits for it here"


def test_a_refusal_is_told_once_until_it_changes(made: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    made.submit(requires={"cpus": 64})
    for _ in range(3):
        assert admitted(made) is None
        made.clock.advance(2 * LOOK_AGAIN_HERE)
    assert [getattr(record, "event", "") for record in caplog.records].count("job-refused") == 1
    made.context.ledger.resize(Share(4.0, 1, GIB * 10))
    assert admitted(made) is None
    assert [getattr(record, "event", "") for record in caplog.records].count("job-refused") == 2


def test_a_job_that_does_not_fit_beside_a_running_one_comes_back_soon(made: World) -> None:
    made.submit(requires={"cpus": 2})
    running = admitted(made)
    assert running is not None
    sid = made.submit(requires={"cpus": 3})
    assert admitted(made) is None
    assert made.refused(sid) == [], "it is only a matter of time"
    assert [(each.sid, each.standing) for each in made.context.board.refused()] == [(sid, "refused-now")]
    assert made.context.board.returning(made.clock.boottime())
    made.context.ledger.release(running.id)
    made.clock.advance(11)
    assert admitted(made) is not None


def test_a_job_that_nothing_running_is_in_the_way_of_is_told_about(made: World) -> None:
    made.change(ledger=Ledger(made.share, lambda: 1000))
    sid = made.submit(requires={"disk": "1MiB"})
    assert admitted(made) is None
    assert made.refused(sid) == ["disk"]
    assert not made.context.board.returning(0.0), "nobody waits for the disk to become free"
    made.clock.advance(11)
    assert made.pull() is not None, "it is looked at again soon, all the same"


def test_an_image_that_does_not_exist_is_refused_here(made: World) -> None:
    made.change(images=FakeImages({}))
    sid = made.submit()
    assert admitted(made) is None
    assert made.refused(sid) == ["image-missing"]


def test_an_image_for_another_architecture_is_refused_here(made: World) -> None:
    made.change(images=FakeImages({IMAGE: (ImageFacts("arm64", 1), made.state_dir)}))
    sid = made.submit()
    assert admitted(made) is None
    assert made.refused(sid) == ["architecture"]


# --- others ---


def test_a_job_that_another_agent_claimed_meanwhile_leaves_nothing_behind(made: World) -> None:
    sid = made.submit()
    delivery = delivered(made)
    made.overtake(sid, 1)
    assert admit(made.context, made.queue, delivery) is None
    assert [record.host for record in made.attempts(sid)] == ["rival"]
    assert made.waiting() == [sid]
    assert_nothing_left_behind(made)


def test_of_two_agents_that_claim_the_same_number_one_gets_it(tmp_path: Path) -> None:
    stores = Stores()
    first = world(tmp_path, stores=stores)
    rival = OvertakenInTheLastMoment()
    second = world(tmp_path, stores=stores, host="host-b", wrap=rival.wrap)
    sid = first.submit()
    second.sids.append(sid)
    mine = delivered(first)
    first.queue.source.extend([Lease(sid, mine.handle)])  # others see that it is not claimed
    theirs = delivered(second)
    rival.act = lambda: admit(first.context, first.queue, mine)
    assert admit(second.context, second.queue, theirs) is None
    assert [record.host for record in first.attempts(sid)] == ["host-a"]
    assert_nothing_left_behind(second)


class OvertakenInTheLastMoment:
    """Lets `act` happen just before the first record is created in the results store."""

    def __init__(self) -> None:
        self.act: Any = None

    def wrap(self, name: str, part: Any) -> Any:
        return _Interrupted(self, part) if name == "results" else part


class _Interrupted:
    def __init__(self, owner: OvertakenInTheLastMoment, part: Any) -> None:
        self._owner, self._part = owner, part

    def __getattr__(self, method: str) -> Any:
        return getattr(self._part, method)

    def put(self, key: str, body: bytes, *, create: bool = False) -> bool:
        act, self._owner.act = self._owner.act, None
        if act is not None:
            act()
        done: bool = self._part.put(key, body, create=create)
        return done


def test_a_redelivery_of_a_job_that_is_here_is_adopted(made: World) -> None:
    queue = FakeQueue(made.clock, QUEUE, LEASE)
    source_queue = made.queue.__class__(QUEUE, queue, made.queue.results, made.queue.dead_letters, 0.0)
    queue.add("job-1", b'{"api": "edge-agent/v1", "image": "mem://images/tiny.sif"}')
    first = queue.pull(0)
    assert first is not None
    attempt = admit(made.context, source_queue, first)
    assert attempt is not None
    made.clock.advance(LEASE)
    again = queue.pull(0)
    assert again is not None
    assert again.handle != first.handle
    assert admit(made.context, source_queue, again) is None
    lease = made.context.leases.lease("job-1")
    assert lease is not None
    assert (lease.handle, lease.n) == (again.handle, 1)
    assert len(made.attempts("job-1")) == 1


# --- nothing answers ---


def test_a_job_whose_queue_and_results_store_go_down_comes_again_when_its_lease_ends(made: World) -> None:
    queue = FakeQueue(made.clock, QUEUE, LEASE)
    source_queue = made.queue.__class__(QUEUE, queue, made.queue.results, made.queue.dead_letters, 0.0)
    queue.add("job-1", b'{"api": "edge-agent/v1", "image": "mem://images/tiny.sif"}')
    delivery = queue.pull(0)
    assert delivery is not None
    queue.down = made.stores.result_records.down = True
    assert admit(made.context, source_queue, delivery) is None
    assert made.context.leases.lease("job-1") is None
    queue.down = made.stores.result_records.down = False
    made.clock.advance(LEASE)
    again = queue.pull(0)
    assert again is not None
    assert admit(made.context, source_queue, again) is not None


def test_a_job_is_put_back_while_the_results_store_is_down(made: World) -> None:
    sid = made.submit()
    delivery = delivered(made)
    made.stores.result_records.down = True
    assert admit(made.context, made.queue, delivery) is None
    made.stores.result_records.down = False
    assert made.context.board.returning(made.clock.boottime())
    assert_nothing_left_behind(made)
    assert made.waiting() == [sid]
    assert made.pull() is None, "it is looked at again after a pause"
    made.clock.advance(21)
    assert admitted(made) is not None


def test_what_cannot_be_buried_now_is_put_back_and_buried_later(made: World) -> None:
    sid = made.submit_raw(b"{}")
    delivery = delivered(made)
    made.stores.records.down = True
    assert admit(made.context, made.queue, delivery) is None
    made.stores.records.down = False
    assert made.buried(sid) is None
    assert made.waiting() == [sid]
    made.clock.advance(21)
    assert admitted(made) is None
    assert made.buried(sid)
    assert made.waiting() == []


@pytest.mark.parametrize("number", range(1, 5))
def test_any_one_call_that_the_results_store_does_not_answer_puts_the_job_back(tmp_path: Path, number: int) -> None:
    wire = Tripwire(lambda: StoreUnavailable("no answer"), number + PULLING).only("results")
    made = world(tmp_path, wrap=wire.wrap)
    sid = made.submit()
    delivery = delivered(made)
    assert len(wire.calls) == PULLING
    assert admit(made.context, made.queue, delivery) is None
    assert wire.tripped
    assert made.waiting() == [sid]
    assert_nothing_left_behind(made)
    made.clock.advance(21)
    assert admitted(made) is not None


def test_a_journal_that_fails_claims_nothing(made: World) -> None:
    sid = made.submit()
    delivery = delivered(made)
    made.journal.down = True
    assert admit(made.context, made.queue, delivery) is None
    made.journal.down = False
    assert made.attempts(sid) == []
    assert_nothing_left_behind(made)
    made.clock.advance(21)
    assert admitted(made) is not None
