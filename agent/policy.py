"""Decisions about attempts that ended: what the end means, what becomes of the job, how long to wait. Pure.

Settling:

    outcome                              becomes
    succeeded, cancelled                 committed
    failed, timed-out, out-of-memory     given back while retries are left, for an exit code to retry on;
                                         else committed
    expired                              committed
    stopped                              given back at once
    deferred, lost                       given back with growing delay
    setup-failed                         given back with growing delay; on three hosts: dead letter
    superseded                           dropped: another attempt has it
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

import msgspec

from agent.attempt import Ending
from agent.model.job import Job
from agent.model.records import AttemptRecord, Outcome
from agent.model.run import Exit
from agent.model.usage import Usage

SETUP_FAILURE_HOSTS = 3

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


class Settlement(str, Enum):
    """What becomes of a job after an attempt."""

    COMMIT = "commit"
    GIVE_BACK = "give-back"
    BURY = "bury"
    DROP = "drop"


def settle(ending: Ending, job: Job, earlier: Iterable[AttemptRecord], host: str) -> Settlement:
    """Decide what becomes of the job; `earlier` are its attempts before this one, on whatever host."""
    if ending.outcome is Outcome.SUPERSEDED:
        return Settlement.DROP
    if ending.outcome.is_failure_of_job:
        return Settlement.GIVE_BACK if _may_retry(ending, job, earlier) else Settlement.COMMIT
    if ending.outcome is Outcome.SETUP_FAILED:
        hosts = {record.host for record in earlier if record.outcome is Outcome.SETUP_FAILED} | {host}
        return Settlement.BURY if len(hosts) >= SETUP_FAILURE_HOSTS else Settlement.GIVE_BACK
    return Settlement.COMMIT if ending.outcome.is_result else Settlement.GIVE_BACK


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


def give_back_delay(ending: Ending, earlier: Iterable[AttemptRecord], back_off: BackOff, random: float) -> float:
    """Return how long this host leaves a job alone that it gives back: growing with failures, else 0."""
    if ending.outcome is Outcome.STOPPED:
        return 0.0
    failures = sum(record.outcome is not None and record.outcome is not Outcome.STOPPED for record in earlier)
    return back_off.delay(failures + 1, random)
