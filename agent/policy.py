"""Decisions about deliveries and attempts: what an end means, what becomes of the job, how long to wait. Pure.

SETTLING is the table of all that can happen, with what is done then; `agent/docs/path.md` shows it to people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

import msgspec

from agent.attempt import Ending
from agent.model.job import Job
from agent.model.records import AttemptRecord, Outcome
from agent.model.run import Exit
from agent.model.usage import Usage

SETUP_FAILURE_HOSTS = 3
LOOK_AGAIN_HERE = 600.0  # seconds; a refused-here job is looked at again: images appear, hosts change
LOOK_AGAIN_NOW = (2.0, 10.0)
RING_SPREAD = 0.05  # seconds within which hosts look after a ring, as long as they find something

_WHY = {
    "timeout": Outcome.TIMED_OUT,
    "memory": Outcome.OUT_OF_MEMORY,
    "disk": Outcome.FAILED,
    "pids": Outcome.FAILED,
    "cancelled": Outcome.CANCELLED,
    "lease-lost": Outcome.SUPERSEDED,
    "disk-low": Outcome.DEFERRED,
}


_WHY_TEXT = {
    "pids": "had more processes and threads than [limits] pids of its host allows",
    "cancelled": "cancelled",
    "lease-lost": "another attempt took over",
    "disk-low": "the disk of its host was nearly full, and it grew the fastest of the jobs there",
}


# Ends that say nothing of the job; all others of _WHY are limits, which hold for a payload that runs.
_WISHES = ("cancelled", "lease-lost", "disk-low")


def ending_of(exit: Exit, job: Job) -> Ending:
    """Return what the end of a container means for its attempt."""
    outcome, reason = _meaning(exit, job)
    ended_by = "itself" if exit.why == "exited" else exit.why
    usage = msgspec.structs.replace(exit.usage or Usage(), ended_by=ended_by)
    return Ending(outcome, reason, exit.exit_code, exit.started_at, exit.ended_at, usage)


def _meaning(exit: Exit, job: Job) -> tuple[Outcome, str | None]:
    if exit.why in _WHY and (exit.started or exit.why in _WISHES):
        return _WHY[exit.why], _why_text(exit.why, job)
    if exit.why in _WHY:
        return Outcome.SETUP_FAILED, f"the container was never set up: it {_why_text(exit.why, job)}"
    if exit.why != "exited":
        return Outcome.STOPPED, "stopped by its host" + ("" if exit.why == "stopped" else f" ({exit.why})")
    if not exit.started:
        return (
            Outcome.SETUP_FAILED,
            exit.error or "the container could not be set up; its log has the runtime's message",
        )
    if exit.exit_code == 0:
        return Outcome.SUCCEEDED, None
    if exit.exit_code is None:
        return Outcome.FAILED, f"killed by signal {exit.signal}"
    return Outcome.FAILED, f"exit code {exit.exit_code}"


def _why_text(why: str, job: Job) -> str:
    if why == "timeout":
        return f"ran longer than its timeout of {job.timeout:g} s"
    if why == "memory":
        return f"used more than its {job.requires.memory} bytes of memory"
    if why == "disk":
        return f"left more on disk than its {job.requires.disk} bytes of requires.disk"
    return _WHY_TEXT[why]


class Message(str, Enum):
    """What happens to the message of a job. LEFT: another attempt has it."""

    OFF = "taken off"
    BACK = "given back"
    LEFT = "left"


class Pause(str, Enum):
    """When a message that was given back comes again."""

    NONE = "-"
    AT_ONCE = "at once"
    GROWING = "growing"  # [retry] first, doubling up to max
    SOON = "soon"
    LATE = "late"


class Case(str, Enum):
    """Everything that can become of a message, or of an attempt at its job. The value is what people read."""

    SUCCEEDED = "succeeded"
    FAILED = "failed, no retry"
    FAILED_RETRY = "failed, retry left"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    STOPPED = "stopped"
    SETUP_FAILED = "set-up failed"
    SETUP_FAILED_EVERYWHERE = "set-up failed on three hosts"
    DEFERRED = "deferred"
    LOST = "lost"
    SUPERSEDED = "lease lost"
    COMMITTED_ELSEWHERE = "committed elsewhere"
    OVER = "over already"
    REFUSED_NOW = "refused now"
    REFUSED_HERE = "refused here"
    UNREADABLE = "unreadable"


class Row(NamedTuple):
    """What is done in a case.

    ends: what the attempt's record says then, "-" = there is no attempt, or nothing changes in it. commits: it is the
    job's result. uses_retry: it counts against `retries`. letter: the message becomes a dead letter; a plain queue has
    none, there it is noted in the results store.
    """

    message: Message
    ends: str
    commits: bool = False
    uses_retry: bool = False
    pause: Pause = Pause.NONE
    letter: bool = False


_OUTCOME = "outcome"
SETTLING: Mapping[Case, Row] = {
    Case.SUCCEEDED: Row(Message.OFF, _OUTCOME, commits=True),
    Case.FAILED: Row(Message.OFF, _OUTCOME, commits=True, uses_retry=True),
    Case.FAILED_RETRY: Row(Message.BACK, _OUTCOME, uses_retry=True, pause=Pause.GROWING),
    Case.CANCELLED: Row(Message.OFF, _OUTCOME, commits=True),
    Case.EXPIRED: Row(Message.OFF, "-", commits=True),
    Case.STOPPED: Row(Message.BACK, _OUTCOME, pause=Pause.AT_ONCE),
    Case.SETUP_FAILED: Row(Message.BACK, _OUTCOME, pause=Pause.GROWING),
    Case.SETUP_FAILED_EVERYWHERE: Row(Message.OFF, "-", letter=True),
    Case.DEFERRED: Row(Message.BACK, _OUTCOME, pause=Pause.GROWING),
    Case.LOST: Row(Message.BACK, _OUTCOME, pause=Pause.GROWING),
    Case.SUPERSEDED: Row(Message.LEFT, "superseded"),
    Case.COMMITTED_ELSEWHERE: Row(Message.OFF, "superseded"),
    Case.OVER: Row(Message.OFF, "-"),
    Case.REFUSED_NOW: Row(Message.BACK, "-", pause=Pause.SOON),
    Case.REFUSED_HERE: Row(Message.BACK, "-", pause=Pause.LATE),
    Case.UNREADABLE: Row(Message.OFF, "-", letter=True),
}

_CASES = {
    Outcome.SUCCEEDED: Case.SUCCEEDED,
    Outcome.CANCELLED: Case.CANCELLED,
    Outcome.EXPIRED: Case.EXPIRED,
    Outcome.STOPPED: Case.STOPPED,
    Outcome.SETUP_FAILED: Case.SETUP_FAILED,
    Outcome.DEFERRED: Case.DEFERRED,
    Outcome.LOST: Case.LOST,
    Outcome.SUPERSEDED: Case.SUPERSEDED,
}


def counted(attempts: Iterable[AttemptRecord]) -> list[AttemptRecord]:
    """Return the attempts whose ends count, first to last, of all attempts at a job.

    One that was taken over while nobody knew its end does not, whatever its host records when it comes back: who took
    over has decided without knowing of it, and so must everybody after.
    """
    found = list(attempts)
    taken_over = {record.n - 1 for record in found if record.took_over}
    return [record for record in found if record.n not in taken_over]


def settle(ending: Ending, job: Job, earlier: Iterable[AttemptRecord]) -> Case:
    """Return the case of an attempt that ended; `earlier` are the job's attempts before it, on whatever host."""
    if ending.outcome.is_failure_of_job:
        return Case.FAILED_RETRY if _may_retry(ending, job, earlier) else Case.FAILED
    return _CASES[ending.outcome]


