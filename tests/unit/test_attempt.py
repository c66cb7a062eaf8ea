from __future__ import annotations

import json

import msgspec
import pytest
from agent.attempt import JOURNALLED, TRANSITIONS, Attempt, Ending, Event, State, from_journal, to_journal, transition
from agent.model.records import Artifact, AttemptRecord, Outcome
from agent.model.share import Share
from agent.model.usage import Moved, Usage

CHECKPOINT = Artifact("checkpoint-a", "job-1/attempts/2/checkpoint-a", 3, "c" * 64, "tree")
ATTEMPT = Attempt(
    sid="job-1",
    n=2,
    token="token",
    host="host-a",
    queue="lab",
    handle="pending/any-none/job-1",
    boot_id="boot-1",
    claimed_at=100.0,
    table={"api": "edge-agent/v1", "image": "file:///a.sif", "command": ["true"]},
    arch="amd64",
    reserved=Share(1.0, 2, 3, ("GPU-1",)),
)
ENDING = Ending(Outcome.FAILED, "exit code 3", 3, 110.0, 120.0)
# As the first release with a journal wrote it: only what an attempt cannot do without.
OLD_ENTRY = {
    "sid": "job-1",
    "n": 2,
    "token": "token",
    "host": "host-a",
    "queue": "lab",
    "handle": "pending/any-none/job-1",
    "boot_id": "boot-1",
    "claimed_at": 100.0,
    "table": {"api": "edge-agent/v1", "image": "file:///a.sif"},
    "arch": "amd64",
    "reserved": {"cpus": 1.0},
}

LEGAL = {
    (State.PREFETCHED, Event.CLAIM): State.CLAIMED,
    (State.CLAIMED, Event.LAUNCH): State.STARTED,
    (State.CLAIMED, Event.END): State.FINISHED,
    (State.STARTED, Event.END): State.FINISHED,
    (State.FINISHED, Event.COMMIT): State.COMMITTED,
    (State.FINISHED, Event.GIVE_BACK): State.RELEASED,
    (State.FINISHED, Event.OVERTAKEN): State.SUPERSEDED,
    (State.COMMITTED, Event.SETTLE): State.SETTLED,
}
PAIRS = [(state, event) for state in State for event in Event]


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=lambda value: str(value.value))
def test_each_pair_leads_where_the_table_says_or_is_an_error(state: State, event: Event) -> None:
    if (state, event) in LEGAL:
        assert transition(state, event) is LEGAL[state, event]
    else:
        with pytest.raises(ValueError, match=f"{event.value} cannot happen to an attempt that is {state.value}"):
            transition(state, event)


def test_every_state_is_reached_and_only_ends_lead_nowhere() -> None:
    assert {State.PREFETCHED, *TRANSITIONS.values()} == set(State)
    assert {state for state in State if state.is_end} == set(State) - {state for state, _ in TRANSITIONS}


def test_no_journalled_state_is_an_end() -> None:
    assert not any(state.is_end for state in JOURNALLED)


def test_an_event_changes_the_state_and_nothing_else() -> None:
    started = ATTEMPT.on(Event.LAUNCH)
    assert started == msgspec.structs.replace(ATTEMPT, state=State.STARTED)
    assert ATTEMPT.state is State.CLAIMED


def test_an_attempt_that_has_not_ended_has_no_end() -> None:
    with pytest.raises(ValueError, match=r"attempt job-1\.2 is claimed and has not ended"):
        _ = ATTEMPT.end
    assert ATTEMPT.ended(ENDING).end == ENDING
    with pytest.raises(ValueError, match="end cannot happen"):
        ATTEMPT.ended(ENDING).ended(ENDING)


@pytest.mark.parametrize(
    "attempt",
    [
        ATTEMPT,
        msgspec.structs.replace(ATTEMPT.on(Event.LAUNCH), started_at=110.0, checkpoint=CHECKPOINT),
        msgspec.structs.replace(ATTEMPT.ended(ENDING).on(Event.COMMIT), artifacts=(CHECKPOINT,)),
    ],
    ids=lambda attempt: attempt.state.value,
)
def test_the_journal_gives_back_what_it_was_given(attempt: Attempt) -> None:
    assert from_journal(to_journal(attempt)) == attempt


def test_an_entry_of_a_previous_release_is_read() -> None:
    attempt = from_journal(json.dumps(OLD_ENTRY).encode())
    assert (attempt.id, attempt.state, attempt.reserved) == ("job-1.2", State.CLAIMED, Share(1.0))
    assert (attempt.ending, attempt.artifacts, attempt.checkpoint) == (None, (), None)
    assert attempt.job.image == "file:///a.sif"


def test_an_entry_of_a_later_release_is_read() -> None:
    assert from_journal(json.dumps({**OLD_ENTRY, "mood": "good"}).encode()).id == "job-1.2"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", json.dumps({**OLD_ENTRY, "state": "odd"}).encode()])
def test_what_is_no_entry_is_a_decode_error(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        from_journal(body)


def test_the_use_is_what_was_measured_and_what_was_moved() -> None:
    moved = msgspec.structs.replace(ATTEMPT, moved=Moved(10, 20))
    assert moved.usage is None
    used = msgspec.structs.replace(ENDING, usage=Usage(cpu_s=1.5, ended_by="itself"))
    whole = Usage(cpu_s=1.5, bytes_in=10, bytes_out=20, ended_by="itself")
    assert moved.ended(used).usage == moved.ended(used).record().usage == whole
    assert from_journal(to_journal(moved.ended(used).on(Event.COMMIT))).usage == whole
    assert moved.ended(msgspec.structs.replace(ENDING, usage=None)).usage == Usage(bytes_in=10, bytes_out=20)


def test_records_without_use_and_with_more_of_it_are_read() -> None:
    plain = msgspec.to_builtins(ATTEMPT.ended(ENDING).record())
    del plain["usage"]
    assert msgspec.convert(plain, AttemptRecord).usage is None
    later = {**plain, "usage": {"cpu_s": 1.5, "joules": 9}}
    assert msgspec.convert(later, AttemptRecord).usage == Usage(cpu_s=1.5)


def test_the_record_shows_the_attempt_and_its_end() -> None:
    record = msgspec.structs.replace(ATTEMPT.ended(ENDING), artifacts=(CHECKPOINT,)).record()
    assert (record.sid, record.n, record.token, record.host) == ("job-1", 2, "token", "host-a")
    assert (record.state, record.outcome, record.exit_code, record.ended_at) == ("finished", Outcome.FAILED, 3, 120.0)
    assert (record.reason, record.artifacts) == ("exit code 3", (CHECKPOINT,))
    assert ATTEMPT.record().outcome is None
