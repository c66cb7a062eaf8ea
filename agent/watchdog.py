"""The service manager is told that the agent is alive for as long as its loops are; otherwise it starts another one."""

from __future__ import annotations

import logging
from collections.abc import Callable

from agent.loops import Loops
from agent.supervisor.notify import ALIVE

log = logging.getLogger(__name__)

# Seconds that a step may take. Servers that do not answer hold one up for minutes, each try having its own limit.
LONGEST_STEP = 1800.0
# It delivers in its step, however large the result and slow the network may be.
PATIENT = frozenset({"outbox"})


class Watchdog:
    """A loop among the others: that it turns shows that threads run at all; what the others do, it looks at."""

    def __init__(self, loops: Loops, notify: Callable[[str], object], within: float) -> None:
        """within: seconds within which the service manager wants to be told."""
        self._loops = loops
        self._notify = notify
        self._every = within / 3
        self._told: tuple[str, ...] = ()

    def step(self, now: float) -> float:
        """Tell that the agent is alive, unless a loop does not come back from its step."""
        stuck = tuple(name for name, since in self._loops.in_step().items() if since > LONGEST_STEP)
        stuck = tuple(sorted(set(stuck) - PATIENT))
        if not stuck:
            self._notify(ALIVE)
        elif stuck != self._told:
            log.critical("a loop of the agent is stuck", extra={"event": "loop-stuck", "loops": list(stuck)})
        self._told = stuck
        return now + self._every
