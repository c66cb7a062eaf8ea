"""The end of the path: what a finished attempt made is saved, committed, published; then the job leaves the queue.

Everything here may be repeated after a crash or an outage: saving replaces, the commit is created once and recognized
by its token, publishing copies again, settling and undoing find nothing to do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from agent.attempt import Attempt, Ending, Event, State
from agent.context import Context, Queue
from agent.model.records import Artifact, Commit, Outcome
from agent.policy import Settlement, give_back_delay, settle
from agent.ports import Delivery, Lease
from agent.saving import save, store
from agent.steps import undo_all
from agent.transfer.stream import chunks

log = logging.getLogger(__name__)


class Conclusion(NamedTuple):
    """What became of a finished attempt: its last event but for the clean-up, and for how long to look away."""

    attempt: Attempt
    event: Event
    release: float | None = None


def deliver(context: Context, attempt: Attempt) -> Attempt:
    """Bring a finished or committed attempt to its end. Raises Unavailable: call again with the same attempt."""
    queue = context.queue(attempt)
    lease = Lease(attempt.sid, attempt.handle, attempt.n, attempt.token)
    end = Conclusion(attempt, Event.SETTLE)
    if attempt.state is State.FINISHED:
        end = _conclude(context, queue, attempt, lease)
    if end.attempt.state is State.COMMITTED:
        publish(context, queue, end.attempt.artifacts)
        queue.source.settle(lease)
    undo_all(context, attempt.id)
    context.ledger.release(attempt.id)
    context.leases.drop(attempt.sid)
    attempt = context.advance(end.attempt, end.event)
    if end.release is not None:
        # Last of all: as long as the source holds the job, no worker of this agent takes it again.
        queue.source.release(lease, end.release)
    fields = {"event": "attempt-over", "attempt": attempt.id, "outcome": ending_of(attempt).outcome.value}
    log.info("attempt is over", extra={**fields, "state": attempt.state.value, "reason": ending_of(attempt).reason})
    return attempt


def _conclude(context: Context, queue: Queue, attempt: Attempt, lease: Lease) -> Conclusion:
    """Decide what becomes of the job, and do it as far as it must happen before the clean-up."""
    job, ending = attempt.job, ending_of(attempt)
    records = [record for record, _ in queue.results.attempts(attempt.sid)]
    own = next((record for record in records if record.n == attempt.n and record.token == attempt.token), None)
    if own is None or own.outcome is not None:
        # Killed before the claim was made, or after all this was done: what the record says stays.
        return Conclusion(attempt, Event.GIVE_BACK, 0.0)
    earlier = [record for record in records if record.n < attempt.n]
    decision = settle(ending, job, earlier, context.host_id)
    if decision is Settlement.DROP:
        _overtaken(queue, attempt)
        return Conclusion(attempt, Event.OVERTAKEN, 0.0)
    attempt = msgspec.structs.replace(attempt, artifacts=tuple(stage_out(context, attempt, ending)))
    if decision is Settlement.COMMIT:
        if commit(context, queue, attempt, ending):
            return Conclusion(context.advance(attempt, Event.COMMIT), Event.SETTLE)
        _overtaken(queue, attempt)
        queue.source.settle(lease)
        return Conclusion(attempt, Event.OVERTAKEN)
    # The record says "ended" only now, when nothing of it is missing: from here on anybody may take the job.
    queue.results.update(attempt.record())
    if decision is Settlement.BURY:
        _bury(context, queue, attempt, ending, lease)
        return Conclusion(attempt, Event.GIVE_BACK)
    delay = give_back_delay(ending, earlier, context.back_off, context.random())
    context.board.will_return(attempt.sid, context.clock.boottime() + delay)
    return Conclusion(attempt, Event.GIVE_BACK, delay)


def ending_of(attempt: Attempt) -> Ending:
    """Return how a finished attempt ended."""
    if attempt.ending is None:
        raise ValueError(f"attempt {attempt.id} is {attempt.state.value} and has no ending")
    return attempt.ending


def stage_out(context: Context, attempt: Attempt, ending: Ending) -> Iterator[Artifact]:
    """Save the log and the outputs that the end of the attempt calls for; yield what was there."""
    directory = context.directory(attempt.id)
    if (directory / "log").exists():
        with (directory / "log").open("rb") as stream:
            yield store(context, attempt, "log", chunks(stream))
    if not (directory / "work").exists():
        return
    for output in attempt.job.outputs:
        if output.when == "always" or ending.outcome is Outcome.SUCCEEDED:
            saved = save(context, attempt, output.path, f"outputs/{output.path}", output.uri)
            if saved is not None:
                yield saved


def commit(context: Context, queue: Queue, attempt: Attempt, ending: Ending) -> bool:
    """Make this attempt the job's one result; False when another one is."""
    commit = Commit(
        sid=attempt.sid,
        n=attempt.n,
        host=attempt.host,
        token=attempt.token,
        outcome=ending.outcome,
        committed_at=context.clock.time(),
        started_at=ending.started_at,
        ended_at=ending.ended_at,
        exit_code=ending.exit_code,
        reason=ending.reason,
        artifacts=attempt.artifacts,
    )
    if not queue.results.commit(commit):
        winner = queue.results.committed(attempt.sid)
        if winner is None or winner.token != attempt.token:
            return False
    queue.results.update(attempt.record())
    return True


def publish(context: Context, queue: Queue, artifacts: Iterable[Artifact]) -> None:
    """Copy the committed artifacts to where their submitter wants them."""
    for artifact in artifacts:
        if artifact.uri is not None:
            context.artifacts.copy(queue.results.uri_of(artifact), artifact.uri)


def _overtaken(queue: Queue, attempt: Attempt) -> None:
    record = msgspec.structs.replace(attempt.record(), outcome=Outcome.SUPERSEDED, state=State.SUPERSEDED.value)
    queue.results.update(record)


def _bury(context: Context, queue: Queue, attempt: Attempt, ending: Ending, lease: Lease) -> None:
    body = msgspec.json.encode(attempt.table)
    delivery = Delivery(queue.name, attempt.sid, body, {}, attempt.handle, attempt.claimed_at)
    queue.dead_letters.bury(delivery, ending.reason or ending.outcome.value, context.host_id)
    queue.source.settle(lease)
