"""What the results store keeps of a job: submission, attempts, commit. JSON, changed only by adding.

Keys, below the results store's root (`sid` is the submission id, `n` counts attempts from 1):

    <sid>/submission          the job as submitted
    <sid>/attempts/<n>        one attempt; rewriting it renews its lease (the store's clock counts)
    <sid>/commit              the one result; created once, never changed
    <sid>/cancel              somebody wants the job to end
    <sid>/refused/<host>      why a host cannot run the job
    <sid>/dead                why nobody can run it, where its queue keeps dead letters elsewhere; what became of it
    <sid>/watch               somebody follows it, see agent.model.live
    @hosts/                   no jobs: see agent.model.hosts

Artifacts of attempt n lie below <sid>/attempts/<n>/ in the artifact store that goes with the results store.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import msgspec

from agent.model.usage import Usage
from agent.model.verdict import Refusal, Standing


class Outcome(str, Enum):
    """How an attempt ended. The first six are results of the job, the others are not the job's doing."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the payload's exit code or signal, or a fault of the job found while staging
    TIMED_OUT = "timed-out"
    OUT_OF_MEMORY = "out-of-memory"
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # older than the job's `expires`; it never ran
    STOPPED = "stopped"  # the host was told to stop; given back
    SETUP_FAILED = "setup-failed"  # it never started: image, runtime or host; given back
    DEFERRED = "deferred"  # a store that it needs does not answer, or its host's disk is nearly full; given back
    LOST = "lost"  # nobody knows how it ended (reboot, killed waiter); given back
    SUPERSEDED = "superseded"  # another attempt took over or committed first

    @property
    def is_result(self) -> bool:
        """True for an outcome that may be committed as the job's result."""
        return self in _RESULTS

    @property
    def is_failure_of_job(self) -> bool:
        """True when the attempt uses up one of the job's retries."""
        return self in _FAILURES


_FAILURES = (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY)
_RESULTS = (Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.EXPIRED, *_FAILURES)


class Record(msgspec.Struct, frozen=True):
    """Base of stored records: unknown keys of later releases are ignored."""


class Artifact(Record, frozen=True):
    """One saved output. `key` is relative to the artifact root of the results store; kind tree = a tar archive."""

    name: str
    key: str
    size: int
    sha256: str
    kind: Literal["file", "tree"] = "file"
    uri: str | None = None


class Submission(Record, frozen=True):
    """A job as it was submitted. at: seconds since the epoch; by: who, as the submitter says."""

    sid: str
    job: dict[str, Any]
    queue: str
    lane: str
    at: float
    by: str | None = None


class AttemptRecord(Record, frozen=True):
    """One attempt. outcome is None while it may be running; checkpoint is the newest complete one it saved.

    token tells two claimants of the same number apart; arch is the architecture of the image that runs; name is the
    job's, for jobs that nobody submitted with a record of their own. took_over: when it was claimed, nobody had
    recorded how the attempt before it ended; what is recorded of that one later counts no more.
    """

    sid: str
    n: int
    host: str
    token: str
    claimed_at: float
    state: str = "claimed"
    started_at: float | None = None
    ended_at: float | None = None
    outcome: Outcome | None = None
    exit_code: int | None = None
    reason: str | None = None
    artifacts: tuple[Artifact, ...] = ()
    checkpoint: Artifact | None = None
    arch: str | None = None
    emulated: bool = False
    usage: Usage | None = None
    name: str | None = None
    took_over: bool = False


class Commit(Record, frozen=True):
    """The one result of a submission, naming the artifacts of the attempt that won."""

    sid: str
    n: int
    host: str
    token: str
    outcome: Outcome
    committed_at: float
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    reason: str | None = None
    artifacts: tuple[Artifact, ...] = ()
    usage: Usage | None = None


class Cancel(Record, frozen=True):
    """A wish to end a job."""

    at: float
    by: str | None = None


class HostRefusal(Record, frozen=True):
    """Why one host does not run the job. standing: refused-here; refused-now where it fits when the host is free."""

    host: str
    at: float
    refusals: tuple[Refusal, ...]
    standing: Standing = Standing.REFUSED_HERE


class Burial(Record, frozen=True):
    """Why a message lies among the dead letters, and since when (seconds since the epoch).

    became: what was done with it since ("requeued as ID", "dropped"); None while it lies there.
    """

    reason: str
    host: str
    at: float
    became: str | None = None
