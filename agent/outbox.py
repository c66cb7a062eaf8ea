"""Finished attempts whose results could not leave: tried again, with growing pauses, for as long as it takes."""

from __future__ import annotations

from functools import partial

from agent.attempt import Attempt
from agent.context import Context
from agent.guard import guarded
from agent.worker import follow

LOOK = 5.0  # seconds between looks at the outbox


class Outbox:
    """Delivers what waits."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._failures = 0
        self._next = 0.0

    def waiting(self) -> tuple[Attempt, ...]:
        """Return the attempts that wait, oldest first."""
        live = self._context.board.live()
        return tuple(each.attempt for each in sorted(live, key=lambda each: each.attempt.claimed_at) if each.waiting)

    def step(self, now: float) -> float:
        """Try to deliver everything that waits, if the last failure is long enough ago."""
        waiting = self.waiting()
        if not waiting or now < self._next:
            return min(max(self._next, now + 1.0), now + LOOK)
        for attempt in waiting:
            guarded(self._context, attempt.sid, partial(follow, self._context, attempt))
        self._failures = self._failures + 1 if self.waiting() else 0
        if self._failures:
            self._next = now + self._context.back_off.delay(self._failures, self._context.random())
        return now + LOOK
