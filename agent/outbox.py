"""Finished attempts whose results could not leave: kept and tried again for as long as it takes, and never too many.

Each queue has a line of its own, which one that does not answer holds up for no other. The oldest result of a line
leaves first. While it cannot, one other is tried besides: so a server that is away is asked for two results in a pause,
however many wait for it, and a result that cannot leave for a reason of its own keeps no other waiting.

When the outbox is full, the agent takes no new jobs; what runs ends, and is kept.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from agent.attempt import Attempt
from agent.context import Context
from agent.guard import guarded
from agent.worker import follow

log = logging.getLogger(__name__)

FOUND = "it was here when the agent started, and its turn has not come"
LOOK = 1.0  # seconds between looks at the outbox
LONGEST_PAUSE = 10.0  # seconds between tries of a line: results leave soon after their servers are back
AT_FIRST, ONCE_SOME_LEFT = 2, 5  # failures in a row that end a round: a server that is away fails all alike
_BLOCK = 512  # bytes, the unit of st_blocks


class Limit(msgspec.Struct, frozen=True):
    """What may wait before no new jobs are taken: results, and bytes in their directories; None = any number."""

    results: int | None = None
    size: int | None = None


class _Try(msgspec.Struct, frozen=True):
    """Tries of one result that stored bytes in vain. due: the next one, seconds since boot."""

    failures: int
    due: float


@dataclass(eq=False)
class _Line:
    """What waits for one queue. due: the next round, seconds since boot; turn: who is tried besides the oldest."""

    busy: bool = False
    failures: int = 0
    due: float = 0.0
    turn: int = 0
    costly: dict[str, _Try] = field(default_factory=dict)


def at_once(name: str, task: Callable[[], None]) -> None:
    """Do the round of a line before the next one."""
    task()


def in_thread(name: str, task: Callable[[], None]) -> None:
    """Do the round of a line while others go on."""
    threading.Thread(target=task, name=f"outbox-{name}", daemon=True).start()


class Outbox:
    """Delivers what waits. `start` does the round of a line; `stopping` ends it after the result that is on its way."""

    def __init__(
        self,
        context: Context,
        limit: Limit = Limit(),  # noqa: B008 - immutable
        start: Callable[[str, Callable[[], None]], None] = at_once,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._context = context
        self._limit = limit
        self._start = start
        self._stopping = stopping
        self._lines: dict[str, _Line] = {}
        self._sizes: dict[str, int] = {}
        self._idle = threading.Condition()

    def adopt(self, attempt: Attempt) -> None:
        """Let a finished attempt of an earlier life of the agent take its turn. It needs its disk only."""
        self._context.ledger.release_compute(attempt.id)
        self._context.board.wait_in_outbox(attempt, FOUND)

    def waiting(self) -> tuple[Attempt, ...]:
        """Return the attempts that wait, oldest first."""
        live = self._context.board.live()
        return tuple(each.attempt for each in sorted(live, key=lambda each: each.attempt.claimed_at) if each.waiting)

    def step(self, now: float) -> float:
        """Begin a round in each line whose last failure is long enough ago; hold new work when too much waits."""
        waiting = self.waiting()
        self._bound(waiting)
        names = dict.fromkeys(attempt.queue for attempt in waiting)
        self._tell(names)
        self._lines = {name: line for name, line in self._lines.items() if name in names or line.busy}
        for name in names:
            line = self._lines.setdefault(name, _Line())
            if not line.busy and now >= line.due:
                line.busy = True
                self._start(name, partial(self._round, name, line))
        return now + LOOK

    def join(self) -> None:
        """Wait until no result is on its way."""
        with self._idle:
            self._idle.wait_for(lambda: not any(line.busy for line in self._lines.values()))

    def _round(self, name: str, line: _Line) -> None:
        try:
            self._deliver(name, line)
        finally:
            with self._idle:
                line.busy = False
                self._idle.notify_all()

    def _deliver(self, name: str, line: _Line) -> None:
        """Try what waits, oldest first, as long as it gets on."""
        now = self._context.clock.boottime()
        waiting = [attempt for attempt in self.waiting() if attempt.queue == name]
        line.costly = {each.id: line.costly[each.id] for each in waiting if each.id in line.costly}
        left = deque(each for each in waiting if each.id not in line.costly or line.costly[each.id].due <= now)
        gone = in_a_row = stuck = 0
        while left and in_a_row < (ONCE_SOME_LEFT if gone else AT_FIRST) and not self._stopping():
            if self._leaves(left.popleft(), line):
                gone, in_a_row = gone + 1, 0
                continue
            stuck, in_a_row = stuck + 1, in_a_row + 1
            if stuck == 1 and left:
                _bring_forward(left, line.turn)
                line.turn += 1
        line.failures = 0 if not stuck else 1 if gone else line.failures + 1
        if stuck:
            line.due = self._context.clock.boottime() + min(LONGEST_PAUSE, self._pause(line.failures))

    def _leaves(self, attempt: Attempt, line: _Line) -> bool:
        counters = self._context.counters
        before = counters.sent(attempt.id)
        guarded(self._context, attempt.sid, partial(follow, self._context, attempt))
        if all(each.id != attempt.id for each in self.waiting()):
            return True
        if counters.sent(attempt.id) > before:
            # Its store answers, and something else is in the way: it is not stored anew every few seconds.
            failures = line.costly[attempt.id].failures + 1 if attempt.id in line.costly else 1
            line.costly[attempt.id] = _Try(failures, self._context.clock.boottime() + self._pause(failures))
        return False

    def _pause(self, failures: int) -> float:
        return self._context.back_off.delay(failures, self._context.random())

    # --- what the operator is told ---

    def _tell(self, names: Iterable[str]) -> None:
        """Show a problem for each line of which one was tried in vain; while all are on their way, it stays."""
        for name, line in self._lines.items():
            if name not in names and not line.busy:
                self._context.board.problem(_part(name), None)
        for name in names:
            here = [live for live in self._context.board.live() if live.waiting and live.attempt.queue == name]
            tried = [live for live in here if live.waiting != FOUND]
            if tried:
                oldest = min(tried, key=lambda live: live.attempt.claimed_at)
                self._context.board.problem(_part(name), f"{len(here)} cannot leave yet: {oldest.waiting}")

    # --- the limit ---

    def _bound(self, waiting: tuple[Attempt, ...]) -> None:
        why = self._excess(waiting)
        if not self._context.board.hold("outbox", why):
            return
        if why is None:
            log.info("outbox has room again", extra={"event": "outbox-room"})
        else:
            log.error("outbox is full: no new jobs are taken", extra={"event": "outbox-full", "reason": why})

    def _excess(self, waiting: tuple[Attempt, ...]) -> str | None:
        """Say what there is too much of. The sentence stays the same as long as there is."""
        # What a line tries just now is not among those that wait, and is no less here.
        count = len(waiting) + sum(line.busy for line in self._lines.values())
        if self._limit.results is not None and count >= self._limit.results:
            return f"its results cannot leave, and {self._limit.results} wait (outbox.results)"
        if self._limit.size is not None and count and self._size(waiting) >= self._limit.size:
            return f"its results cannot leave, and take {self._limit.size} bytes or more (outbox.limit)"
        return None

    def _size(self, waiting: tuple[Attempt, ...]) -> int:
        """Return the bytes on disk of what waits; each directory is counted once: nobody writes there any more."""
        known, directory = self._sizes, self._context.directory
        here = {live.attempt.id for live in self._context.board.live()}
        new = {attempt.id: _taken(directory(attempt.id)) for attempt in waiting if attempt.id not in known}
        self._sizes = {each: size for each, size in (known | new).items() if each in here}
        return sum(self._sizes.values())


def _part(queue: str) -> str:
    return f"results for {queue}"


def _bring_forward(left: deque[Attempt], turn: int) -> None:
    chosen = left[turn % len(left)]
    left.remove(chosen)
    left.appendleft(chosen)


def _taken(directory: Path) -> int:
    """Return the bytes that the files below a directory take on disk; what cannot be read counts nothing."""
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            try:
                total += Path(place, name).lstat().st_blocks * _BLOCK
            except OSError:
                continue
    return total
