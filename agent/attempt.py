"""One attempt at a job: its states, what may happen to it, and what the journal keeps of it.

    prefetched
       | CLAIM
       v      LAUNCH             END               COMMIT               SETTLE
    claimed ---------> started ---------> finished ---------> committed ---------> settled
       |                                  ^   |
       |  END (staging failed, cancelled) |   +-- GIVE_BACK --> released     stopped, lost, set-up failed, retries left
       +----------------------------------+   +-- OVERTAKEN --> superseded   another attempt has the commit or the lease

Written to the journal: claimed, started, committed. `finished` is read from the holder's exit.json, so a crash there
loses nothing; settled, released and superseded remove the entry. What is prefetched is nobody's yet: it has no attempt
record and no entry, and when it is given back nothing is left of it.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from agent.model.cargo import NOTHING, Cargo
from agent.model.job import Job, parse_job
from agent.model.records import Artifact, AttemptRecord, Outcome
from agent.model.share import Share
from agent.model.usage import Moved, Usage


class State(str, Enum):
    """Where an attempt is."""

    PREFETCHED = "prefetched"
    CLAIMED = "claimed"
    STARTED = "started"
    FINISHED = "finished"
    COMMITTED = "committed"
    SETTLED = "settled"
    RELEASED = "released"
    SUPERSEDED = "superseded"

    @property
    def is_end(self) -> bool:
        """True when nothing is left to do."""
        return self in (State.SETTLED, State.RELEASED, State.SUPERSEDED)


class Event(str, Enum):
    """What happens to an attempt."""

    CLAIM = "claim"
    LAUNCH = "launch"
    END = "end"
    COMMIT = "commit"
    SETTLE = "settle"
    GIVE_BACK = "give-back"
    OVERTAKEN = "overtaken"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.PREFETCHED, Event.CLAIM): State.CLAIMED,
    (State.CLAIMED, Event.LAUNCH): State.STARTED,
    (State.CLAIMED, Event.END): State.FINISHED,
    (State.STARTED, Event.END): State.FINISHED,
    (State.FINISHED, Event.COMMIT): State.COMMITTED,
    (State.FINISHED, Event.GIVE_BACK): State.RELEASED,
    (State.FINISHED, Event.OVERTAKEN): State.SUPERSEDED,
    (State.COMMITTED, Event.SETTLE): State.SETTLED,
}

JOURNALLED = (State.CLAIMED, State.STARTED, State.COMMITTED)


def transition(state: State, event: Event) -> State:
    """Return the state that `event` leads to. ValueError for an event that cannot happen in this state."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"{event.value} cannot happen to an attempt that is {state.value}") from None


class Ending(msgspec.Struct, frozen=True):
    """How an attempt ended. Times are seconds since the epoch; reason is a sentence for people.

    usage: what its container used, None where none was seen to end.
    """

    outcome: Outcome
    reason: str | None = None
    exit_code: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    usage: Usage | None = None


class Attempt(msgspec.Struct, frozen=True):
    """One attempt as this agent holds it.

    `table` is the job in its native form, `cargo` what came with it, `reserved` what it may use,
    `moved` what was fetched and stored for it, `staged` whether all is here that its container needs, `took_over`
    whether nobody had recorded how the attempt before it ended.
    """

    sid: str
    n: int
    token: str
    host: str
    queue: str
    handle: str
    boot_id: str
    claimed_at: float
    table: dict[str, Any]
    arch: str
    reserved: Share
    emulated: bool = False
    state: State = State.CLAIMED
    started_at: float | None = None
    ending: Ending | None = None
    artifacts: tuple[Artifact, ...] = ()
    checkpoint: Artifact | None = None
    cargo: Cargo = NOTHING
    moved: Moved = Moved()
    staged: bool = False
    took_over: bool = False

    @property
    def id(self) -> str:
        """Unique among all attempts of all hosts; names everything that a step makes."""
        return f"{self.sid}.{self.n}"

    @property
    def job(self) -> Job:
        """The job."""
        return parse_job(self.table)

    @property
    def end(self) -> Ending:
        """How it ended. ValueError for an attempt that has not."""
        if self.ending is None:
            raise ValueError(f"attempt {self.id} is {self.state.value} and has not ended")
        return self.ending

    @property
    def usage(self) -> Usage | None:
        """What it used; None before its end."""
        return None if self.ending is None else (self.ending.usage or Usage()).with_moved(self.moved)

    def on(self, event: Event) -> Attempt:
        """Return the attempt after `event`."""
        return msgspec.structs.replace(self, state=transition(self.state, event))

    def ended(self, ending: Ending) -> Attempt:
        """Return the attempt finished with `ending`."""
        return msgspec.structs.replace(self.on(Event.END), ending=ending)

    def record(self) -> AttemptRecord:
        """Return what the results store shows of this attempt."""
        ending = self.ending
        return AttemptRecord(
            sid=self.sid,
            n=self.n,
            host=self.host,
            token=self.token,
            claimed_at=self.claimed_at,
            arch=self.arch,
            emulated=self.emulated,
            name=self.table.get("name"),
            took_over=self.took_over,
            state=self.state.value,
            started_at=self.started_at,
            ended_at=ending.ended_at if ending else None,
            outcome=ending.outcome if ending else None,
            exit_code=ending.exit_code if ending else None,
            reason=ending.reason if ending else None,
            artifacts=self.artifacts,
            checkpoint=self.checkpoint,
            usage=self.usage,
        )


def to_journal(attempt: Attempt) -> bytes:
    """Return the journal's form of the attempt."""
    return msgspec.json.encode(attempt)


def from_journal(body: bytes) -> Attempt:
    """Return the attempt that the journal kept; msgspec.DecodeError when the entry is not one."""
    return msgspec.json.decode(body, type=Attempt)
