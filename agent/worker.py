"""One job on its way:  admit -> stage and launch -> watch -> deliver."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from agent.admission import admit
from agent.attempt import Attempt, Ending, Event, State
from agent.context import Context, Queue
from agent.delivery import deliver
from agent.errors import EdgeAgentError, HostFault, InvalidInput, JobFault, StoreUnavailable, Unavailable
from agent.model.records import Outcome
from agent.policy import ending_of
from agent.ports import Delivery
from agent.steps import RUN_STEPS, STAGE_STEPS
from agent.steps.checkpoint import Saver

log = logging.getLogger(__name__)

TICK = 1.0  # seconds between looks at the wishes for a running job
WISHES = {"cancelled": Outcome.CANCELLED, "lease-lost": Outcome.SUPERSEDED}
FAULTS = {JobFault: Outcome.FAILED, InvalidInput: Outcome.FAILED, StoreUnavailable: Outcome.DEFERRED}


def work(context: Context, queue: Queue, delivery: Delivery) -> None:
    """Take one delivery as far as this host can."""
    attempt = admit(context, queue, delivery)
    if attempt is not None:
        follow(context, stage_and_launch(context, attempt))


def guarded(context: Context, sid: str, task: Callable[[], None]) -> None:
    """Do a worker's task; an error that nobody foresaw costs one attempt, never the agent or its other jobs.

    The one broad catch of the agent: a job that trips a bug must not start a crash loop.
    """
    try:
        task()
    except Exception as error:
        log.exception("unforeseen error", extra={"event": "internal-error", "sid": sid})
        abandon(context, sid, f"internal error: {type(error).__name__}: {error}")


def abandon(context: Context, sid: str, reason: str) -> None:
    """Leave a job whose worker is gone to the outbox, which gives it back with growing pauses."""
    live = context.board.find(sid)
    if live is None:
        context.leases.drop(sid)
    elif live.attempt.ending is None:
        context.board.wait_in_outbox(ended(context, live.attempt, Outcome.SETUP_FAILED, reason), reason)
    else:
        context.board.wait_in_outbox(live.attempt, reason)


def stage_and_launch(context: Context, attempt: Attempt) -> Attempt:
    """Take a claimed attempt through all steps; it comes back started, or finished when that cannot be."""
    for step in STAGE_STEPS + RUN_STEPS:
        wish = context.board.stop_wish(attempt.id) or ("stopped" if context.detaching.is_set() else None)
        if wish is not None:
            return ended(context, attempt, WISHES.get(wish, Outcome.STOPPED), f"{wish} before it ran")
        if step in RUN_STEPS and attempt.state is State.CLAIMED:
            # The journal knows of the container before the holder does: recovery asks the holder.
            started = msgspec.structs.replace(attempt, started_at=context.clock.time())
            attempt = context.advance(started, Event.LAUNCH)
        try:
            context.board.show(attempt, step.name)
            step.apply(context, attempt)
        except EdgeAgentError as error:
            outcome = next((FAULTS[kind] for kind in FAULTS if isinstance(error, kind)), Outcome.SETUP_FAILED)
            return ended(context, attempt, outcome, f"{step.name}: {error}")
    log.info("job started", extra={"event": "job-started", "attempt": attempt.id})
    return attempt


def follow(context: Context, attempt: Attempt) -> None:
    """Bring an attempt to its end from wherever it is: the way on after a restart of the agent, too."""
    if attempt.state is State.STARTED:
        attempt = watch(context, attempt)
        if attempt.state is State.STARTED:
            return  # detached: the container runs on, and the next agent follows it
    context.ledger.release_compute(attempt.id)
    context.board.show(attempt, "deliver")
    try:
        deliver(context, attempt)
    except (Unavailable, HostFault) as error:
        log.warning("results wait", extra={"event": "results-wait", "attempt": attempt.id, "reason": str(error)})
        context.board.wait_in_outbox(attempt, str(error))


def watch(context: Context, attempt: Attempt) -> Attempt:
    """Wait for the container's end, pass wishes on, save checkpoints. Comes back started when the agent detaches."""
    saver, passed_on = Saver(context), False
    while True:
        status = context.runtime.status(attempt.id, TICK)
        if status.exit is not None:
            return attempt.ended(ending_of(status.exit, attempt.job))
        if status.phase == "lost":
            return ended(context, attempt, Outcome.LOST, "its end was not seen: host restarted or waiter killed")
        if status.phase == "absent":
            return ended(context, attempt, Outcome.STOPPED, "the holder never saw it")
        wish = context.board.stop_wish(attempt.id)
        if wish is not None and not passed_on:
            context.runtime.stop(attempt.id, wish, attempt.job.grace)
            passed_on = True
        if wish is None and context.detaching.is_set():
            return attempt
        attempt = saver.step(attempt)


def ended(context: Context, attempt: Attempt, outcome: Outcome, reason: str) -> Attempt:
    """Return the attempt finished by something else than its container's exit."""
    return attempt.ended(Ending(outcome, reason, None, attempt.started_at, context.clock.time()))
