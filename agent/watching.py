"""Waiting for the end of a container, with an eye on what others want of it."""

from __future__ import annotations

import logging

import msgspec

from agent.attempt import Attempt, Ending
from agent.context import Context
from agent.errors import Unavailable
from agent.model.records import Outcome
from agent.model.usage import Usage
from agent.policy import ending_of
from agent.ports import RUNNING, RunStatus
from agent.steps.checkpoint import Saver

log = logging.getLogger(__name__)

TICK = 1.0  # seconds between looks at the wishes for a running job


def watch(context: Context, attempt: Attempt) -> Attempt:
    """Wait for the container's end, pass wishes on, save checkpoints. Comes back started when the agent detaches."""
    saver, passed_on = Saver(context), False
    while True:
        status = _status(context, attempt)
        if status.exit is not None:
            return attempt.ended(_with_gpus(context, attempt, ending_of(status.exit, attempt.job)))
        if status.phase == "lost":
            return context.ended(attempt, Outcome.LOST, "its end was not seen: host restarted or waiter killed")
        if status.phase == "absent":
            return context.ended(attempt, Outcome.STOPPED, "the holder never saw it")
        wish = context.board.stop_wish(attempt.id)
        if wish is not None and not passed_on:
            passed_on = _stop(context, attempt, wish)
        if wish is None and context.detaching.is_set():
            return attempt
        attempt = saver.step(attempt)


def _with_gpus(context: Context, attempt: Attempt, ending: Ending) -> Ending:
    """Return the ending with what was seen of its GPUs; the container's own end knows nothing of them."""
    usage = context.gpu_uses.of(attempt.id).added_to(ending.usage or Usage())
    return msgspec.structs.replace(ending, usage=usage)


def _status(context: Context, attempt: Attempt) -> RunStatus:
    """Wait one tick for the end. A holder that does not answer says nothing of the container: it runs on."""
    try:
        return context.runtime.status(attempt.id, TICK)
    except Unavailable as error:
        log.warning("holder does not answer", extra={"event": "watch-failed", "reason": str(error)})
        context.detaching.wait(TICK)
        return RUNNING


def _stop(context: Context, attempt: Attempt, why: str) -> bool:
    """Ask for the end of the container; False: ask again at the next tick."""
    try:
        context.runtime.stop(attempt.id, why, attempt.job.grace)
    except Unavailable as error:
        log.warning("job cannot be stopped", extra={"event": "stop-failed", "reason": str(error)})
        return False
    return True