def hopeless(attempts: Iterable[AttemptRecord]) -> str | None:
    """Return why no further host shall try a job: three could not set it up; None while one may."""
    failed = [record for record in attempts if record.outcome is Outcome.SETUP_FAILED]
    if len({record.host for record in failed}) < SETUP_FAILURE_HOSTS:
        return None
    return failed[-1].reason or Outcome.SETUP_FAILED.value


def _may_retry(ending: Ending, job: Job, earlier: Iterable[AttemptRecord]) -> bool:
    used = sum(record.outcome is not None and record.outcome.is_failure_of_job for record in earlier)
    return used < job.retries and (not job.retry_on or ending.exit_code in job.retry_on)


class BackOff(msgspec.Struct, frozen=True):
    """Growing pauses between tries: `first`, doubling up to `most` (seconds), each cut by up to half at random."""

    first: float
    most: float

    def delay(self, failures: int, random: float) -> float:
        """Return the pause after `failures` (>= 1) failed tries in a row; random is in [0, 1)."""
        # 2 ** 60 is beyond any `most`; without a bound the power would overflow after days of outage.
        full = min(self.most, self.first * 2.0 ** min(failures - 1, 60))
        return full * (1 - random / 2)


def give_back_delay(case: Case, earlier: Iterable[AttemptRecord], back_off: BackOff, random: float) -> float:
    """Return how long this host leaves a job alone whose attempt ended like this, in seconds; random is in [0, 1)."""
    if SETTLING[case].pause is not Pause.GROWING:
        return 0.0
    failures = sum(record.outcome is not None and record.outcome is not Outcome.STOPPED for record in earlier)
    return back_off.delay(failures + 1, random)


def refusal_delay(case: Case, random: float, *, shared: bool) -> float:
    """Return how long this host leaves a job alone that it refused, in seconds; random is in [0, 1).

    shared: nobody else sees the job meanwhile, so that even one that can never run here is not kept from others.
    """
    if SETTLING[case].pause is Pause.LATE and not shared:
        return LOOK_AGAIN_HERE * (1 + random / 2)
    low, high = LOOK_AGAIN_NOW
    return low + (high - low) * random


def ring_delay(late: int, random: float, most: float) -> float:
    """Return how long after a ring of the bell a host looks, in seconds; random is in [0, 1).

    late: rings in a row after which it came too late for the job. The more hosts there are for each job, the more often
    that is so, and the wider they spread, up to `most` seconds.
    """
    return min(most, RING_SPREAD * 2.0 ** min(late, 60)) * random
