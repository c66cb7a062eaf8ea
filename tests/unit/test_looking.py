"""Waiting for a job costs few requests, and misses nothing."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from agent.client import Client, JobView
from agent.deadletters import StoreDeadLetters
from agent.livelog import LiveLogs
from agent.looking import SELDOM, SOON, WHOLE, Looker, Pace
from agent.model.job import parse_job
from agent.model.live import Watch
from agent.model.records import AttemptRecord, Commit, Outcome
from agent.ports import Delivery
from agent.results import Results
from agent.submitting import StoreSubmitter

from tests.fakes import FakeArtifacts, FakeClock, FakeRecords

FIRST = AttemptRecord("job", 1, "host-a", "t", 2.0, "claimed")


class Counted(FakeRecords):
    """Counts the requests."""

    requests = 0

    def _check(self) -> None:
        self.requests += 1
        super()._check()


class Lab:
    """A queue with one job, and who waits for it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = Counted(self.clock)
        self.results = Results(self.records, "mem://results")
        self.letters = StoreDeadLetters(self.records, self.clock)
        client = Client("lab", StoreSubmitter(self.records, self.results), self.letters, self.results, FakeArtifacts())
        self.sid = client.submit(parse_job({"image": "file:///srv/x.sif"}))
        self.first = msgspec.structs.replace(FIRST, sid=self.sid)
        self.looker = Looker(self.sid, client.find, self.results, self.letters, self.clock.boottime)

    def look(self, seconds: float = 1.0) -> JobView:
        self.clock.advance(seconds)
        return self.looker.look()

    def settled(self) -> int:
        """Look until nothing is new; return the requests of one more look."""
        for _ in range(3):
            self.look(0.1)
        before = self.records.requests
        self.look(0.1)
        return self.records.requests - before


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_a_look_at_a_job_that_does_not_change_costs_two_requests(lab: Lab) -> None:
    assert lab.settled() == 2
    lab.results.claim(lab.first)
    lab.results.update(msgspec.structs.replace(lab.first, state="started", started_at=3.0))
    assert lab.settled() == 2


def test_an_hour_of_waiting_costs_a_tenth_of_what_whole_looks_every_second_would(lab: Lab) -> None:
    pace, before, now = Pace(), lab.records.requests, lab.clock.boottime()
    whole = 7 * 3600
    end = now + 3600
    view = None
    while now < end:
        seen = lab.look(0.0)
        lab.clock.advance(pace.looked(now, seen is not view))
        view, now = seen, lab.clock.boottime()
    assert lab.records.requests - before < whole / 10


def steps(lab: Lab) -> list[tuple[Callable[[], object], str]]:
    """Return what may become of a job, one after the other, and what is to be seen then."""
    first, second = lab.first, msgspec.structs.replace(lab.first, n=2, host="host-b")
    started = msgspec.structs.replace(first, state="started", started_at=3.0)
    ended = msgspec.structs.replace(started, outcome=Outcome.STOPPED, ended_at=4.0)
    commit = Commit(lab.sid, 2, "host-b", "t", Outcome.SUCCEEDED, 9.0)
    return [
        (lambda: lab.results.claim(first), "claimed"),
        (lambda: lab.results.update(started), "started"),
        (lambda: lab.results.update(ended), "waiting"),
        (lambda: lab.results.claim(second), "claimed"),
        (lambda: lab.results.commit(commit), "succeeded"),
    ]


@pytest.mark.parametrize("is_settled", [False, True])
def test_every_change_of_state_is_seen_with_the_next_look(lab: Lab, is_settled: bool) -> None:
    assert lab.look().state == "waiting"
    for act, state in steps(lab):
        if is_settled:
            lab.settled()
        act()
        assert lab.look(0.1).state == state


def test_a_job_that_is_buried_is_seen_with_the_next_look(lab: Lab) -> None:
    lab.settled()
    lab.letters.bury(Delivery("lab", lab.sid, b"x", {}, "h", 1.0), "nobody can run it", "host-a")
    assert (lab.look(0.1).state, lab.look(0.1).reason) == ("dead", "nobody can run it")


def test_that_somebody_follows_is_no_news_and_the_whole_is_looked_at_again_after_a_while(lab: Lab) -> None:
    lab.settled()
    before = lab.look(0.1)
    LiveLogs(lab.records).watch(lab.sid, Watch(1.0))
    requests = lab.records.requests
    assert lab.look(0.1) is before
    assert lab.records.requests - requests == 2
    assert lab.look(WHOLE) is before
    assert lab.records.requests - requests > 6


def test_a_host_that_takes_over_a_lost_attempt_is_seen_when_the_whole_is_looked_at(lab: Lab) -> None:
    lab.results.claim(lab.first)
    lab.settled()
    lab.results.claim(msgspec.structs.replace(lab.first, n=2, host="host-b"))
    assert lab.look(WHOLE).host == "host-b"


def test_the_pause_grows_while_nothing_changes_and_begins_anew_with_news() -> None:
    pace = Pace()
    assert pace.is_due(0.0)
    pauses = [pace.looked(0.0, changed=False) for _ in range(10)]
    assert pauses == sorted(pauses)
    assert (pauses[0] > SOON, pauses[-1]) == (True, SELDOM)
    assert (pace.is_due(SELDOM - 0.1), pace.is_due(SELDOM), pace.is_due(SELDOM, 30.0)) == (False, True, False)
    assert pace.looked(0.0, changed=True) == SOON
