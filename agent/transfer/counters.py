"""Bytes that the steps move for attempts, kept here until the attempt itself takes them along."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from agent.model.usage import Moved

_NOTHING = Moved()


class Counters:
    """Counts for many attempts at once. What a try that fails has moved counts like any other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moved: dict[str, Moved] = {}
        self._sent: dict[str, int] = {}
        self._fetched: dict[str, int] = {}

    def incoming(self, attempt_id: str, source: Iterable[bytes]) -> Iterator[bytes]:
        """Pass on what comes to this host, counting it."""
        for piece in source:
            self.came(attempt_id, len(piece))
            with self._lock:
                self._fetched[attempt_id] = self._fetched.get(attempt_id, 0) + len(piece)
            yield piece

    def outgoing(self, attempt_id: str, source: Iterable[bytes]) -> Iterator[bytes]:
        """Pass on what goes to a store, counting it."""
        for piece in source:
            self._add(attempt_id, Moved(bytes_out=len(piece)))
            yield piece

    def sent(self, attempt_id: str) -> int:
        """Return the bytes that went to stores since the attempt came here, whoever took them along meanwhile."""
        with self._lock:
            return self._sent.get(attempt_id, 0)

    def fetched(self, attempt_id: str) -> int:
        """Return the bytes that passed by `incoming` so far."""
        with self._lock:
            return self._fetched.get(attempt_id, 0)

    def forget(self, attempt_id: str) -> None:
        """Keep nothing of an attempt that is at its end."""
        with self._lock:
            self._sent.pop(attempt_id, None)
            self._fetched.pop(attempt_id, None)
            self._moved.pop(attempt_id, None)

    def came(self, attempt_id: str, size: int) -> None:
        """Count bytes that came to this host already."""
        self._add(attempt_id, Moved(bytes_in=size))

    def take(self, attempt_id: str) -> Moved:
        """Return what was counted since the last call, and forget it."""
        with self._lock:
            return self._moved.pop(attempt_id, _NOTHING)

    def _add(self, attempt_id: str, moved: Moved) -> None:
        with self._lock:
            self._moved[attempt_id] = self._moved.get(attempt_id, _NOTHING) + moved
            if moved.bytes_out:
                self._sent[attempt_id] = self._sent.get(attempt_id, 0) + moved.bytes_out
