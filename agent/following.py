"""Following a job from elsewhere: what it prints, as its host tells it over a broker and to the results store.

A follower knows the attempt and the byte that he has got to. Words from the broker come at once and may be missing;
what comes too early is kept until the store's pieces have filled the gap. So a gap in the network costs nothing, no
byte is shown twice, and the follower says so where bytes are missing for good or another attempt begins.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from agent.errors import StoreUnavailable
from agent.livelog import LiveLogs
from agent.model.live import Progress, Watch, Word
from agent.ports import LogFeed

AGAIN = 30.0  # seconds between two records that say that somebody follows
LOOK, SELDOM = 2.0, 5.0  # seconds between two looks for pieces, growing while there are none
RARELY = 30.0  # the same while the broker brings everything
SILENCE = 12.0  # seconds without a word after which the broker is not relied on; hosts send one every 5 s
RING_AGAIN = 10.0  # seconds between two requests for a missing piece
EARLY = 512 * 1024  # bytes that are kept until what lies before them has come


class Said(NamedTuple):
    """Bytes of the log, or a remark about it."""

    data: bytes = b""
    remark: str = ""


class Follower:
    """Follows one job. n, offset: the attempt and the byte that it has got to. step: what the attempt is at.

    has_news: the host has told something that the records of the job will show by now.
    """

    def __init__(
        self,
        logs: LiveLogs,
        sid: str,
        by: str | None,
        wake: Callable[[str], None],
        *,
        with_step: bool = False,
        feed: LogFeed | None = None,
    ) -> None:
        """wake: called with the id of the host that is to look at once. with_step: learn the step, too.

        feed: None where there is no broker.
        """
        self._logs = logs
        self._sid = sid
        self._by = by
        self._wake = wake
        self._with_step = with_step
        self._feed = feed
        self._watch_at = 0.0
        self._looked_at: float | None = None
        self._pause = LOOK
        self._ring_at: float | None = None
        self._heard_at: float | None = None
        self._early: dict[int, bytes] = {}
        self._told = 0
        self._problem: str | None = None
        self._progress: tuple[Progress, float] | None = None
        self.n = 0
        self.offset = 0
        self.has_news = False

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a word comes."""
        if self._feed is None:
            threading.Event().wait(seconds)
        else:
            self._feed.wait(seconds)

    def hears(self, now: float) -> bool:
        """Say whether the host tells its words over the broker just now."""
        is_alive = self._feed is not None and self._feed.problem() is None
        return is_alive and self._heard_at is not None and now - self._heard_at < SILENCE

    def progress(self, now: float) -> Progress | None:
        """Return what the attempt is at; `lasted` until now."""
        if self._progress is None:
            return None
        told, at = self._progress
        return msgspec.structs.replace(told, lasted=told.lasted + now - at)

    @property
    def step(self) -> str | None:
        """What the attempt is at."""
        return None if self._progress is None else self._progress[0].step

    def expect(self, now: float) -> str | None:
        """Say that somebody follows a job that does not run yet; return what is to be said when that cannot be."""
        self._listen(now)
        try:
            self._announce(None, now)
        except StoreUnavailable as error:
            return f"cannot be followed now: {error}"
        return None

    def turn(self, n: int, host: str | None, now: float) -> Iterator[Said]:
        """Yield what is new of attempt n, which runs on the host. now: any clock that only goes forward.

        A store that does not answer is asked again at the next turn.
        """
        remark = self.begin(n)
        if remark is not None:
            yield Said(remark=remark)
        self._listen(now)
        yield from self._in_order()
        yield from self._say_problem()
        try:
            yield from self._ask_store(host, now)
        except StoreUnavailable as error:
            yield Said(remark=f"cannot be followed now: {error}")

    def begin(self, n: int) -> str | None:
        """Go over to attempt n; return what is to be said when another one was followed before."""
        if n == self.n:
            return None
        before, self.n, self.offset, self._progress = self.n, n, 0, None
        self._watch_at, self._looked_at, self._ring_at = 0.0, None, None
        self._early, self._told, self._pause = {}, 0, LOOK
        return f"attempt {before} is over, attempt {n} begins: its log is a new one" if before else None

    def _ask_store(self, host: str | None, now: float) -> Iterator[Said]:
        self._announce(host, now)
        if self._misses and (self._ring_at is None or now >= self._ring_at):
            self._ring(host, now)
        if self._looked_at is None or now - self._looked_at >= self._look_every(now):
            self._looked_at, before = now, self.offset
            if self._with_step and not self.hears(now):
                self._learn_step(now)
            yield from self._pieces()
            self._pause = LOOK if self.offset > before or self._misses else min(SELDOM, 1.5 * self._pause)

    def _look_every(self, now: float) -> float:
        if self._misses:
            return LOOK
        return RARELY if self.hears(now) else self._pause

    @property
    def _misses(self) -> bool:
        """True when the host has told more than has come."""
        return self._told > self.offset

    def _announce(self, host: str | None, now: float) -> None:
        if now < self._watch_at:
            return
        is_new = self._watch_at == 0.0
        self._logs.watch(self._sid, Watch(time.time(), self._by))
        self._watch_at = now + AGAIN
        if is_new:
            self._ring(host, now)

    def _ring(self, host: str | None, now: float) -> None:
        if host is not None:
            self._ring_at = now + RING_AGAIN
            self._wake(host)

    def _learn_step(self, now: float) -> None:
        progress = self._logs.progress(self._sid, self.n)
        if progress is not None:
            self._progress = progress, now

    def _listen(self, now: float) -> None:
        for word in () if self._feed is None else self._feed.take():
            # What comes of an attempt that the records do not show yet is missing later on, and found in the store.
            self.has_news = self.has_news or word.n > self.n or (word.n == self.n and word.over)
            if word.n == self.n:
                self._hear(word, now)

    def _hear(self, word: Word, now: float) -> None:
        self._heard_at = None if word.over else now
        if word.progress is not None:
            if self._progress is not None and self._progress[0].step != word.progress.step:
                self.has_news = True
            self._progress = word.progress, now
        self._told = max(self._told, word.offset + len(word.data))
        if word.data and self._told > self.offset:
            self._early[word.offset] = word.data
            while sum(map(len, self._early.values())) > EARLY:
                del self._early[max(self._early)]

    def _say_problem(self) -> Iterator[Said]:
        """Say once that the broker is away."""
        problem = None if self._feed is None else self._feed.problem()
        if problem is not None and self._problem is None:
            yield Said(remark=f"nothing is heard by the broker, what is printed comes later: {problem}")
        self._problem = problem

    def _in_order(self) -> Iterator[Said]:
        """Yield what has come and follows on what was said."""
        for offset in sorted(self._early):
            if offset > self.offset:
                return
            yield from self._say(offset, self._early.pop(offset))

    def _pieces(self) -> Iterator[Said]:
        offsets = self._logs.offsets(self._sid, self.n)
        first = max((each for each in offsets if each <= self.offset), default=0)
        for piece in (self._logs.piece(self._sid, self.n, each) for each in offsets if each >= first):
            if piece is None:
                continue
            while piece.offset > self.offset:
                there = min((piece.offset, *self._early))
                yield Said(remark=f"{there - self.offset} bytes are left out here; the saved log will have them")
                self.offset = there
                yield from self._in_order()
            yield from self._say(piece.offset, piece.data)
            yield from self._in_order()

    def _say(self, offset: int, data: bytes) -> Iterator[Said]:
        new = data[self.offset - offset :]
        self.offset += len(new)
        if new:
            yield Said(new)
