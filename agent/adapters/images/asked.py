"""What registries answered, for a minute."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from agent.model.cargo import Access
from agent.ports import Clock

ASKED_AGAIN = 60.0  # a job that waits is matched every few seconds, and registries limit how often they are asked
_MOST_REMEMBERED = 256

Answer = TypeVar("Answer")


class Asked(Generic[Answer]):
    """Answers about images by their URI, apart for each who asks: one with other rights may get another answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answers: dict[tuple[str, Access | None], tuple[Answer, float]] = {}
        self._lock = threading.Lock()

    def get(self, uri: str, access: Access | None, ask: Callable[[], Answer]) -> Answer:
        """Return what `ask` answered within the last minute, or answers now. What it raises is not kept."""
        key, now = (uri, access), self._clock.boottime()
        with self._lock:
            known = self._answers.get(key)
        if known is not None and now < known[1]:
            return known[0]
        found = ask()
        with self._lock:
            if len(self._answers) >= _MOST_REMEMBERED:
                self._answers.clear()
            self._answers[key] = (found, now + ASKED_AGAIN)
        return found
