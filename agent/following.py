"""Following a job from elsewhere: what it prints, as its host tells it to the results store.

A follower knows the attempt and the byte that he has got to, so that a gap in the network costs nothing, and says so
where bytes are missing or another attempt begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from agent.errors import StoreUnavailable
from agent.livelog import LiveLogs
from agent.model.live import Watch

AGAIN = 30.0  # seconds between two records that say that somebody follows
LOOK = 2.0  # seconds between two looks for pieces


class Said(NamedTuple):
    """Bytes of the log, or a remark about it."""

    data: bytes = b""
    remark: str = ""


class Follower:
    """Follows one job. n, offset: the attempt and the byte that it has got to. step: what the attempt is at."""

    def __init__(
        self, logs: LiveLogs, sid: str, by: str | None, wake: Callable[[str], None], *, with_step: bool = False
    ) -> None:
        """wake: called with the id of the host that is to look at once. with_step: learn the step, too."""
        self._logs = logs
        self._sid = sid
        self._by = by
        self._wake = wake
        self._with_step = with_step
        self._watch_at = 0.0
        self._look_at = 0.0
        self.n = 0
        self.offset = 0
        self.step: str | None = None

    def turn(self, n: int, host: str | None, now: float) -> Iterator[Said]:
        """Yield what is new of attempt n, which runs on the host. now: any clock that only goes forward.

        A store that does not answer is asked again at the next turn.
        """
        try:
            yield from self._turn(n, host, now)
        except StoreUnavailable as error:
            yield Said(remark=f"cannot be followed now: {error}")

    def begin(self, n: int) -> str | None:
        """Go over to attempt n; return what is to be said when another one was followed before."""
        if n == self.n:
            return None
        before, self.n, self.offset, self.step = self.n, n, 0, None
        self._watch_at = 0.0
        return f"attempt {before} is over, attempt {n} begins: its log is a new one" if before else None

    def _turn(self, n: int, host: str | None, now: float) -> Iterator[Said]:
        remark = self.begin(n)
        if remark is not None:
            yield Said(remark=remark)
        if now >= self._watch_at:
            is_new = self._watch_at == 0.0
            self._logs.watch(self._sid, Watch(time.time(), self._by))
            self._watch_at = now + AGAIN
            if is_new and host is not None:
                self._wake(host)
        if now >= self._look_at:
            self._look_at = now + LOOK
            if self._with_step:
                self._learn_step()
            yield from self._pieces()

    def _learn_step(self) -> None:
        progress = self._logs.progress(self._sid, self.n)
        if progress is not None:
            self.step = progress.step

    def _pieces(self) -> Iterator[Said]:
        offsets = self._logs.offsets(self._sid, self.n)
        first = max((each for each in offsets if each <= self.offset), default=0)
        for piece in (self._logs.piece(self._sid, self.n, each) for each in offsets if each >= first):
            if piece is None:
                continue
            if piece.offset > self.offset:
                missing = piece.offset - self.offset
                yield Said(remark=f"{missing} bytes are left out here; the saved log will have them")
                self.offset = piece.offset
            data = piece.data[self.offset - piece.offset :]
            self.offset += len(data)
            if data:
                yield Said(data)
