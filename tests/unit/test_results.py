from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from agent.errors import InvalidInput, StoreUnavailable
from agent.model.records import Artifact, AttemptRecord, Cancel, Commit, HostRefusal, Outcome, Submission
from agent.model.verdict import Reason, Refusal
from agent.ports import Listing, Stored
from agent.results import Newest, Results, Standing, check_sid, is_sid, key_part, new_sid

from tests.fakes import FakeClock, FakeRecords

SID = "20261123-101502-3f9a1c2b"
LEASE = 120.0


class Store:
    """Results in memory, with the clock and the records behind them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = FakeRecords(self.clock)
        self.results = Results(self.records, "mem://results/")

    def claim(self, n: int = 1, token: str = "t") -> AttemptRecord:
        attempt = AttemptRecord(SID, n, "host-a", token, self.clock.time())
        assert self.results.claim(attempt)
        return attempt


@pytest.fixture
def store() -> Store:
    return Store()


def commit(n: int) -> Commit:
    return Commit(SID, n, "host-a", "t", Outcome.SUCCEEDED, 1.0)


def test_a_submission_is_made_once(store: Store) -> None:
    submission = Submission(SID, {"image": "file:///a.sif"}, "lab", "any-none", 12.5, by="eva")
    assert store.results.submission(SID) is None
    assert store.results.submit(submission)
    assert not store.results.submit(msgspec.structs.replace(submission, by="bob"))
    assert store.results.submission(SID) == submission


def test_sids_are_the_submissions_and_nothing_else_that_lies_there(store: Store) -> None:
    for sid in ("b", "a"):
        store.results.submit(Submission(sid, {}, "lab", "any-none", 0.0))
    store.records.put("not a sid/file", b"")
    store.records.put("readme", b"")
    assert store.results.sids() == ("a", "b")


def test_one_number_is_claimed_once(store: Store) -> None:
    store.claim(1, "first")
    assert not store.results.claim(AttemptRecord(SID, 1, "host-b", "second", 0.0))
    attempt = store.results.attempt(SID, 1)
    assert attempt is not None
    assert attempt.token == "first"


def test_attempts_come_in_order_of_their_numbers_with_their_ages(store: Store) -> None:
    for n in (1, 2, 10, 9):
        store.claim(n)
        store.clock.advance(5)
    found = store.results.attempts(SID)
    assert [(attempt.n, age) for attempt, age in found] == [(1, 20), (2, 15), (9, 5), (10, 10)]


def test_the_newest_attempt_is_the_highest_number(store: Store) -> None:
    assert store.results.newest(SID) is None
    for n in (9, 10, 2):
        store.claim(n)
    store.clock.advance(7)
    assert store.results.newest(SID) == Newest(10, 7)


def test_what_is_no_attempt_is_not_taken_for_one(store: Store) -> None:
    store.claim(1)
    for name in ("x", "01", "0", "-3", "\u0663", "9" * 20):
        store.records.put(f"{SID}/attempts/{name}", b"{}")
    store.records.put(f"{SID}/attempts/7/out", b"")
    assert store.results.newest(SID) == Newest(1, 0)
    assert len(store.results.attempts(SID)) == 1


def test_update_rewrites_and_makes_young(store: Store) -> None:
    attempt = store.claim()
    store.clock.advance(50)
    ended = msgspec.structs.replace(attempt, outcome=Outcome.FAILED, exit_code=3)
    store.results.update(ended)
    assert store.results.attempts(SID) == ((ended, 0),)


def test_renewing_makes_young_and_changes_nothing(store: Store) -> None:
    record = json.dumps({**msgspec.to_builtins(store.claim()), "key_of_a_later_release": 1}).encode()
    store.records.put(f"{SID}/attempts/1", record)
    store.clock.advance(50)
    assert store.results.renew(SID, 1, "t")
    assert store.records.get(f"{SID}/attempts/1") == Stored(record, 0)


def test_renewing_fails_when_a_higher_attempt_exists(store: Store) -> None:
    store.claim(1)
    store.claim(2)
    store.clock.advance(50)
    assert not store.results.renew(SID, 1, "t")
    assert [age for _, age in store.results.attempts(SID)] == [50, 50]


def test_renewing_fails_when_the_attempt_is_not_ours(store: Store) -> None:
    assert not store.results.renew(SID, 1, "t")
    store.claim(1, "somebody else")
    assert not store.results.renew(SID, 1, "t")


class PausingRecords(FakeRecords):
    """Records whose first get, once armed, waits until it is let go."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.armed = threading.Event()
        self.reached = threading.Event()
        self.go = threading.Event()

    def get(self, key: str) -> Stored | None:
        found = super().get(key)
        if self.armed.is_set():
            self.armed.clear()
            self.reached.set()
            assert self.go.wait(10)
        return found


