"""Loops of the agent: objects with `step(now) -> next_due`, run by the one place that knows threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

from agent.ports import Clock

# Takes the time (seconds since boot) and returns when it wants to be called again.
StepFunction = Callable[[float], float]


class Loops:
    """Runs named steps, each in its own thread, until `stop` is set. One that dies stops all."""

    def __init__(self, clock: Clock, stop: threading.Event) -> None:
        self._clock = clock
        self._stop = stop
        self._threads: list[threading.Thread] = []
        self._began: dict[str, float] = {}
        self.died: str | None = None

    def start(self, name: str, step: StepFunction) -> None:
        """Run `step` again and again from now on."""
        thread = threading.Thread(target=self._run, args=(name, step), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, name: str, step: StepFunction) -> None:
        alive = True
        try:
            while not self._stop.is_set():
                due = self._turn(name, step)
                self._stop.wait(max(0.0, due - self._clock.boottime()))
            alive = False
        finally:
            # An error that nobody expected goes on to the thread's excepthook, which logs it; the agent ends, and
            # whoever started it starts a new one that recovers.
            if alive:
                self.died = name
                self._stop.set()

    def _turn(self, name: str, step: StepFunction) -> float:
        now = self._began[name] = self._clock.boottime()
        due = step(now)
        del self._began[name]
        return due

    def in_step(self) -> dict[str, float]:
        """Return the loops that are in a step, and for how many seconds they have been."""
        now = self._clock.boottime()
        return {name: now - began for name, began in self._began.copy().items()}

    def join(self) -> None:
        """Wait until all loops have ended."""
        for thread in self._threads:
            thread.join()
