"""Looking at one job again and again while somebody waits for it, with as few requests as that takes.

A whole look costs some seven requests. In between, two or three show whether anything has changed that matters to who
waits; to be safe the whole is looked at again every 30 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from agent.ports import DeadLetters
from agent.results import Results

if TYPE_CHECKING:
    from agent.client import JobView

WHOLE = 30.0  # seconds after which the whole is looked at again
SOON, SELDOM = 1.0, 5.0  # seconds between two looks, growing from the one to the other while nothing changes
GROWTH = 1.5


class Pace:
    """When to look next. Any clock that only goes forward will do."""

    def __init__(self) -> None:
        self._pause = SOON
        self._last: float | None = None

    def is_due(self, now: float, at_least: float = 0.0) -> bool:
        """Say whether it is time for a look; at_least: seconds that may pass between two, if more than usual."""
        return self._last is None or now - self._last >= max(self._pause, at_least)

    def looked(self, now: float, changed: bool) -> float:
        """Note a look, and whether it brought news; return the seconds until the next one."""
        self._last = now
        self._pause = SOON if changed else min(SELDOM, GROWTH * self._pause)
        return self._pause


class _Marks(NamedTuple):
    """What tells that the view of a job is old."""

    names: frozenset[str]
    attempt: tuple[int | str | None, ...]
    is_dead: bool


class Looker:
    """Looks at one job. Raises StoreUnavailable, and NotFound for a job that is not there."""

    def __init__(
        self,
        sid: str,
        find: Callable[[str], JobView],
        results: Results,
        dead_letters: DeadLetters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sid = sid
        self._find = find
        self._results = results
        self._dead_letters = dead_letters
        self._clock = clock
        self._view: JobView | None = None
        self._marks: _Marks | None = None
        self._whole_at = 0.0

    def look(self) -> JobView:
        """Return the job; the very view that was returned before as long as nothing has changed."""
        now = self._clock()
        # Before the whole, so that what changes in between is seen with the next look.
        marks = self._look_at_marks()
        if self._view is not None and marks == self._marks and now < self._whole_at:
            return self._view
        before, view = self._view, self._find(self._sid)
        # The marks were those of another attempt when there is a new one.
        known = before is not None and before.n == view.n
        self._marks, self._whole_at = (marks if known else None), now + WHOLE
        if before != view:
            self._view = view
        return before if before is not None and before == view else view

    def _look_at_marks(self) -> _Marks:
        names, view = self._results.names(self._sid), self._view
        if view is not None and view.n is not None and view.state != "waiting":
            attempt = self._results.attempt(self._sid, view.n)
            state = () if attempt is None else (attempt.state, attempt.outcome and attempt.outcome.value)
            return _Marks(names, state, False)
        # Of a job that waits for its next attempt the names do not show when that begins.
        newest = self._results.newest(self._sid) if view is not None and view.n is not None else None
        return _Marks(names, () if newest is None else (newest.n,), self._dead_letters.find(self._sid) is not None)