def test_a_renewal_does_not_undo_an_update_made_meanwhile() -> None:
    records = PausingRecords(FakeClock())
    results = Results(records, "mem://results")
    attempt = AttemptRecord(SID, 1, "host-a", "t", 0.0)
    results.claim(attempt)
    records.armed.set()
    with ThreadPoolExecutor(2) as pool:
        renewal = pool.submit(results.renew, SID, 1, "t")
        assert records.reached.wait(10)
        update = pool.submit(results.update, msgspec.structs.replace(attempt, outcome=Outcome.SUCCEEDED))
        records.go.set()
        assert renewal.result()
        update.result()
    stored = results.attempt(SID, 1)
    assert stored is not None
    assert stored.outcome is Outcome.SUCCEEDED


def test_a_first_attempt_may_start_at_once(store: Store) -> None:
    assert store.results.standing(SID, LEASE) == Standing(1, None)


def test_no_attempt_may_start_while_one_runs(store: Store) -> None:
    store.claim(3)
    store.clock.advance(20)
    assert store.results.standing(SID, LEASE) == Standing(4, 100, unreported=True)


def test_an_attempt_may_start_when_the_last_one_is_silent_or_over(store: Store) -> None:
    attempt = store.claim(1)
    store.clock.advance(LEASE + 1)
    assert store.results.standing(SID, LEASE) == Standing(2, None, unreported=True)
    store.results.update(attempt)
    assert store.results.standing(SID, LEASE) == Standing(2, LEASE, unreported=True)
    store.results.update(msgspec.structs.replace(attempt, outcome=Outcome.STOPPED))
    assert store.results.standing(SID, LEASE) == Standing(2, None)


def test_of_many_who_see_the_same_standing_one_gets_the_attempt(store: Store) -> None:
    def claim(runner: int) -> bool:
        standing = store.results.standing(SID, LEASE)
        if standing.expires_in is not None:
            return False
        return store.results.claim(AttemptRecord(SID, standing.next_n, f"host-{runner}", "t", 0.0))

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(claim, range(64))) == 1


def test_there_is_one_commit_for_ever(store: Store) -> None:
    assert store.results.committed(SID) is None
    assert store.results.commit(commit(1))
    assert not store.results.commit(commit(2))
    assert store.results.committed(SID) == commit(1)


def test_a_commit_names_its_artifacts(store: Store) -> None:
    key = store.results.artifact_key(SID, 1, "out.tar")
    artifact = Artifact("out.tar", key, 5, "0" * 64, "tree", "file:///srv/out.tar")
    store.results.commit(msgspec.structs.replace(commit(1), artifacts=(artifact,)))
    found = store.results.committed(SID)
    assert found is not None
    assert found.artifacts == (artifact,)


def test_the_wish_to_cancel_is_kept(store: Store) -> None:
    assert store.results.cancelled(SID) is None
    assert store.results.cancel(SID, Cancel(3.0, "eva"))
    assert not store.results.cancel(SID, Cancel(4.0, "bob"))
    assert store.results.cancelled(SID) == Cancel(3.0, "eva")


