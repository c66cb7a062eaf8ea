"""What this host tells others about itself: what it is, when that changes, and what it is doing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from agent import __version__
from agent.attempt import State
from agent.board import Board
from agent.errors import Unavailable
from agent.gpu_watch import GpuWatch
from agent.ledger import Ledger
from agent.model.capabilities import Capabilities
from agent.model.share import Share
from agent.ports import Advertiser

log = logging.getLogger(__name__)

STATE_EVERY = 60.0
PROFILE_REFRESH = 600.0
RETRY = 10.0  # seconds until an advert that could not leave, or a probe that is not believed yet, is tried again


class Presence:
    """Probes this host again and again, advertises the differences, and the state on each change and every minute."""

    def __init__(
        self,
        profile: Capabilities,
        probe: Callable[[], Capabilities],
        share: Callable[[Capabilities], Share],
        advertiser: Advertiser,
        board: Board,
        ledger: Ledger,
        lanes: tuple[str, ...],
        every: float,
        gpus: GpuWatch,
    ) -> None:
        """`every`: seconds between two probes of the whole host."""
        self._probe = probe
        self._share = share
        self._advertiser = advertiser
        self._board = board
        self._ledger = ledger
        self._lanes = lanes
        self._every = every
        self._gpus = gpus
        self._profile = profile
        self._probe_at: float | None = None
        self._told: str | None = None
        self._told_at = 0.0
        self._state: dict[str, Any] = {}
        self._state_at = 0.0
        self._hurry = False

    def profile(self) -> Capabilities:
        """Return the host as it was probed last."""
        return self._profile

    def look_again(self) -> None:
        """Probe at the next turn, whenever it would be due."""
        self._hurry = True  # called by a signal handler, which must not wait for a lock

    def profile_step(self, now: float) -> float:
        """Probe when it is due or wished for; advertise another digest at once, the same one every 10 minutes."""
        if self._probe_at is None:
            self._probe_at = now + self._every
        elif self._hurry or now >= self._probe_at or self._gpus.finds_change(self._profile, now):
            self._look(now)
        self._gpus.tell(self._profile)
        digest = self._profile.digest()
        if digest != self._told or now - self._told_at >= PROFILE_REFRESH:
            if not self._tell(lambda: self._advertiser.capabilities(self._profile, digest)):
                return now + RETRY
            self._told, self._told_at = digest, now
        return now + 1.0

    def _look(self, now: float) -> None:
        self._hurry = False
        found = self._gpus.settled(self._profile, self._probe())
        self._probe_at = now + (RETRY if found is None else self._every)
        if found is not None:
            self._profile = found
            self._ledger.resize(self._share(found))

    def state_step(self, now: float) -> float:
        """Advertise the state when it changed, and every minute."""
        state = self.state()
        if state != self._state or now - self._state_at >= STATE_EVERY:
            if not self._tell(lambda: self._advertiser.state(state)):
                return now + RETRY
            self._state, self._state_at = state, now
        return now + 1.0

    def state(self) -> dict[str, Any]:
        """Return {state, reason, by, lanes, free, jobs, version}; to others, one that holds new work is paused."""
        mode = self._board.mode
        held = mode.name == "ready" and mode.held is not None
        return {
            "state": "paused" if held else mode.name,
            "reason": mode.held if held else mode.reason,
            "by": None if held else mode.by,
            "lanes": list(self._lanes),
            "free": msgspec.to_builtins(self._ledger.free()),
            "jobs": [live.attempt.id for live in self._board.live() if live.attempt.state is not State.PREFETCHED],
            "version": __version__,
        }

    def leave(self) -> None:
        """Say that this host takes no more part."""
        self._tell(lambda: self._advertiser.state({**self.state(), "state": "offline", "reason": "stopped"}))

    def _tell(self, tell: Callable[[], None]) -> bool:
        try:
            tell()
        except Unavailable as error:
            log.warning("advert cannot leave", extra={"event": "advert-failed", "reason": str(error)})
            return False
        return True
