"""Those who put experiments on one queue, seen by all attempts of it: what one look showed holds for a while."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from agent.ports import Clock, Senders

LOOK_EVERY = 10.0  # seconds between two looks whether the queue is deleted
CONFIRMED_AFTER = 30.0  # seconds for which it must have been seen deleted
ASK_EVERY = 60.0  # seconds between two looks for a topic for reports


class KnownSenders:
    """The senders of one queue. Methods raise Unavailable; they are called from several threads."""

    def __init__(self, senders: Senders, clock: Clock) -> None:
        self._senders = senders
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at: float | None = None
        self._gone: tuple[float, float] | None = None  # first and last time that it was seen deleted
        self._asked_at: float | None = None
        self._listening = False

    def left(self) -> bool:
        """Say whether they have deleted the queue: two looks, at least 30 s apart, and none between says otherwise."""
        with self._lock:
            now = self._clock.boottime()
            if self._looked_at is None or now - self._looked_at >= LOOK_EVERY:
                self._looked_at = now
                first, _ = self._gone or (now, now)
                self._gone = (first, now) if self._senders.gone() else None
            return self._gone is not None and self._gone[1] - self._gone[0] >= CONFIRMED_AFTER

    def listening(self) -> bool:
        """Say whether they read reports."""
        with self._lock:
            now = self._clock.boottime()
            if self._asked_at is None or now - self._asked_at >= ASK_EVERY:
                self._asked_at, self._listening = now, False
                self._listening = self._senders.listening()
            return self._listening

    def tell(self, reports: Sequence[bytes]) -> None:
        """Send them reports."""
        self._senders.tell(reports)
