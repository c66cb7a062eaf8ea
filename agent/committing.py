"""The one result of a job: committed once, published as often as it takes."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import msgspec

from agent.attempt import Attempt, State
from agent.context import Context, Queue
from agent.errors import InvalidInput, JobFault
from agent.model.records import Artifact, Commit, Outcome

log = logging.getLogger(__name__)


def commit(context: Context, queue: Queue, attempt: Attempt) -> bool:
    """Make this attempt the job's one result; False when another one is."""
    ending = attempt.end
    record = Commit(
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
        usage=attempt.usage,
    )
    if not queue.results.commit(record):
        winner = queue.results.committed(attempt.sid)
        if winner is None or winner.token != attempt.token:
            return False
    queue.results.update(attempt.record())
    return True


def supersede(queue: Queue, attempt: Attempt) -> None:
    """Record that another attempt has the result, or has taken the job over."""
    record = msgspec.structs.replace(attempt.record(), outcome=Outcome.SUPERSEDED, state=State.SUPERSEDED.value)
    queue.results.update(record)


def publish(context: Context, queue: Queue, artifacts: Iterable[Artifact]) -> None:
    """Copy the committed artifacts to where their submitter wants them.

    A target that can never be written to is told in the log: the result stays where it is, in the results store.
    """
    for artifact in artifacts:
        if artifact.uri is None:
            continue
        try:
            context.artifacts.copy(queue.results.uri_of(artifact), artifact.uri)
        except (JobFault, InvalidInput) as error:
            log.error("not published", extra={"event": "publish-failed", "uri": artifact.uri, "reason": str(error)})
