"""What a store queue knows of the jobs that its own agent has in hand; used by several threads."""

from __future__ import annotations

import threading
from collections.abc import Collection


class OwnJobs:
    """The jobs that this agent holds or has marked, and those it looks away from until a time since boot."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._marked: set[str] = set()
        self._not_before: dict[str, float] = {}
        self._finished: dict[str, float] = {}  # settled, until when it is remembered

    def has_marked(self, sid: str) -> bool:
        """Say whether the agent has set a mark on it."""
        with self._lock:
            return sid in self._marked

    def mark(self, sid: str) -> None:
        """Note a mark."""
        with self._lock:
            self._marked.add(sid)

    def unmark(self, sid: str) -> None:
        """Note that the mark is gone."""
        with self._lock:
            self._marked.discard(sid)

    def has(self, sid: str, now: float) -> bool:
        """Say whether the job is none to look at: it is held, or looked away from."""
        with self._lock:
            return sid in self._held or self._not_before.get(sid, now) > now

    def is_done_with(self, sid: str) -> bool:
        """Say whether the job was given back or settled, or is just being settled."""
        with self._lock:
            return sid in self._not_before or sid in self._finished

    def holds(self, sid: str) -> bool:
        """Say whether it is held."""
        with self._lock:
            return sid in self._held

    def hold(self, sid: str) -> None:
        """Note that the agent has it in hand."""
        with self._lock:
            self._held.add(sid)
            self._finished.pop(sid, None)

    def finish(self, sid: str, until: float) -> None:
        """Note that the job is being settled; this is remembered `until` then, seconds since boot."""
        with self._lock:
            self._finished[sid] = until

    def drop(self, sid: str) -> None:
        """Forget it."""
        with self._lock:
            self._held.discard(sid)
            self._not_before.pop(sid, None)

    def put_off(self, sid: str, until: float) -> None:
        """Note that it was given back, to be looked at again at `until`."""
        with self._lock:
            self._held.discard(sid)
            self._not_before[sid] = until

    def prune(self, sids: Collection[str], now: float) -> None:
        """Forget what is over. sids: the jobs that wait."""
        with self._lock:
            self._marked.intersection_update({*sids, *self._held})
            self._not_before = {sid: until for sid, until in self._not_before.items() if until > now}
            self._finished = {sid: until for sid, until in self._finished.items() if until > now}