def test_each_host_has_its_last_refusal(store: Store) -> None:
    def refusal(host: str, found: str) -> HostRefusal:
        return HostRefusal(host, 1.0, (Refusal(Reason.MEMORY, "8 GiB", found, "ask for less"),))

    assert store.results.refusals(SID) == ()
    for host, found in (("b", "1 GiB"), ("../odd/host", "2 GiB"), ("b", "4 GiB")):
        store.results.refuse(SID, refusal(host, found))
    assert set(store.results.refusals(SID)) == {refusal("b", "4 GiB"), refusal("../odd/host", "2 GiB")}


@pytest.mark.parametrize(
    ("name", "end"),
    [("model.pt", "model.pt"), ("out/model.pt", "out/model.pt"), ("a b%#?", "a%20b%25%23%3F"), ("ä", "%C3%A4")],
)
def test_artifact_uris_are_percent_encoded(store: Store, name: str, end: str) -> None:
    uri = f"mem://results/{SID}/attempts/2/{end}"
    assert store.results.artifact_uri(SID, 2, name) == uri
    artifact = Artifact(name, store.results.artifact_key(SID, 2, name), 0, "")
    assert store.results.uri_of(artifact) == uri


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"sid": 5}', b"\xff", b'{"n": NaN}'])
def test_a_record_that_cannot_be_read_is_named(store: Store, body: bytes) -> None:
    store.records.put(f"{SID}/commit", body)
    with pytest.raises(StoreUnavailable, match=rf'record "{SID}/commit" .* cannot be read: .+; restore it'):
        store.results.committed(SID)


def test_keys_of_a_later_release_are_ignored(store: Store) -> None:
    store.records.put(f"{SID}/cancel", b'{"at": 1.0, "why": "new"}')
    assert store.results.cancelled(SID) == Cancel(1.0)


def test_a_store_that_is_down_says_so(store: Store) -> None:
    store.records.down = True
    with pytest.raises(StoreUnavailable):
        store.results.committed(SID)
    with pytest.raises(StoreUnavailable):
        store.results.renew(SID, 1, "t")


def test_newest_costs_one_request(store: Store) -> None:
    class Counting(FakeRecords):
        requests = 0

        def get(self, key: str) -> Stored | None:
            raise AssertionError("not needed")

        def list(self, prefix: str) -> Listing:
            self.requests += 1
            return super().list(prefix)

    records = Counting(store.clock)
    for n in range(1, 50):
        records.put(f"{SID}/attempts/{n}", b"{}")
    assert Results(records, "mem://").newest(SID) == Newest(49, 0)
    assert records.requests == 1


@pytest.mark.parametrize("sid", [SID, "a", "A.b_c-d=e@f+g", "x" * 127, "_", "3.json.1"])
def test_a_good_sid_is_returned(sid: str) -> None:
    assert check_sid(sid) == sid


@pytest.mark.parametrize(
    "sid", ["", ".", "..", ".a", "a/b", "a b", "ä", "a\n", "a\0", "x" * 128, "-a", "a%2Fb", "a.json"]
)
def test_a_bad_sid_is_refused(sid: str) -> None:
    assert not is_sid(sid)
    with pytest.raises(InvalidInput, match="is no submission id"):
        check_sid(sid)


def test_new_sids_sort_by_time_and_are_sids() -> None:
    assert new_sid(1795428902.9, "3f9a1c2b") == "20261123-101502-3f9a1c2b"
    sids = [new_sid(at, "00") for at in (0.0, 1e9, 1.7e9, 1.8e9)]
    assert sids == sorted(sids)
    assert all(map(is_sid, sids))


@pytest.mark.parametrize(("name", "part"), [("a", "a"), ("a/b", "a%2Fb"), ("..", "%2E."), (".x", "%2Ex")])
def test_names_from_outside_become_one_part_of_a_key(name: str, part: str) -> None:
    assert key_part(name) == part
