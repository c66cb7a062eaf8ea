"""The one place of this host for a job that is here before there is room for it, and who has it.

prefetched    its image and inputs are staged while others run; after a while it is given back
starving      it is too old to be passed over any longer: nothing else starts until it fits
"""

from __future__ import annotations

import math
import threading
from typing import Protocol

import msgspec


class Terms(msgspec.Struct, frozen=True):
    """When a job is held. prefetch: before there is room for it, for `hold` seconds once it is staged.

    starve_after: seconds after its submission from which on nothing else starts before it.
    """

    prefetch: bool = False
    hold: float = 60.0
    starve_after: float = math.inf


class Seat(Protocol):
    """The worker of a job: jobs that wait for room have none."""

    @property
    def taken(self) -> bool:
        """Say whether the job has a worker."""

    @property
    def free(self) -> bool:
        """Say whether a worker could be taken."""

    def leave(self) -> None:
        """Let another job have the worker."""

    def retake(self) -> bool:
        """Take a worker, if one is free."""


class Seated:
    """A seat beyond all counting."""

    taken = free = True

    def leave(self) -> None:
        """See Seat."""

    def retake(self) -> bool:
        """See Seat."""
        return True


SEATED = Seated()


class Guest(msgspec.Struct, frozen=True):
    """The job that has the place."""

    sid: str
    priority: int
    starving: bool


class Spare:
    """Who has the place. Safe to use from all threads."""

    def __init__(self, terms: Terms | None = None) -> None:
        """terms: None = nothing is ever held."""
        self.terms = terms or Terms()
        self._lock = threading.Lock()
        self._guest: Guest | None = None
        self._rests_until = 0.0

    def is_open(self, now: float) -> bool:
        """Say whether a job may be asked for that no worker is free for. now: seconds since boot."""
        with self._lock:
            return self.terms.prefetch and self._guest is None and now >= self._rests_until

    @property
    def starving(self) -> str | None:
        """The job that nothing else starts before, or None."""
        with self._lock:
            return self._guest.sid if self._guest is not None and self._guest.starving else None

    def blocks(self, sid: str) -> bool:
        """Say whether this job must not start, because another one is starving."""
        return self.starving not in (None, sid)

    def offer(self, guest: Guest) -> bool:
        """Let a job have the place: the first one stays, unless the other is starving or more urgent."""
        with self._lock:
            if self._guest is not None and not _goes_before(guest, self._guest):
                return False
            self._guest = guest
            return True

    def keeps(self, sid: str) -> bool:
        """Say whether the job still has the place."""
        with self._lock:
            return self._guest is not None and self._guest.sid == sid

    def starves(self, sid: str) -> None:
        """Note that the job in the place has become too old to be passed over."""
        with self._lock:
            if self._guest is not None and self._guest.sid == sid:
                self._guest = msgspec.structs.replace(self._guest, starving=True)

    def leave(self, sid: str, rests_until: float = 0.0) -> None:
        """Free the place of this job; no surplus is asked for before `rests_until` (seconds since boot)."""
        with self._lock:
            self._rests_until = max(self._rests_until, rests_until)
            if self._guest is not None and self._guest.sid == sid:
                self._guest = None


def _goes_before(guest: Guest, other: Guest) -> bool:
    if other.starving:
        return False
    return guest.starving or guest.priority > other.priority
