"""Waiting for the end of a container, with an eye on what others want of it."""

from __future__ import annotations

from agent.attempt import Attempt
from agent.context import Context
from agent.model.records import Outcome
from agent.policy import ending_of
from agent.steps.checkpoint import Saver

TICK = 1.0  # seconds between looks at the wishes for a running job


def watch(context: Context, attempt: Attempt) -> Attempt:
    """Wait for the container's end, pass wishes on, save checkpoints. Comes back started when the agent detaches."""
    saver, passed_on = Saver(context), False
    while True:
        status = context.runtime.status(attempt.id, TICK)
        if status.exit is not None:
            return attempt.ended(ending_of(status.exit, attempt.job))
        if status.phase == "lost":
            return context.ended(attempt, Outcome.LOST, "its end was not seen: host restarted or waiter killed")
        if status.phase == "absent":
            return context.ended(attempt, Outcome.STOPPED, "the holder never saw it")
        wish = context.board.stop_wish(attempt.id)
        if wish is not None and not passed_on:
            context.runtime.stop(attempt.id, wish, attempt.job.grace)
            passed_on = True
        if wish is None and context.detaching.is_set():
            return attempt
        attempt = saver.step(attempt)
