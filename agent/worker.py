"""One job on its way:  admit (-> hold) -> stage and launch -> watch -> deliver."""

from __future__ import annotations

import contextlib
import logging

import msgspec

from agent.admission import admit
from agent.attempt import Attempt, Event, State
from agent.context import Context, Queue
from agent.delivery import deliver
from agent.errors import DiskFull, EdgeAgentError, HostFault, InvalidInput, JobFault, StoreUnavailable, Unavailable
from agent.holding import hold
from agent.keeping import keep
from agent.model.records import Outcome
from agent.observing import Observation, wish_before_launch
from agent.ports import Delivery
from agent.spare import SEATED, Seat
from agent.steps import RUN_STEPS, STAGE_STEPS
from agent.watching import watch

log = logging.getLogger(__name__)

WISHES = {"cancelled": Outcome.CANCELLED, "lease-lost": Outcome.SUPERSEDED}
FAULTS = {
    JobFault: Outcome.FAILED,
    InvalidInput: Outcome.FAILED,
    StoreUnavailable: Outcome.DEFERRED,
    DiskFull: Outcome.DEFERRED,
}


def work(context: Context, queue: Queue, delivery: Delivery, seat: Seat = SEATED) -> None:
    """Take one delivery as far as this host can. seat: its worker, which it has no need of while it is held."""
    attempt = admit(context, queue, delivery, seat)
    if attempt is not None and attempt.state is State.PREFETCHED:
        attempt = hold(context, queue, delivery, attempt, seat)
    if attempt is not None:
        follow(context, stage_and_launch(context, attempt))


def stage_and_launch(context: Context, attempt: Attempt) -> Attempt:
    """Take a claimed attempt through all steps; it comes back started, or finished when that cannot be."""
    for step in RUN_STEPS if attempt.staged else STAGE_STEPS + RUN_STEPS:
        wish = context.board.stop_wish(attempt.id) or ("stopped" if context.detaching.is_set() else None)
        if wish is None and step in RUN_STEPS:
            wish = wish_before_launch(context, attempt)
        if wish is not None:
            return context.ended(attempt, WISHES.get(wish, Outcome.STOPPED), f"{wish} before it ran")
        try:
            if step in RUN_STEPS and attempt.state is State.CLAIMED:
                # The journal knows of the container before the holder does: recovery asks the holder.
                started = msgspec.structs.replace(attempt, started_at=context.clock.time())
                attempt = context.advance(started, Event.LAUNCH)
            context.board.show(attempt, step.name)
            step.apply(context, attempt)
        except EdgeAgentError as error:
            outcome = next((FAULTS[kind] for kind in FAULTS if isinstance(error, kind)), Outcome.SETUP_FAILED)
            if outcome is Outcome.FAILED:
                _tell_in_log(context, attempt, f"{step.failed or step.name}\n{error}")
            return context.ended(attempt, outcome, f"{step.name}: {error}")
    log.info("job started", extra={"event": "job-started", "attempt": attempt.id})
    with contextlib.suppress(StoreUnavailable):  # for those who ask the store; nothing depends on it
        context.queue(attempt).results.update(attempt.record())
    return attempt


def _tell_in_log(context: Context, attempt: Attempt, text: str) -> None:
    """Leave the reason where the job's owner looks first."""
    with contextlib.suppress(OSError), (context.directory(attempt.id) / "log").open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def follow(context: Context, attempt: Attempt) -> None:
    """Bring an attempt to its end from wherever it is: the way on after a restart of the agent, too."""
    if attempt.state is State.STARTED:
        with Observation(context, attempt):
            attempt = watch(context, attempt)
        if attempt.state is State.STARTED:
            return  # detached: the container runs on, and the next agent follows it
    context.ledger.release_compute(attempt.id)
    context.board.show(attempt, "deliver")
    try:
        deliver(context, attempt)
    except (Unavailable, HostFault) as error:
        log.warning("results wait", extra={"event": "results-wait", "attempt": attempt.id, "reason": str(error)})
        _keep(context, attempt)
        live = context.board.find(attempt.sid)  # it may have been committed on the way
        context.board.wait_in_outbox(live.attempt if live else attempt, str(error))


def _keep(context: Context, attempt: Attempt) -> None:
    """Let what the job left survive a power cut while it waits; where that fails, the job would run again after one."""
    try:
        keep(context.directory(attempt.id))
    except OSError as error:
        fields = {"event": "not-kept", "attempt": attempt.id, "reason": str(error)}
        log.warning("waiting results may not survive a power cut", extra=fields)
