"""The end of the path: what a finished attempt made is saved, committed, published; then the job leaves the queue.

Everything here may be repeated after a crash or an outage: saving replaces, the commit is created once and recognized
by its token, publishing copies again, settling and undoing find nothing to do.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from agent.attempt import Attempt, Ending, Event, State
from agent.committing import commit, publish, supersede
from agent.context import Context, Queue
from agent.model.records import AttemptRecord, Outcome
from agent.model.usage import Moved, Usage
from agent.observing import tell_end
from agent.policy import SETTLING, Case, Message, counted, give_back_delay, settle
from agent.ports import Lease
from agent.saving import is_overtaken
from agent.steps import undo_all
from agent.steps.stage_out import stage_out

log = logging.getLogger(__name__)


class Conclusion(NamedTuple):
    """What became of a finished attempt: its last event but for the clean-up, and for how long to look away."""

    attempt: Attempt
    event: Event
    release: float | None = None


def deliver(context: Context, attempt: Attempt) -> Attempt:
    """Bring a finished or committed attempt to its end. Raises Unavailable: call again with the same attempt."""
    queue = context.queue(attempt)
    end = Conclusion(attempt, Event.SETTLE)
    if attempt.state is State.FINISHED:
        end = _conclude(context, queue, attempt)
    if end.attempt.state is State.COMMITTED:
        publish(context, queue, end.attempt.artifacts)
        queue.source.settle(_lease(context, attempt))
    if context.streams is not None:
        context.streams.finish(attempt)
    undo_all(context, attempt.id)
    context.ledger.release(attempt.id)
    lease = _lease(context, attempt)
    context.leases.drop(attempt.sid)
    attempt = context.advance(end.attempt, end.event)
    if end.release is not None:
        # Last of all: as long as the source holds the job, no worker of this agent takes it again.
        queue.source.release(lease, end.release)
    fields = {"event": "attempt-over", "attempt": attempt.id, "outcome": attempt.end.outcome.value}
    log.info("attempt is over", extra={**fields, "state": attempt.state.value, "reason": attempt.end.reason})
    return attempt


def _lease(context: Context, attempt: Attempt) -> Lease:
    """Return the lease with the newest handle: a redelivery may have been adopted at any time."""
    return context.leases.lease(attempt.sid) or Lease(attempt.sid, attempt.handle, attempt.n, attempt.token)


def _conclude(context: Context, queue: Queue, attempt: Attempt) -> Conclusion:
    """Decide what becomes of the job, and do it as far as it must happen before the clean-up."""
    records = [record for record, _ in queue.results.attempts(attempt.sid)]
    own = next((record for record in records if record.n == attempt.n and record.token == attempt.token), None)
    if own is None or own.outcome is not None:
        # Killed before the claim was made, or after all this was done: what the record says stays.
        return Conclusion(attempt, Event.GIVE_BACK, 0.0)
    earlier = [record for record in counted(records) if record.n < attempt.n]
    case = settle(attempt.end, attempt.job, earlier)
    if not SETTLING[case].commits and (made := _made_before(queue, attempt)) is not None:
        queue.results.update(made.record())
        return Conclusion(context.advance(made, Event.COMMIT), Event.SETTLE)
    # Another host has it already: this end is not the job's, and uses up none of its retries.
    overtaken = not SETTLING[case].commits and any(record.n > attempt.n for record in records)
    if case is Case.SUPERSEDED or overtaken:
        supersede(queue, attempt)
        return Conclusion(attempt, Event.OVERTAKEN, 0.0)
    return _store(context, queue, attempt, case, earlier)


def _store(
    context: Context, queue: Queue, attempt: Attempt, case: Case, earlier: Sequence[AttemptRecord]
) -> Conclusion:
    """Save what the attempt made; then commit it as the result, or record its end and give the job back."""
    made = stage_out(context, attempt)
    attempt = msgspec.structs.replace(attempt, artifacts=made.artifacts)
    if made.fault is not None and attempt.end.outcome is Outcome.SUCCEEDED:
        # Without one of its outputs it has not done its work.
        ending = msgspec.structs.replace(attempt.end, outcome=Outcome.FAILED, reason=made.fault)
        attempt = msgspec.structs.replace(attempt, ending=ending)
        case = settle(ending, attempt.job, earlier)
    attempt = context.counted(attempt)
    if attempt.cargo.direct and is_overtaken(queue.results, attempt):
        # Its outputs may not be where the job wants them: only the newer attempt may store there.
        supersede(queue, attempt)
        return Conclusion(attempt, Event.OVERTAKEN, 0.0)
    tell_end(context, attempt, final=SETTLING[case].message is Message.OFF)
    if SETTLING[case].commits:
        if commit(context, queue, attempt):
            return Conclusion(context.advance(attempt, Event.COMMIT), Event.SETTLE)
        supersede(queue, attempt)
        queue.source.settle(_lease(context, attempt))
        return Conclusion(attempt, Event.OVERTAKEN)
    # The record says "ended" only now, when nothing of it is missing: from here on anybody may take the job.
    queue.results.update(attempt.record())
    delay = give_back_delay(case, earlier, context.back_off, context.random())
    context.board.will_return(attempt.sid, context.clock.boottime() + delay)
    return Conclusion(attempt, Event.GIVE_BACK, delay)


def _made_before(queue: Queue, attempt: Attempt) -> Attempt | None:
    """Return the attempt as it was when it was committed, or None.

    After a power cut the journal may not know of the commit, and what the job made may be gone from this host: to save
    that again would spoil the result.
    """
    made = queue.results.committed(attempt.sid)
    if made is None or made.token != attempt.token:
        return None
    usage = made.usage or Usage()
    moved = Moved(usage.bytes_in, usage.bytes_out)
    ending = Ending(made.outcome, made.reason, made.exit_code, made.started_at, made.ended_at, made.usage)
    return msgspec.structs.replace(attempt, ending=ending, artifacts=made.artifacts, moved=moved)
