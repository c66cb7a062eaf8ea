"""The border around a worker: what nobody foresaw ends here."""

from __future__ import annotations

import logging
from collections.abc import Callable

from agent.context import Context
from agent.model.records import Outcome

log = logging.getLogger(__name__)


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
        context.board.wait_in_outbox(context.ended(live.attempt, Outcome.SETUP_FAILED, reason), reason)
    else:
        context.board.wait_in_outbox(live.attempt, reason)
