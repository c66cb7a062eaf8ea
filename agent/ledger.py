"""Who has reserved what of this host's share."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from agent.model.share import Share


class Ledger:
    """The share of the host that the agent may give, and the reservations on it. Safe to use from all threads."""

    def __init__(self, share: Share, free_disk: Callable[[], int]) -> None:
        """`free_disk` returns the bytes that jobs may still write to the disk right now."""
        self._share = share
        self._free_disk = free_disk
        self._reserved: dict[str, Share] = {}
        self._lock = threading.Lock()

    @property
    def share(self) -> Share:
        """All that may be given on the empty host."""
        return self._share

    def resize(self, share: Share) -> None:
        """Use another share from now on; reservations stay, even beyond it."""
        with self._lock:
            self._share = share

    def free(self, besides: str | None = None) -> Share:
        """Return what is left; what the attempt `besides` has reserved counts as free."""
        with self._lock:
            return self._free(besides)

    def _free(self, besides: str | None = None) -> Share:
        left, others = self._share, [need for attempt, need in self._reserved.items() if attempt != besides]
        for reserved in others:
            left = left.minus(reserved)
        # Reserved disk may be written already: counting it twice is the careful side.
        promised = sum(reserved.disk for reserved in others)
        return msgspec.structs.replace(left, disk=min(left.disk, self._free_disk() - promised))

    def busy(self) -> bool:
        """Say whether anything is reserved."""
        with self._lock:
            return bool(self._reserved)

    def book(self, attempt_id: str, choose: Callable[[Share], Share | None]) -> Share | None:
        """Reserve what `choose` takes of what is free, with no other reservation in between; None when it has nothing.

        All or nothing: what does not fit (any more) is not reserved. What it has reserved already is free to it.
        """
        with self._lock:
            free = self._free(besides=attempt_id)
            need = choose(free)
            if need is None or not free.covers(need):
                return None
            self._reserved[attempt_id] = need
            return need

    def adopt(self, attempt_id: str, need: Share) -> None:
        """Book a reservation that an earlier life of the agent made, whether it fits or not."""
        with self._lock:
            self._reserved[attempt_id] = need

    def release_compute(self, attempt_id: str) -> None:
        """Free cpus, memory and GPUs of the attempt, keep its disk: its results are still here."""
        with self._lock:
            reserved = self._reserved.get(attempt_id)
            if reserved is not None:
                self._reserved[attempt_id] = Share(disk=reserved.disk)

    def release(self, attempt_id: str) -> None:
        """Free everything of the attempt."""
        with self._lock:
            self._reserved.pop(attempt_id, None)
