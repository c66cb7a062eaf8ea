"""The clocks of this machine."""

from __future__ import annotations

import time


class SystemClock:
    """The Clock port."""

    def boottime(self) -> float:
        """Return seconds since boot, suspend included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def time(self) -> float:
        """Return seconds since the epoch."""
        return time.time()
