"""The border around a worker and around those who only look on: what nobody foresaw ends here."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from agent.context import Context
from agent.errors import EdgeAgentError, Unavailable
from agent.model.records import Outcome

log = logging.getLogger(__name__)


def guarded(context: Context, sid: str, task: Callable[[], None]) -> None:
    """Do a worker's task; an error that nobody foresaw costs one attempt, never the agent or its other jobs.

    One of the two broad catches of the agent: a job that trips a bug must not start a crash loop.
    """
    try:
        task()
    except Exception as error:
        log.exception("unforeseen error", extra={"event": "internal-error", "sid": sid})
        abandon(context, sid, f"internal error: {type(error).__name__}: {error}")


def kept_apart(sid: str, task: Callable[[], None]) -> None:
    """Do something beside a job; an error that nobody foresaw costs what it would have done, and no job.

    Errors that were foreseen pass.
    """
    try:
        task()
    except EdgeAgentError:
        raise
    except Exception:
        log.exception("unforeseen error beside a job", extra={"event": "internal-error", "sid": sid})


def abandon(context: Context, sid: str, reason: str) -> None:
    """Give back what was not claimed; leave an attempt to the outbox, which gives it back with growing pauses."""
    live = context.board.find(sid)
    if live is None:
        _give_back(context, sid)
    elif live.attempt.ending is None:
        context.board.wait_in_outbox(context.ended(live.attempt, Outcome.SETUP_FAILED, reason), reason)
    else:
        context.board.wait_in_outbox(live.attempt, reason)


def _give_back(context: Context, sid: str) -> None:
    """Release a delivery on which nothing was claimed; where that fails, too, its lease runs out."""
    held = context.leases.drop(sid)
    if held is None:
        return
    delay = context.back_off.delay(2, context.random())
    context.board.will_return(sid, context.clock.boottime() + delay)
    with contextlib.suppress(Unavailable):
        held.source.release(held.lease, delay)
