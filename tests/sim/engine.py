"""Simulated time, and what is measured in it."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from itertools import count

from tests.sim.workload import Task


class Timeline:
    """Events in the order of their times; `now` in seconds since the start."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def at(self, time: float, event: Callable[[], None]) -> None:
        """Let something happen at a time, not before now."""
        heapq.heappush(self._events, (max(time, self.now), next(self._numbers), event))

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Let something happen in `seconds`."""
        self.at(self.now + seconds, event)

    def run(self, until: float) -> None:
        """Let everything happen that is due until then."""
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = until


class Tally:
    """What one run counts, from `since` on: deliveries by what became of them, waiting times, requests."""

    def __init__(self, timeline: Timeline, since: float) -> None:
        self._timeline = timeline
        self._since = since
        self.deliveries: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.waits: dict[str, float] = {}
        self.submitted: dict[str, Task] = {}
        self.busy = 0.0  # CPU seconds granted

    @property
    def counts(self) -> bool:
        """Say whether the fleet has settled."""
        return self._timeline.now >= self._since

    def submit(self, task: Task) -> None:
        """Note a job that comes into the queue."""
        if self.counts:
            self.submitted[task.sid] = task

    def deliver(self, answer: str) -> None:
        """Note a delivery: "accepted", or why not."""
        if self.counts:
            self.deliveries[answer] += 1

    def request(self, kind: str, number: int = 1) -> None:
        """Note requests to the store."""
        if self.counts:
            self.requests[kind] += number

    def start(self, task: Task) -> None:
        """Note that a job starts to run."""
        if task.sid in self.submitted:
            self.waits[task.sid] = self._timeline.now - task.at
        if self.counts:
            self.busy += task.seconds * task.job.requires.cpus
