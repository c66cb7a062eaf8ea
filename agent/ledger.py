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

    def free(self) -> Share:
        """Return what is left."""
        with self._lock:
            return self._free()

    def _free(self) -> Share:
        left = self._share
        for reserved in self._reserved.values():
            left = left.minus(reserved)
        # Reserved disk may be written already: counting it twice is the careful side.
        promised = sum(reserved.disk for reserved in self._reserved.values())
        return msgspec.structs.replace(left, disk=min(left.disk, self._free_disk() - promised))

    def busy(self) -> bool:
        """Say whether anything is reserved."""
        with self._lock:
            return bool(self._reserved)

    def reserve(self, attempt_id: str, need: Share) -> bool:
        """Reserve `need` for the attempt, all or nothing; False when it does not fit (any more)."""
        with self._lock:
            if attempt_id not in self._reserved and not self._free().covers(need):
                return False
            self._reserved[attempt_id] = need
            return True

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
