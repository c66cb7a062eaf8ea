"""Waiting in a command, with or without an end."""

from __future__ import annotations

import threading
import time


class Deadline:
    """A time by which a command gives up waiting; None = it never does."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    def pause(self, seconds: float) -> bool:
        """Wait for so long, or until the deadline; False when it has come."""
        left = seconds if self._at is None else min(seconds, self._at - time.monotonic())
        if left <= 0:
            return False
        threading.Event().wait(left)
        return True
